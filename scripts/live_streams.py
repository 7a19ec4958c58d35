"""Callers of a live model who keep streams open, and note what became of each. `make live-drill` uses them."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from scripts.smoke import ANSWER_TIMEOUT_SECONDS, Model

RETRY_SECONDS = 10.0
"""How long a caller waits who found nobody, or lost an answer that had not begun."""
QUESTION = "Count from one upwards in words, and do not stop."


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """One attempt, in seconds of `time.monotonic`. It was served, or cut after its first token, or never began."""

    asked: float
    first_token: float | None
    ended: float
    served: bool
    status: int | None
    """None where the connection broke before an answer's head."""

    @property
    def cut(self) -> bool:
        """Whether it broke off after its first token."""
        return not self.served and self.first_token is not None

    @property
    def reset(self) -> bool:
        """Whether it broke off before its first token, without a word from the gateway."""
        return not self.served and self.first_token is None and self.status in {None, 200}


@dataclass(kw_only=True, slots=True)
class Tally:
    """What all callers saw. A request ends served or cut; until then it may be asked several times."""

    attempts: list[Stream] = field(default_factory=list)
    arrived: int = 0
    at_first: int = 0
    waits: list[float] = field(default_factory=list)
    """From the first attempt to the first token, of the served."""


def stream(model: Model, port: int, tokens: int, begun: Callable[[], None], leave: threading.Event) -> Stream | None:
    """Ask once and read to the end; None where the caller was told to leave before. `begun`: a first token came."""
    asked = time.monotonic()
    first_token: float | None = None
    status: int | None = None
    served = False
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_TIMEOUT_SECONDS)
    body = json.dumps(
        {
            "model": model.name,
            "messages": [{"role": "user", "content": QUESTION}],
            "max_tokens": tokens,
            "stream": True,
        }
    )
    try:
        connection.request(
            "POST", "/v1/chat/completions", body, {"Host": model.host, "Content-Type": "application/json"}
        )
        response = connection.getresponse()
        status = response.status
        while status == 200 and (line := response.readline()):
            if leave.is_set():
                return None
            if not line.startswith(b"data:"):
                continue
            said = line.removeprefix(b"data:").strip()
            if said == b"[DONE]":
                served = first_token is not None
                break
            if b'"error"' in said:
                break
            if first_token is None:
                first_token = time.monotonic()
                begun()
    except (http.client.HTTPException, OSError):
        pass  # What did not come is what is noted.
    finally:
        connection.close()
    return Stream(asked=asked, first_token=first_token, ended=time.monotonic(), served=served, status=status)


class Callers:
    """So many callers at once, each with one stream after the other, until the block ends.

    They hammer nobody: who is refused waits before it asks again. Leaving a block leaves streams without counting them.
    """

    def __init__(self, model: Model, port: Callable[[], int], *, number: int, tokens: int) -> None:
        """Take how to reach the gateway's port; it is asked before each attempt, from several threads."""
        self._model, self._port, self._number, self._tokens = model, port, number, tokens
        self._leave = threading.Event()
        self._lock = threading.Lock()
        self._open = 0
        self.begun = 0
        """Streams that have had a first token, ended ones included."""
        self.tally = Tally()
        self._threads = [threading.Thread(target=self._call, daemon=True) for _ in range(number)]

    def __enter__(self) -> "Callers":
        """Let them begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let them leave; who waits for a token does so by itself."""
        self._leave.set()
        for thread in self._threads:
            thread.join(timeout=2)

    def streaming(self) -> int:
        """Count the streams that have had their first token and not ended."""
        with self._lock:
            return self._open

    def _call(self) -> None:
        while not self._leave.is_set():
            self._request()

    def _request(self) -> None:
        began, tries = time.monotonic(), 0
        while not self._leave.is_set():
            tries += 1
            opened = False

            def begun() -> None:
                nonlocal opened
                opened = True
                with self._lock:
                    self._open += 1
                    self.begun += 1

            try:
                tried = stream(self._model, self._port(), self._tokens, begun, self._leave)
            finally:
                if opened:
                    with self._lock:
                        self._open -= 1
            if tried is None:
                return
            with self._lock:
                self.tally.attempts.append(tried)
                if tried.served or tried.cut:
                    self.tally.arrived += 1
                    self.tally.at_first += tried.served and tries == 1
                    if tried.served and tried.first_token is not None:
                        self.tally.waits.append(tried.first_token - began)
                    return
            self._leave.wait(RETRY_SECONDS)
        with self._lock:
            # It asked, was refused at least once, and left without an answer.
            self.tally.arrived += tries > 0

"""Forked children: one runs one program, sends the result as JSON and ends.

This module imports little, so that a command line that has one stack to run can fork before it has done anything
else: the child then loads the SDK while its parent reads the project's files.
"""

# ruff: noqa: PLC0415 - imports wait until they are needed, which is in the child

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
from typing import IO, TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from preview.request import Judging, Run

_CHUNK: Final = 1 << 16


_ending: list[Child] = []


def reap() -> None:
    """Wait for the children that have answered and were closed."""
    while _ending:
        _ending.pop().wait()


class Child:
    """A child that was forked. It is told what to run at once, or by `tell` once that is known."""

    def __init__(self, run: Run | Judging | None = None) -> None:
        """Fork. Without a run the child loads the SDK and waits to be told."""
        self.result, sending = os.pipe()
        told, self._telling = os.pipe()
        self._prints: tuple[IO[bytes], IO[bytes]] = (tempfile.TemporaryFile(), tempfile.TemporaryFile())  # noqa: SIM115 - until close()
        self.received = bytearray()
        self._is_alive = True
        self._is_closed = False
        sys.stdout.flush()
        sys.stderr.flush()
        # What exists before the fork is not looked at by the child's garbage collector, so its pages stay shared.
        gc.freeze()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self.result)
            os.close(self._telling)
            _live(run, told, sending, [file.fileno() for file in self._prints])
        os.close(sending)
        os.close(told)
        if run is not None:
            os.close(self._telling)
            self._telling = -1

    @property
    def is_waiting(self) -> bool:
        """Whether the child has yet to be told what to run."""
        return self._telling >= 0

    def tell(self, run: Run) -> None:
        """Tell a waiting child what to run."""
        import pickle

        # From parent to child only: what comes back is JSON, because a program is not to be trusted with the
        # parent.
        with os.fdopen(self._telling, "wb") as pipe:
            self._telling = -1
            pipe.write(pickle.dumps(run))

    def receive(self) -> bool:
        """Take what the child has sent; False once it has nothing more."""
        data = os.read(self.result, _CHUNK)
        self.received += data
        return bool(data)

    def wait(self) -> int:
        """Wait for the child's end and return its exit code, negative for the signal that ended it."""
        _, status = os.waitpid(self._pid, 0)
        self._is_alive = False
        return os.waitstatus_to_exitcode(status)

    def printed(self) -> tuple[str, str]:
        """What the program wrote to standard output and to standard error so far."""
        texts = []
        for file in self._prints:
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
        return texts[0], texts[1]

    def close(self) -> None:
        """Give everything back; a child that has not answered is stopped, with whatever it has started.

        One that has answered is about to end: nobody waits here until the system has taken its memory back, see `reap`.
        """
        if self._is_closed:
            return
        self._is_closed = True
        for descriptor in (self.result, self._telling):
            if descriptor >= 0:
                os.close(descriptor)
        self.result = self._telling = -1
        for file in self._prints:
            file.close()
        if self._is_alive and self.received:
            _ending.append(self)
        elif self._is_alive:
            for target in (-self._pid, self._pid):
                try:
                    os.kill(target, signal.SIGKILL)
                    break
                except ProcessLookupError:
                    continue
            self.wait()


def _live(run: Run | Judging | None, told: int, sending: int, prints: list[int]) -> NoReturn:
    """Run the program, send the result and end without returning."""
    code = 1
    try:
        gc.disable()
        os.setpgid(0, 0)
        _redirect(prints)
        # Imported here, so that a parent with one stack to run needs no SDK.
        from preview.child import summary

        if run is None:
            run = _wait_to_be_told(told)
        if run is not None:
            text = summary(_answer(run))
            sys.stdout.flush()
            sys.stderr.flush()
            with os.fdopen(sending, "wb") as pipe:
                pipe.write(text.encode("utf-8", "backslashreplace"))
        code = 0
    except BaseException:  # noqa: BLE001 - the parent says that the child ended without a result
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _answer(asked: Run | Judging) -> dict[str, Any]:
    from preview.request import Judging

    if isinstance(asked, Judging):
        from preview.judging import execute as judge

        return judge(asked)
    from preview.child import execute

    return execute(asked)


def _wait_to_be_told(told: int) -> Run | None:
    import pickle

    with os.fdopen(told, "rb") as pipe:
        message = pipe.read()
    run: Run | None = pickle.loads(message) if message else None  # noqa: S301 - from our own parent
    return run


def _redirect(prints: list[int]) -> None:
    """What the program prints goes to files: standard output belongs to the document."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in enumerate((nothing, *prints)):
        os.dup2(source, target)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout, sys.stderr = (
        open(target, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
        for target in (1, 2)
    )

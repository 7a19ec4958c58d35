"""The live drill against stand-ins: a loopback gateway that streams, a kubectl and a gcloud that say what they must."""

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from scripts import live_drill, live_streams
from scripts.live_drill import main, target_of
from scripts.live_streams import Callers
from scripts.smoke import Model
from scripts.terminal import OperationError
from tests.operations_fakes import Answer, Fakes, Shell
from tests.recording import decided

LLAMA = "llama-3-3-70b"
OUTPUTS = {
    "models": {
        LLAMA: {"host": "llama.llm.internal", "engine": "tgi", "healthPath": "/health"},
        "arr-coc-0-1": {"host": "arr-coc.llm.internal", "engine": "custom", "healthPath": "/health"},
    },
    "cluster": {"name": "llmserve", "location": "us-east5", "project": "acme-llm"},
}
CALL = [
    "gcloud",
    "compute",
    "instances",
    "simulate-maintenance-event",
    "gpu-1",
    "--zone=us-east5-a",
    "--project=acme-llm",
    "--async",
    "--quiet",
]


class Gateway:
    """Streams so many tokens to whoever asks; when broken, it cuts what runs and refuses what comes."""

    def __init__(self) -> None:
        self.tokens, self.gap = 20, 0.01
        self.refuses, self.cuts = threading.Event(), threading.Event()
        self.asked: list[dict[str, Any]] = []
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                gateway.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                if gateway.refuses.is_set():
                    self.send_response(503)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                with suppress(OSError):  # A caller who left.
                    self.stream()

            def chunk(self, data: bytes) -> None:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()

            def stream(self) -> None:
                for number in range(gateway.tokens):
                    if gateway.cuts.is_set():
                        self.connection.shutdown(socket.SHUT_RDWR)
                        return
                    self.chunk(f'data: {{"choices": [{number}]}}\n\n'.encode())
                    time.sleep(gateway.gap)
                self.chunk(b"data: [DONE]\n\n")
                self.chunk(b"")

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=[0.01], daemon=True).start()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.server.shutdown()
    gateway.server.server_close()


def pod(name: str, node: str, version: str = "stable", *, ready: bool = True, leaving: bool = False) -> dict[str, Any]:
    deleted = {"deletionTimestamp": "2026-11-26T00:00:00Z"} if leaving else {}
    return {
        "metadata": {"name": name, "labels": {"app": LLAMA, "version": version}, **deleted},
        "spec": {"nodeName": node},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def node(name: str, *, spot: bool = True, provider: str | None = None) -> dict[str, Any]:
    labels = {"cloud.google.com/gke-spot": "true"} if spot else {}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"providerID": provider or f"gce://acme-llm/us-east5-a/{name}"},
    }


BEFORE = [pod("floor", "gpu-0"), pod("lost", "gpu-1"), pod("other", "gpu-2", "canary")]
AFTER = [pod("floor", "gpu-0"), pod("lost", "gpu-1", leaving=True), pod("new", "gpu-3")]
NODES = {"gpu-0": node("gpu-0", spot=False), "gpu-1": node("gpu-1"), "gpu-2": node("gpu-2")}


class Stage:
    """A shell with the stand-ins, and a Google that does something once it was asked."""

    def __init__(self, shell: Shell, gateway: Gateway) -> None:
        self.shell, self.gateway = shell, gateway
        self.pods(*BEFORE)
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self._over = threading.Event()

    def pods(self, *pods: dict[str, Any]) -> None:
        forwarding = f"Forwarding from 127.0.0.1:{self.gateway.port} -> 80\n"
        self.shell.fakes.add(
            "kubectl",
            Answer(to="port-forward", stdout=forwarding, stays=True),
            Answer(to="get pods", stdout=json.dumps({"items": pods})),
            *(Answer(to=f"get node {name} ", stdout=json.dumps(found)) for name, found in NODES.items()),
        )

    def called_back(self) -> bool:
        return any("simulate-maintenance-event" in call for call in self.shell.fakes.calls())

    def _watch(self) -> None:
        while not self.called_back():
            if self._over.wait(0.02):
                return
        self.happens()

    def happens(self) -> None:
        """The replica drains, and another one comes."""
        time.sleep(0.2)
        self.pods(*AFTER)

    def run(self, *arguments: str) -> Any:
        self._watching.start()
        try:
            return self.shell.run(main, "prod", "--streams", "3", *arguments)
        finally:
            self._over.set()
            self._watching.join()


@pytest.fixture
def stage(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], gateway: Gateway) -> Stage:
    plan = decided("prod", {}, {}, monkeypatch)
    monkeypatch.setattr(live_drill, "read_plan", lambda _: SimpleNamespace(plan=plan))
    monkeypatch.setattr(live_drill, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(live_drill, "AFTERWARDS_SECONDS", 0.3)
    monkeypatch.setattr(live_streams, "RETRY_SECONDS", 0.05)
    fakes = Fakes(tmp_path / "fakes")
    fakes.add(
        "pulumi",
        Answer(to="whoami", stdout=json.dumps({"url": "gs://acme"})),
        Answer(to="stack output", stdout=json.dumps(OUTPUTS)),
    )
    fakes.add("gcloud", Answer())
    fakes.add("gke-gcloud-auth-plugin")
    return Stage(Shell(fakes, monkeypatch, capfd), gateway)


CHOSEN = ("--node", "gpu-1", "--yes")


def test_a_node_is_called_back_once_and_all_streams_end_well(stage: Stage) -> None:
    finished = stage.run(*CHOSEN)
    assert finished.code == 0, finished.err + finished.out
    calls = stage.shell.fakes.calls()
    assert [call for call in calls if "simulate-maintenance-event" in call] == [CALL]
    # The streams run before the node goes, and kubectl is only asked.
    assert all({"get", "port-forward", "was ended"} & set(call) for call in calls if call[0] == "kubectl")
    assert " ".join(CALL) in finished.out
    assert finished.out.index(" ".join(CALL)) < finished.out.index("0:00 ")
    assert "no stream (budget 100 s)" in finished.out
    assert "Model llama-3-3-70b: passed" in finished.out
    asked = stage.gateway.asked[0]
    assert (asked["model"], asked["stream"], asked["max_tokens"]) == (LLAMA, True, 1000)


def test_streams_that_are_cut_fail_it_with_the_same_words_as_the_simulated_one(stage: Stage) -> None:
    stage.gateway.tokens = 2000

    def happens() -> None:
        stage.gateway.refuses.set()
        stage.gateway.cuts.set()
        time.sleep(0.3)
        stage.gateway.cuts.clear()
        stage.gateway.refuses.clear()
        stage.gateway.tokens = 3
        stage.pods(*AFTER)

    stage.happens = happens  # type: ignore[method-assign]
    finished = stage.run(*CHOSEN, "--format", "json")
    assert finished.code == 1, finished.err
    found = json.loads(finished.out[finished.out.index("{\n") :])
    assert found["cut"]["nodeCalledBack"]["streams"] == found["cut"]["nodeCalledBack"]["youngerThanBudget"] == 3
    assert 0 < found["cut"]["nodeCalledBack"]["youngestSeconds"] < 100
    assert "3 streams were cut when a spot node was called back though younger" in found["reasons"][0]
    assert found["requests"]["servedAtFirstTry"] < found["requests"]["servedShare"] < 1
    assert found["recovery"]["longestSeconds"] > 0
    assert found["extraCost"]["aDay"] is None
    assert found["stops"] is None


def test_a_replica_that_does_not_come_back_in_time_fails_it(stage: Stage) -> None:
    stage.happens = lambda: stage.pods(BEFORE[0], pod("new", "gpu-3", ready=False))  # type: ignore[method-assign]
    finished = stage.run(*CHOSEN, "--timeout", "0.01")
    assert finished.code == 1
    assert "2 replicas of stable were not ready again within" in finished.out


def test_the_first_spot_node_is_proposed_and_nothing_happens_unasked(stage: Stage) -> None:
    """The floor's node comes before it by name, and is never proposed; without a terminal nobody can say yes."""
    finished = stage.run()
    assert finished.code == 2
    assert "lost (stable) is on spot node gpu-1" in finished.out
    assert not stage.called_back()
    assert not any("port-forward" in call for call in stage.shell.fakes.calls())


@pytest.mark.parametrize(("said", "code"), [("y", 0), ("n", 2), ("", 2)])
def test_a_person_decides(stage: Stage, monkeypatch: pytest.MonkeyPatch, said: str, code: int) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda _: said)
    assert stage.run().code == code
    assert stage.called_back() is (code == 0)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--yes"], "--yes goes with --node only"),
        (["--node", "gpu-0", "--yes"], "has no label cloud.google.com/gke-spot=true"),
        (["--node", "gpu-9", "--yes"], "no ready pod of the model is on node gpu-9"),
        (["--model", "arr-coc-0-1"], "name one of the models that stream with --model: llama-3-3-70b"),
    ],
)
def test_what_is_refused(stage: Stage, arguments: list[str], told: str) -> None:
    finished = stage.run(*arguments, "--timeout", "0.01")
    assert finished.code == 2
    assert told in finished.err
    assert not stage.called_back()


def test_streams_that_do_not_begin_stop_it_before_the_node_goes(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_drill, "FIRST_TOKENS_SECONDS", 0.3)
    stage.gateway.refuses.set()
    finished = stage.run(*CHOSEN)
    assert finished.code == 2
    assert "only 0 of 3 streams have begun: nothing was called back" in finished.err
    assert not stage.called_back()


def test_gclouds_refusal_is_told(stage: Stage) -> None:
    refused = Answer(to="simulate-maintenance-event", stderr="PERMISSION_DENIED", code=1)
    stage.shell.fakes.add("gcloud", refused, Answer())
    finished = stage.run(*CHOSEN)
    assert finished.code == 2
    assert "PERMISSION_DENIED" in finished.err


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (node("gpu-1", spot=False), "only a spot node"),
        (node("gpu-1", provider="aws:///us-east-1a/i-1"), "does not say which instance"),
        (node("gpu-1", provider="gce://acme-llm/gpu-1"), "does not say which instance"),
        (node("gpu-1", provider="gce://other/us-east5-a/gpu-1"), "in project other, the stack in acme-llm"),
    ],
)
def test_a_node_that_is_not_surely_a_spot_node_of_the_stack_is_refused(found: dict[str, Any], told: str) -> None:
    with pytest.raises(OperationError, match=told):
        target_of(BEFORE[1], found, "acme-llm")


def test_a_caller_who_is_refused_asks_again_and_is_not_served_at_the_first_try(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_streams, "RETRY_SECONDS", 0.02)
    gateway.refuses.set()
    model = Model(name=LLAMA, host="llama.llm.internal", path=None)
    with Callers(model, lambda: gateway.port, number=1, tokens=5) as callers:
        while len(gateway.asked) < 3:
            time.sleep(0.01)
        gateway.refuses.clear()
        while not callers.tally.at_first:
            time.sleep(0.01)
    tally = callers.tally
    first = [found.served for found in tally.attempts].index(True)
    assert first >= 3
    assert sum(found.served for found in tally.attempts) == tally.arrived == tally.at_first + 1
    assert not any(found.reset or found.cut for found in tally.attempts)
    assert tally.waits[0] > 0.04

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from scripts import smoke
from scripts.smoke import Model, Outcome, ask, judge, main
from scripts.waiting import describe
from tests.operations_fakes import REPOSITORY, SENTINEL, Answer, Fakes, Shell

Reply = tuple[int, str] | Callable[[BaseHTTPRequestHandler], None]

COMPLETION = json.dumps({"choices": [{"message": {"role": "assistant", "content": "Hello!"}}]})
MODELS = {
    "llama": {"host": "llama.llm.internal", "engine": "tgi", "healthPath": "/health"},
    "arr-coc": {"host": "arr-coc.llm.internal", "engine": "custom", "healthPath": "/healthz"},
}
OUTPUTS = {"models": MODELS, "cluster": {"name": "llmserve", "location": "us-east5", "project": "acme-llm"}}


class Gateway:
    """A loopback server that answers for each host in order, the last answer for ever, and notes what it was asked."""

    def __init__(self) -> None:
        self.replies: dict[str, list[Reply]] = {}
        self.asked: list[tuple[str, str, str, Any]] = []
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def answer(self) -> None:
                host = self.headers["Host"]
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                gateway.asked.append((self.command, host, self.path, json.loads(body) if body else None))
                replies = gateway.replies[host]
                reply = replies.pop(0) if len(replies) > 1 else replies[0]
                if callable(reply):
                    reply(self)
                    return
                self.send_response(reply[0])
                self.end_headers()
                self.wfile.write(reply[1].encode())

            do_GET = do_POST = answer  # noqa: N815

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        Thread(target=self.server.serve_forever, args=[0.01], daemon=True).start()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    gateway.replies = {"llama.llm.internal": [(200, COMPLETION)], "arr-coc.llm.internal": [(200, "")]}
    yield gateway
    gateway.server.shutdown()
    gateway.server.server_close()


def listed(*items: object) -> str:
    return json.dumps({"items": items})


def kubectl(gateway: Gateway, *pods: object, events: tuple[object, ...] = (), stays: bool = True) -> list[Answer]:
    forwarding = f"Forwarding from 127.0.0.1:{gateway.port} -> 80\nForwarding from [::1]:{gateway.port} -> 80\n"
    return [
        Answer(to="port-forward", stdout=forwarding, stays=stays),
        Answer(to="get pods", stdout=listed(*pods)),
        Answer(to="get events", stdout=listed(*events)),
    ]


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], gateway: Gateway
) -> Shell:
    fakes = Fakes(tmp_path / "fakes")
    fakes.add(
        "pulumi",
        Answer(to="whoami", stdout=json.dumps({"url": "gs://acme-llm-llmserve-state"})),
        Answer(to="stack output", stdout=json.dumps(OUTPUTS)),
    )
    fakes.add("gcloud")
    fakes.add("gke-gcloud-auth-plugin")
    fakes.add("kubectl", *kubectl(gateway))
    monkeypatch.setattr(smoke, "FIRST_WAIT_SECONDS", 0.01)
    return Shell(fakes, monkeypatch, capfd)


def test_every_model_is_asked_once_and_answers(shell: Shell, gateway: Gateway) -> None:
    finished = shell.run(main, "prod", KUBECONFIG=SENTINEL, PULUMI_CONFIG_PASSPHRASE=SENTINEL)
    assert finished.code == 0, finished.err
    assert "llama: answers: 'Hello!'" in finished.out
    assert "arr-coc: answers at /healthz" in finished.out
    question = {"model": "llama", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
    assert gateway.asked == [
        ("POST", "llama.llm.internal", "/v1/chat/completions", question),
        ("GET", "arr-coc.llm.internal", "/healthz", None),
    ]


def test_the_cluster_is_reached_without_the_users_kubeconfig(shell: Shell) -> None:
    shell.run(main, "prod", KUBECONFIG=SENTINEL)
    calls = [call for call in shell.fakes.calls() if call[0] in ("gcloud", "kubectl")]
    place = ["--location=us-east5", "--project=acme-llm", "--dns-endpoint", "--quiet"]
    assert calls == [
        ["gcloud", "container", "clusters", "get-credentials", "llmserve", *place],
        ["kubectl", "-n", "istio-ingress", "port-forward", "svc/istio-ingressgateway", ":80"],
        ["kubectl", "was ended"],
    ]
    used = {shell.fakes.environment_of(program)["KUBECONFIG"] for program in ("gcloud", "kubectl")}
    assert len(used) == 1
    assert SENTINEL not in used
    assert not Path(used.pop()).parent.exists()


def test_a_model_that_wakes_is_waited_for_and_its_state_told_once(shell: Shell, gateway: Gateway) -> None:
    gateway.replies["llama.llm.internal"] = [*[(503, "no healthy upstream")] * 3, (200, COMPLETION)]
    shell.fakes.add("kubectl", *kubectl(gateway, pod(node=None)))
    finished = shell.run(main, "prod")
    assert finished.code == 0, finished.err
    lines = [line for line in finished.out.splitlines() if line.startswith("llama")]
    assert lines == [
        "llama: 0:00 no replica answers yet (503); stable: waiting for a node",
        "llama: answers: 'Hello!'",
    ]
    assert sum(host == "arr-coc.llm.internal" for _, host, _, _ in gateway.asked) == 1


def test_what_does_not_wake_in_time_is_named(shell: Shell, gateway: Gateway) -> None:
    gateway.replies["llama.llm.internal"] = [(503, "")]
    finished = shell.run(main, "prod", "--timeout", "0.002")
    assert finished.code == 1
    assert "asleep" in finished.out
    assert finished.out.endswith("gave up after 0.002 minutes: llama\n")


def test_one_model_that_fails_does_not_hide_the_others(shell: Shell, gateway: Gateway) -> None:
    gateway.replies["llama.llm.internal"] = [(401, "Jwt is missing")]
    finished = shell.run(main, "prod")
    assert finished.code == 1
    assert "llama: the gateway wants a key" in finished.out
    assert "arr-coc: answers" in finished.out


def test_a_port_forward_that_dies_is_started_again(shell: Shell, gateway: Gateway) -> None:
    gateway.replies["llama.llm.internal"] = [(503, ""), (503, ""), (200, COMPLETION)]
    shell.fakes.add("kubectl", *kubectl(gateway, stays=False))
    finished = shell.run(main, "prod", "--model", "llama")
    assert finished.code == 0, finished.err
    assert sum("port-forward" in call for call in shell.fakes.calls()) > 1


def test_a_gateway_out_of_reach_ends_with_kubectls_words(shell: Shell) -> None:
    shell.fakes.add("kubectl", Answer(to="port-forward", stderr="error: services not found\n", code=1))
    finished = shell.run(main, "prod")
    assert finished.code == 2
    assert "services not found" in finished.err


def test_ctrl_c_ends_the_port_forward(shell: Shell, gateway: Gateway) -> None:
    gateway.replies["llama.llm.internal"] = [(503, "")]
    running = subprocess.Popen(
        [sys.executable, "-m", "scripts.smoke", "prod"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    while "no replica answers yet" not in running.stdout.readline():
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    _, error = running.communicate(timeout=60)
    assert (running.returncode, error) == (130, "stopped\n")
    assert shell.fakes.calls()[-1] == ["kubectl", "was ended"]


@pytest.mark.parametrize("lacking", ["gcloud", "kubectl", "gke-gcloud-auth-plugin"])
def test_a_missing_program_is_named(shell: Shell, lacking: str) -> None:
    (shell.fakes.path / lacking).unlink()
    finished = shell.run(main, "prod")
    assert finished.code == 2
    assert f"{lacking}: not on PATH" in finished.err


def test_an_unknown_model_names_those_that_are_served(shell: Shell) -> None:
    finished = shell.run(main, "prod", "--model", "lama")
    assert finished.code == 2
    assert "(there are: llama, arr-coc)" in finished.err


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(to="stack output", stderr="error: no stack named 'prod' found", code=255), "no stack named 'prod'"),
        (Answer(to="stack output", stdout="{}"), "make up STACK=prod first"),
    ],
)
def test_a_stack_that_is_not_up_is_said_so(shell: Shell, answer: Answer, told: str) -> None:
    shell.fakes.add("pulumi", Answer(to="whoami", stdout='{"url": "gs://acme"}'), answer)
    finished = shell.run(main, "prod")
    assert finished.code == 2
    assert told in finished.err


LLAMA = Model(name="llama", host="llama.llm.internal", path=None)


@pytest.mark.parametrize(
    ("status", "body", "outcome", "told"),
    [
        (200, COMPLETION, Outcome.ANSWERED, "answers: 'Hello!'"),
        (200, "<html>", Outcome.FAILED, "gives no chat completion: <html>"),
        (200, '{"choices": []}', Outcome.FAILED, "gives no chat completion"),
        (503, "", Outcome.WAITING, "no replica answers yet (503)"),
        (429, "", Outcome.WAITING, "its queue is full (429)"),
        (401, "Jwt is missing", Outcome.FAILED, "wants a key or a right that this check does not have (401): Jwt"),
        (404, "", Outcome.FAILED, "nothing is served at llama.llm.internal/v1/chat/completions (404)"),
        (422, '{"error": "too long"}', Outcome.FAILED, 'refuses the question as invalid (422): {"error": "too long"}'),
        (424, "CUDA", Outcome.FAILED, "says 424: CUDA"),
    ],
)
def test_each_status_has_its_own_sentence(status: int, body: str, outcome: Outcome, told: str) -> None:
    answer = judge(LLAMA, status, body)
    assert answer.outcome is outcome
    assert told in answer.text


def cut(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b"half")


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("reply", "told"), [(cut, "cut off after 4 bytes"), (hang_up, "connection to the gateway broke")]
)
def test_an_answer_that_breaks_is_asked_again(gateway: Gateway, reply: Reply, told: str) -> None:
    gateway.replies["llama.llm.internal"] = [reply, (200, COMPLETION)]
    answers = [ask(LLAMA, gateway.port) for _ in range(2)]
    assert [answer.outcome for answer in answers] == [Outcome.WAITING, Outcome.ANSWERED]
    assert told in answers[0].text


def pod(
    *containers: dict[str, Any],
    node: str | None = "gpu-1",
    name: str = "llama-stable-1",
    conditions: dict[str, str] | None = None,
    **status: object,
) -> dict[str, Any]:
    """A pod as `kubectl get pods -o json` shows it."""
    return {
        "metadata": {"name": name, "labels": {"app": "llama", "version": name.split("-")[1]}},
        "spec": {"nodeName": node} if node else {},
        "status": {
            "phase": "Pending",
            "conditions": [{"type": kind, "status": value} for kind, value in (conditions or {}).items()],
            "containerStatuses": [{"name": "istio-proxy", "state": {"running": {}}, "started": False}, *containers],
            **status,
        },
    }


def engine(state: str, **more: object) -> dict[str, Any]:
    reason = {} if state == "running" else {"reason": state, "message": f"about {state}"}
    return {"name": "engine", "state": {"running" if state == "running" else "waiting": reason}, **more}


def event(reason: str, when: str) -> dict[str, Any]:
    about = {"kind": "Pod", "name": "llama-stable-1"}
    return {"reason": reason, "message": f"{reason} said", "lastTimestamp": when, "involvedObject": about}


KILLED = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (pod(node=None), "waiting for a node"),
        (pod(engine("ContainerCreating")), "pulling the image"),
        (pod(engine("PodInitializing")), "pulling the image"),
        (
            pod(engine("PodInitializing"), initContainerStatuses=[{"name": "weights", "state": {"running": {}}}]),
            "running weights before the engine",
        ),
        (
            pod(engine("PodInitializing"), initContainerStatuses=[{"name": "istio-proxy", "state": {"running": {}}}]),
            "pulling the image",
        ),
        (pod(engine("ImagePullBackOff")), "ImagePullBackOff (about ImagePullBackOff)"),
        (pod(engine("CreateContainerConfigError")), "CreateContainerConfigError (about CreateContainerConfigError)"),
        (pod(engine("running", started=False)), "downloading and loading the weights"),
        (
            pod(engine("running", started=False, restartCount=2, lastState=KILLED)),
            "downloading and loading the weights, restarted 2 times, last by OOMKilled (137)",
        ),
        (pod(engine("running", started=True), conditions={"Ready": "False"}), "loaded, not ready yet"),
        (pod(engine("running", started=True), conditions={"Ready": "True"}), "ready"),
    ],
)
def test_a_pods_state_is_told_in_plain_words(found: dict[str, Any], told: str) -> None:
    assert describe("llama", [found], []) == f"stable: {told}"


def test_the_autoscalers_newest_word_is_told() -> None:
    events = [event("TriggeredScaleUp", "2026-01-01T00:00:02Z"), event("FailedScheduling", "2026-01-01T00:00:01Z")]
    other = {**event("NotTriggerScaleUp", "2026-01-01T00:00:03Z"), "involvedObject": {"name": "another"}}
    told = describe("llama", [pod(node=None)], [*events, other, event("Pulling", "2026-01-01T00:00:04Z")])
    assert told == "stable: waiting for a node (TriggeredScaleUp: TriggeredScaleUp said)"


def test_versions_and_equal_replicas_are_told_together() -> None:
    pods = [pod(node=None, name=f"llama-stable-{number}") for number in range(3)]
    pods.append(pod(engine("running", started=False), name="llama-canary-1"))
    told = describe("llama", pods, [])
    assert told == "canary: downloading and loading the weights; stable: 3 x waiting for a node"


@pytest.mark.parametrize("pods", [[], [pod(phase="Failed")]])
def test_a_model_without_a_living_pod_is_asleep(pods: list[dict[str, Any]]) -> None:
    assert describe("llama", pods, []).startswith("asleep")

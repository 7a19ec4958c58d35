"""`make smoke STACK=prod`: ask every model of a live stack for one answer, and say what is still starting."""

import argparse
import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from scripts import pulumi_command, stack_file
from scripts.terminal import OperationError, answer_of, run, say
from scripts.waiting import describe

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 5.0, 30.0
ANSWER_TIMEOUT_SECONDS = 120
REPEAT_UNCHANGED_SECONDS = 120

Environment = Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """How one model is asked: at `path`, its health path, or where that is None for a chat completion."""

    name: str
    host: str
    path: str | None


class Outcome(StrEnum):
    """What an answer means for the run."""

    ANSWERED = "answers"
    WAITING = "not yet"
    FAILED = "fails"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back from a model, in words for a person."""

    outcome: Outcome
    text: str


class PortForward:
    """A `kubectl port-forward` to the gateway, started again where it died and ended with the block."""

    def __init__(self, environment: Environment, directory: Path) -> None:
        """Take the environment with the KUBECONFIG and a directory for kubectl's output."""
        self._environment = environment
        self._output = directory / "port-forward"
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    def __enter__(self) -> Self:
        """Start nothing yet: the first question does."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End kubectl, also after ctrl-C."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def port(self) -> int:
        """Return the local port that leads to the gateway."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        return self._port

    def _start(self) -> None:
        command = ["kubectl", "-n", "istio-ingress", "port-forward", "svc/istio-ingressgateway", ":80"]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            ended = self._process.poll() is not None
            written = self._output.read_text(encoding="utf-8")
            if found := re.search(r"Forwarding from 127\.0\.0\.1:(\d+)", written):
                self._port = int(found[1])
                return
            if ended:
                raise OperationError(f"kubectl cannot reach the gateway:\n{written.strip()}")
            time.sleep(0.05)
        raise OperationError("kubectl did not open a port to the gateway within 30 seconds")


def ask(model: Model, port: int) -> Answer:
    """Ask a model once through the gateway at 127.0.0.1:`port`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_TIMEOUT_SECONDS)
    headers = {"Host": model.host}
    try:
        if model.path is None:
            question = [{"role": "user", "content": "Say hello."}]
            body = json.dumps({"model": model.name, "messages": question, "max_tokens": 8})
            headers["Content-Type"] = "application/json"
            connection.request("POST", "/v1/chat/completions", body, headers)
        else:
            connection.request("GET", model.path, headers=headers)
        response = connection.getresponse()
        return judge(model, response.status, response.read().decode(errors="replace"))
    except http.client.IncompleteRead as cut:
        return Answer(outcome=Outcome.WAITING, text=f"the answer was cut off after {len(cut.partial)} bytes")
    except TimeoutError:
        return Answer(outcome=Outcome.WAITING, text=f"no answer within {ANSWER_TIMEOUT_SECONDS} seconds")
    except (http.client.HTTPException, ConnectionError):
        return Answer(outcome=Outcome.WAITING, text="the connection to the gateway broke")
    finally:
        connection.close()


def judge(model: Model, status: int, body: str) -> Answer:
    """Say what a response means: HTTP status and body of a model's answer."""
    said = " ".join(body.split())[:200]
    match status:
        case 200 if model.path is not None:
            return Answer(outcome=Outcome.ANSWERED, text=f"answers at {model.path}")
        case 200:
            try:
                content = json.loads(body)["choices"][0]["message"]["content"]
            except (ValueError, LookupError, TypeError):
                return Answer(outcome=Outcome.FAILED, text=f"says 200, but gives no chat completion: {said}")
            return Answer(outcome=Outcome.ANSWERED, text=f"answers: {content!r}")
        case 502 | 503 | 504:
            return Answer(outcome=Outcome.WAITING, text=f"no replica answers yet ({status})")
        case 429:
            return Answer(outcome=Outcome.WAITING, text="is overloaded: its queue is full (429)")
        case 401 | 403:
            text = f"the gateway wants a key or a right that this check does not have ({status}): {said}"
        case 404:
            text = f"nothing is served at {model.host}{model.path or '/v1/chat/completions'} (404)"
        case 422:
            text = f"refuses the question as invalid (422): {said}"
        case _:
            text = f"says {status}: {said}"
    return Answer(outcome=Outcome.FAILED, text=text)


def still_starting(models: Sequence[Model], environment: Environment) -> dict[str, str]:
    """Say for each model what its pods wait for, or why that cannot be read."""
    read = {}
    for kind in ("pods", "events"):
        listed = answer_of(["kubectl", "-n", "models", "get", kind, "-o", "json"], environment)
        if listed.returncode != 0:
            return {model.name: f"its pods cannot be read: {listed.stderr.strip()}" for model in models}
        read[kind] = json.loads(listed.stdout)["items"]
    return {model.name: describe(model.name, read["pods"], read["events"]) for model in models}


def ask_until_done(models: Sequence[Model], forward: PortForward, environment: Environment, seconds: float) -> bool:
    """Ask all models in rounds with growing pauses until each answered or failed, or the time is over."""
    start = time.monotonic()
    left, pause, all_well = list(models), FIRST_WAIT_SECONDS, True
    printed: dict[str, tuple[str, float]] = {}
    while True:
        answers = {model.name: ask(model, forward.port()) for model in left}
        for name, answer in answers.items():
            if answer.outcome is not Outcome.WAITING:
                say(f"{name}: {answer.text}")
                all_well = all_well and answer.outcome is Outcome.ANSWERED
        left = [model for model in left if answers[model.name].outcome is Outcome.WAITING]
        if not left:
            return all_well
        elapsed = time.monotonic() - start
        for name, state in still_starting(left, environment).items():
            text = f"{answers[name].text}; {state}"
            before, when = printed.get(name, ("", 0.0))
            if text != before or elapsed - when >= REPEAT_UNCHANGED_SECONDS:
                say(f"{name}: {int(elapsed) // 60}:{int(elapsed) % 60:02d} {text}")
                printed[name] = (text, elapsed)
        if elapsed + pause > seconds:
            say(f"gave up after {seconds / 60:g} minutes: {', '.join(model.name for model in left)}")
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_WAIT_SECONDS)


def outputs_of(name: str) -> dict[str, Any]:
    """Return the outputs of a live stack; stop where there is none."""
    stack = stack_file.read(name)
    pulumi = pulumi_command.find()
    if pulumi is None:
        raise OperationError(f"pulumi is not on PATH, and knows what is there: make up STACK={name} installs it")
    _, environment = pulumi_command.backend(pulumi, stack)
    listed = answer_of([pulumi, "stack", "output", "--json", "--stack", name, "--non-interactive"], environment)
    if listed.returncode != 0:
        raise OperationError(f"the outputs of stack {name} cannot be read:\n{listed.stderr.strip()}")
    outputs: dict[str, Any] = json.loads(listed.stdout)
    if not outputs.get("models") or "cluster" not in outputs:
        raise OperationError(f"stack {name} has no models: make up STACK={name} first")
    return outputs


def cluster_environment(cluster: Mapping[str, str], directory: Path) -> dict[str, str]:
    """Return an environment in which kubectl reaches the cluster, with a kubeconfig of its own."""
    missing = [program for program in ("gcloud", "kubectl", "gke-gcloud-auth-plugin") if shutil.which(program) is None]
    if missing:
        raise OperationError(
            f"{', '.join(missing)}: not on PATH. Install https://cloud.google.com/sdk/docs/install, then:"
            "\n  gcloud components install kubectl gke-gcloud-auth-plugin"
        )
    environment = {**os.environ, "KUBECONFIG": str(directory / "kubeconfig")}
    place = [f"--location={cluster['location']}", f"--project={cluster['project']}"]
    command = [
        "gcloud",
        "container",
        "clusters",
        "get-credentials",
        cluster["name"],
        *place,
        "--dns-endpoint",
        "--quiet",
    ]
    got = answer_of(command, environment)
    if got.returncode != 0:
        raise OperationError(f"gcloud has no way into the cluster {cluster['name']}:\n{got.stderr.strip()}")
    return environment


def main(argv: Sequence[str]) -> int:
    """Ask every model; exit 0 where all answer, 1 where one fails or time is over, 2 without a live stack."""
    parser = argparse.ArgumentParser(prog="scripts.smoke", description=__doc__)
    parser.add_argument("stack", help="the live stack to ask")
    parser.add_argument("--model", help="ask only this model")
    parser.add_argument("--timeout", type=float, default=30, metavar="MINUTES", help="how long to wait (default 30)")
    arguments = parser.parse_args(argv)
    outputs = outputs_of(arguments.stack)
    models = [
        Model(name=name, host=found["host"], path=found["healthPath"] if found["engine"] == "custom" else None)
        for name, found in outputs["models"].items()
        if arguments.model in (None, name)
    ]
    if not models:
        there = ", ".join(outputs["models"])
        raise OperationError(f"stack {arguments.stack} serves no model {arguments.model!r} (there are: {there})")
    with tempfile.TemporaryDirectory(prefix="llmserve-smoke-") as directory:
        environment = cluster_environment(outputs["cluster"], Path(directory))
        say(f"asking {', '.join(model.name for model in models)}; a sleeping one wakes now: its GPUs cost")
        with PortForward(environment, Path(directory)) as forward:
            well = ask_until_done(models, forward, environment, arguments.timeout * 60)
    return 0 if well else 1


if __name__ == "__main__":
    run(main)

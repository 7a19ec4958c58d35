"""`make live-drill STACK=prod`: call a live stack's spot node back under streams, and judge what became of them.

It takes one node of one model, which has to be a spot node, by Google's own simulated maintenance event; docs/drill.md.
"""

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from planning.pools import SPOT
from planning.serving import ModelPlan
from planning.simulate.drill import Drill, Faults, Outcome, Part, Played, Recovery, budgets_of, judge, streams
from planning.simulate.drill_report import document, text
from planning.simulate.results import Cut, Loss
from planning.simulate.scenario import Assumption
from scripts.live_streams import Callers, Tally
from scripts.smoke import Model, PortForward, cluster_environment, outputs_of
from scripts.stack_plan import read_plan
from scripts.terminal import OperationError, answer_of, run, say, shown
from scripts.unstick import confirm

NAMESPACE = "models"
POLL_SECONDS = 2.0
FIRST_TOKENS_SECONDS = 300.0
"""How long the streams may take to begin."""
AFTERWARDS_SECONDS = 30.0
"""How long callers go on after the last replica is back, so that what was cut late is seen."""

Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A spot node with a ready pod of the model, and the instance that it is."""

    node: str
    pod: str
    version: str
    project: str
    zone: str
    instance: str

    @property
    def command(self) -> list[str]:
        """What calls it back. Permission: compute.instances.simulateMaintenanceEvent."""
        place = [f"--zone={self.zone}", f"--project={self.project}"]
        # Without waiting for Google, so that no second of the streams and pods is missed.
        return [
            "gcloud",
            "compute",
            "instances",
            "simulate-maintenance-event",
            self.instance,
            *place,
            "--async",
            "--quiet",
        ]


class Cluster:
    """What kubectl says of one model. It changes nothing."""

    def __init__(self, model: Model, environment: Mapping[str, str]) -> None:
        """Take the environment with the KUBECONFIG."""
        self.model, self._environment = model, environment

    def ready(self, version: str | None = None) -> list[Json]:
        """List the pods, of one version or all, that are ready and not being deleted.

        Raises OperationError where kubectl cannot.
        """
        found = self._read("-n", NAMESPACE, "get", "pods", "-l", f"app={self.model.name}", "-o", "json")["items"]
        return [pod for pod in found if _is_ready(pod) and version in (None, _version(pod))]

    def node(self, name: str) -> Json:
        """Read a node."""
        found: Json = self._read("get", "node", name, "-o", "json")
        return found

    def _read(self, *words: str) -> Any:
        answer = answer_of(["kubectl", *words], self._environment)
        if answer.returncode != 0:
            raise OperationError(f"kubectl {' '.join(words)} failed:\n{answer.stderr.strip()}")
        return json.loads(answer.stdout)


def _name(pod: Json) -> str:
    return str(pod["metadata"]["name"])


def _version(pod: Json) -> str:
    return str(pod["metadata"].get("labels", {}).get("version", "?"))


def _is_ready(pod: Json) -> bool:
    conditions = {found["type"]: found["status"] for found in pod["status"].get("conditions", [])}
    return (
        conditions.get("Ready") == "True"
        and pod["status"].get("phase") == "Running"
        and "deletionTimestamp" not in pod["metadata"]
    )


def target_of(pod: Json, node: Json, project: str) -> Target:
    """Turn a pod's node into what is called back.

    Raises OperationError for a node that is no spot node (there the event would stop a machine that nobody was going
    to lose), and for one whose instance is not told or is of another project.
    """
    name, labels = node["metadata"]["name"], node["metadata"].get("labels", {})
    if labels.get(SPOT) != "true":
        raise OperationError(f"node {name} has no label {SPOT}=true: only a spot node is called back")
    parts = node["spec"].get("providerID", "").removeprefix("gce://").split("/")
    if not node["spec"].get("providerID", "").startswith("gce://") or len(parts) != 3 or not all(parts):
        raise OperationError(f"node {name} does not say which instance it is: {node['spec'].get('providerID')!r}")
    if parts[0] != project:
        raise OperationError(f"node {name} is in project {parts[0]}, the stack in {project}")
    owner, zone, instance = parts
    return Target(node=name, pod=_name(pod), version=_version(pod), project=owner, zone=zone, instance=instance)


def choose(cluster: Cluster, project: str, wanted: str | None) -> tuple[Target, list[Json]]:
    """Find the node to call back, the one that is wanted or the first, and the ready pods of the moment."""
    pods = sorted(cluster.ready(), key=_name)
    if not pods:
        raise OperationError("the model has no ready pod: make smoke wakes it")
    there = {pod["spec"]["nodeName"]: pod for pod in pods}
    if wanted is not None:
        if wanted not in there:
            raise OperationError(f"no ready pod of the model is on node {wanted} (they are on {', '.join(there)})")
        return target_of(there[wanted], cluster.node(wanted), project), pods
    for name, pod in there.items():
        node = cluster.node(name)
        if node["metadata"].get("labels", {}).get(SPOT) == "true":
            return target_of(pod, node, project), pods
    raise OperationError(f"no ready pod of the model is on a spot node: {', '.join(there)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What happened; times in seconds of `time.monotonic`."""

    target: Target
    before: int
    """Replicas of its version that were ready."""
    began: float
    called: float
    back: float | None
    """When as many were ready again, on other nodes; None: not in time."""
    ended: float
    forwards: int
    """How often kubectl's port-forward had to be started, which cuts every stream that runs through it."""


def watch(
    cluster: Cluster, callers: Callers, target: Target, before: int, seconds: float
) -> tuple[float, float | None]:
    """Call the node back and wait until its pod is gone and as many of its version are ready; return both times.

    Raises OperationError where gcloud refuses. From then on nothing stops it: what kubectl cannot say is asked again.
    """
    called = time.monotonic()
    done = answer_of(target.command)
    if done.returncode != 0:
        raise OperationError(f"gcloud did not call the node back:\n{done.stderr.strip()}")
    said = ""
    while (now := time.monotonic()) - called < seconds:
        back = False
        try:
            pods = cluster.ready(target.version)
        except OperationError as reason:
            told = str(reason)
        else:
            back = len(pods) >= before and target.pod not in map(_name, pods)
            told = f"{len(pods)} of {before} replicas of {target.version} ready, {callers.streaming()} streams open"
        if told != said:
            say(f"{int(now - called) // 60}:{int(now - called) % 60:02d} {told}")
            said = told
        if back:
            return called, now
        time.sleep(POLL_SECONDS)
    return called, None


def outcome_of(plan: ModelPlan, tally: Tally, seen: Seen) -> Outcome:
    """Judge as the simulated drill does, but for the served share: some minutes around a loss are no month.

    Which replica had a stream is not told to callers, so every one that was cut after the call counts.
    """
    target = seen.target
    cut = [found for found in tally.attempts if found.cut]
    at, back = seen.called - seen.began, None if seen.back is None else seen.back - seen.called
    served = sum(found.served for found in tally.attempts)
    played = Played(
        part=Part.LOSSES,
        seed=0,
        seconds=seen.ended - seen.began,
        arrived=tally.arrived,
        served=served,
        at_first=tally.at_first,
        too_long=0,
        gave_up=tally.arrived - served - len(cut),
        reset=sum(found.reset for found in tally.attempts),
        lingering=None,
        stops=0,
        longest_wait=max(tally.waits, default=0.0),
        cuts=tuple(
            Cut(
                at=found.ended - seen.began, version=target.version, seconds=found.ended - found.asked, called_back=True
            )
            for found in cut
            if found.ended >= seen.called
        ),
        losses=(Loss(at=at, version=target.version, serving=True, ready=seen.before),),
        recoveries=(Recovery(at=at, version=target.version, replicas=1, seconds=back),),
        moments={},
        usd=None,
    )
    done = Drill(
        model=plan.name,
        objective=0.0,
        objective_from="not judged here: these are minutes, the objective is for weeks",
        budgets=budgets_of(plan, Faults()),
        versions=(),
        tasks=(),
        assumptions=(
            Assumption(what="node", value=f"{target.instance} in {target.zone}, pod {target.pod}", by="seen"),
            Assumption(what="ages", value="since a caller asked, a little before a replica accepted it", by="seen"),
        ),
        unpriced="look at the bill",
    )
    outcome = judge(done, [played])
    reasons, notes = list(outcome.reasons), list(outcome.notes)
    if back is None:
        minutes = (seen.ended - seen.called) / 60
        reasons.append(f"{seen.before} replicas of {target.version} were not ready again within {minutes:.1f} minutes")
    if seen.forwards > 1:
        notes.append(
            f"kubectl's port-forward broke {seen.forwards - 1} times, which cuts streams by itself: do it again"
        )
    if early := len(cut) - len(played.cuts):
        notes.append(f"{streams(early)} cut before the node was called back, for another reason")
    return replace(outcome, reasons=tuple(reasons), notes=tuple(notes))


def parser() -> argparse.ArgumentParser:
    """Describe the arguments."""
    made = argparse.ArgumentParser(prog="scripts.live_drill", description=(__doc__ or "").splitlines()[0])
    made.add_argument("stack", help="the live stack")
    made.add_argument("--model", help="which one, where there are several that stream")
    made.add_argument("--node", help="the node to call back; it must be a spot node with a ready pod of the model")
    made.add_argument("--streams", type=int, default=8, metavar="N", help="callers at once (default 8)")
    made.add_argument("--tokens", type=int, default=1000, metavar="N", help="of an answer, at most (default 1000)")
    made.add_argument("--timeout", type=float, default=40, metavar="MINUTES", help="for the replacement (default 40)")
    made.add_argument("--yes", action="store_true", help="do not ask; only with --node")
    made.add_argument("--format", choices=("text", "json"), default="text")
    return made


def model_of(outputs: Json, name: str | None) -> Model:
    """Find the model to drill. Raises OperationError where it is not told, or has no streams."""
    found = {key: value for key, value in outputs["models"].items() if value["engine"] != "custom"}
    if name is None and len(found) == 1:
        name = next(iter(found))
    if name is None or name not in found:
        raise OperationError(f"name one of the models that stream with --model: {', '.join(found) or 'there is none'}")
    return Model(name=name, host=found[name]["host"], path=None)


def main(argv: Sequence[str]) -> int:
    """Ask, call one node back, watch, judge; exit 1 where it failed, 2 where it was not begun."""
    arguments = parser().parse_args(argv)
    if arguments.yes and arguments.node is None:
        raise OperationError("--yes goes with --node only: a node that nobody has named is not called back unasked")
    outputs = outputs_of(arguments.stack)
    model = model_of(outputs, arguments.model)
    plan = next(found for found in read_plan(arguments.stack).plan.models if found.name == model.name)
    with tempfile.TemporaryDirectory(prefix="llmserve-drill-") as directory:
        environment = cluster_environment(outputs["cluster"], Path(directory))
        cluster = Cluster(model, environment)
        project = outputs["cluster"]["project"]
        target, pods = choose(cluster, project, arguments.node)
        say(f"{model.name}: {len(pods)} replicas ready; {target.pod} ({target.version}) is on spot node {target.node}")
        say(f"{arguments.streams} callers would stream through the gateway, and then this would take the node away:")
        say(f"  {shown(target.command)}")
        confirm(f"Shall node {target.node} of stack {arguments.stack} be called back?", yes=arguments.yes)
        with PortForward(environment, Path(directory)) as forward:
            outcome = drill(arguments, plan, cluster, target, forward)
    found = document(outcome)
    found["replicas"] = [{"version": target.version, "atStart": outcome.runs[0].losses[0].ready, "floor": 0}]
    say(json.dumps(found, indent=2) if arguments.format == "json" else text(found))
    return 0 if outcome.passed else 1


def drill(
    arguments: argparse.Namespace, plan: ModelPlan, cluster: Cluster, target: Target, forward: PortForward
) -> Outcome:
    """Stream, make sure that all is as it was asked about, call the node back and watch."""
    lock, ports = threading.Lock(), set[int]()

    def port() -> int:
        with lock:
            ports.add(found := forward.port())
            return found

    port()
    began = time.monotonic()
    with Callers(cluster.model, port, number=arguments.streams, tokens=arguments.tokens) as callers:
        while callers.begun < arguments.streams or not callers.streaming():
            if time.monotonic() - began > FIRST_TOKENS_SECONDS:
                raise OperationError(
                    f"only {callers.begun} of {arguments.streams} streams have begun: nothing was called back"
                )
            time.sleep(0.05)
        again, _ = choose(cluster, target.project, target.node)
        if again != target:
            raise OperationError(f"{target.node} has pod {again.pod} by now, not {target.pod}: nothing was called back")
        before = len(cluster.ready(target.version))
        called, back = watch(cluster, callers, target, before, arguments.timeout * 60)
        if back is not None:
            time.sleep(AFTERWARDS_SECONDS)
        ended = time.monotonic()
    return outcome_of(
        plan,
        callers.tally,
        Seen(target=target, before=before, began=began, called=called, back=back, ended=ended, forwards=len(ports)),
    )


if __name__ == "__main__":
    run(main)

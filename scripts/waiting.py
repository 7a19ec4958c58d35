"""What a model still waits for, in plain words, from its pods and events as `kubectl -o json` gives them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Reasons of the cluster autoscaler's and the scheduler's events that say why a pod has no node yet.
# https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md#what-events-are-emitted-by-ca
NODE_EVENTS = ("TriggeredScaleUp", "NotTriggerScaleUp", "FailedScaleUp", "FailedScheduling")
SIDECARS = ("istio-proxy", "istio-init", "istio-validation")

Json = Mapping[str, Any]


def describe(model: str, pods: Iterable[Json], events: Iterable[Json]) -> str:
    """Say for each version of a model what its pods wait for; `asleep` where it has none."""
    latest = {
        event["involvedObject"]["name"]: f"{event['reason']}: {event.get('message', '')}"
        for event in sorted(events, key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
        if event["reason"] in NODE_EVENTS
    }
    states: dict[str, list[str]] = {}
    for pod in pods:
        labels = pod["metadata"].get("labels", {})
        # What a node that was shut down leaves behind; the Deployment has replaced it.
        if labels.get("app") == model and pod["status"].get("phase") not in ("Failed", "Succeeded"):
            state = describe_pod(pod, latest.get(pod["metadata"]["name"]))
            states.setdefault(labels.get("version", "?"), []).append(state)
    if not states:
        return "asleep: no pod yet, the autoscaler has to see the request first"
    return "; ".join(f"{version}: {_counted(found)}" for version, found in sorted(states.items()))


def describe_pod(pod: Json, node_event: str | None) -> str:
    """Say what one pod waits for; `node_event` is the newest event about a node for it."""
    status = pod["status"]
    conditions = {condition["type"]: condition for condition in status.get("conditions", [])}
    if not pod["spec"].get("nodeName"):
        reason = node_event or conditions.get("PodScheduled", {}).get("message", "")
        return f"waiting for a node ({_shortened(reason)})" if reason else "waiting for a node"
    containers = [found for found in status.get("containerStatuses", []) if found["name"] not in SIDECARS]
    for state in (_initialising(status), *map(_starting, containers)):
        if state:
            return state
    if conditions.get("Ready", {}).get("status") == "True":
        return "ready"
    if not containers or any("waiting" in container.get("state", {}) for container in containers):
        return "pulling the image"
    return "loaded, not ready yet"


def _initialising(status: Json) -> str:
    for container in status.get("initContainerStatuses", []):
        if "running" in container.get("state", {}) and container["name"] not in SIDECARS:
            return f"running {container['name']} before the engine"
    return ""


def _starting(container: Json) -> str:
    waiting = container.get("state", {}).get("waiting")
    if waiting and waiting["reason"] not in ("ContainerCreating", "PodInitializing"):
        return f"{waiting['reason']} ({_shortened(waiting.get('message', ''))}{_last_end(container)})"
    if not waiting and not container.get("started"):
        return f"downloading and loading the weights{_last_end(container)}"
    return ""


def _last_end(container: Json) -> str:
    ended = container.get("lastState", {}).get("terminated")
    if not ended:
        return ""
    return f", restarted {container['restartCount']} times, last by {ended['reason']} ({ended['exitCode']})"


def _counted(states: Sequence[str]) -> str:
    return ", ".join(
        state if states.count(state) == 1 else f"{states.count(state)} x {state}" for state in dict.fromkeys(states)
    )


def _shortened(text: str, width: int = 160) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 3]}..."

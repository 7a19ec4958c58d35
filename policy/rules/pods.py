"""Rules for pods: what they ask for, and what they may do on their node."""

from collections.abc import Iterator, Mapping
from typing import Final

from planning.policies import Policy
from policy.rules.place import Place
from policy.rules.rule import Facts, Finding, Rule, Seen, Violation, judged
from policy.rules.workload import Pods, pods_of

DRIVER: Final = ("kube-system", "nvidia-driver-installer")
DCGM: Final = ("monitoring", "dcgm-exporter")

UNLIMITED: Final[Mapping[tuple[str, str], str]] = {
    DRIVER: "Google's own manifest, which gives its two installers a request of CPU alone; a limit could end an"
    " installation halfway, and the node would never serve",
}
"""By namespace and name, whose containers may go without, and why."""

PRIVILEGED: Final[Mapping[tuple[str, str], str]] = {
    DRIVER: "it loads the NVIDIA kernel module into the node and writes the driver to its disk; no GPU works without",
}
"""By namespace and name, who may do anything on its node, and why."""

ALLOWED: Final[Mapping[tuple[str, str], tuple[frozenset[str], frozenset[str], str]]] = {
    DCGM: (
        frozenset({"SYS_ADMIN"}),
        frozenset({"/var/lib/kubelet/pod-resources"}),
        "profiling counters of a GPU are read with SYS_ADMIN, and the kubelet's socket tells which pod has which GPU:"
        " dcgm-exporter.yaml of NVIDIA/dcgm-exporter. It is not made privileged for that",
    ),
}
"""By namespace and name, who may have which capabilities and paths of its node, and why."""

HARMLESS: Final = frozenset({"NET_BIND_SERVICE"})
"""The one capability that Pod Security's restricted level lets a container add:
https://kubernetes.io/docs/concepts/security/pod-security-standards/"""


def requests_and_limits(resource: Seen, _: Facts) -> Iterator[Finding]:
    """Yield each container without a request of CPU and memory, or a limit of memory."""
    pods = pods_of(resource)
    if pods is not None:
        yield from judged(_requests_and_limits(pods))


def _requests_and_limits(pods: Pods) -> Iterator[Finding]:
    if pods.is_one_of(UNLIMITED):
        return
    for container in pods.containers():
        yield from judged(_resources(container))


def _resources(container: Place) -> Iterator[Finding]:
    for kind, what in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
        place = container.at("resources", kind, what)
        if not place.text:
            yield Violation(message=f"{place.path} is missing")


def no_privileged_pod(resource: Seen, _: Facts) -> Iterator[Finding]:
    """Yield whatever gives a pod power over its node."""
    pods = pods_of(resource)
    if pods is not None:
        yield from judged(_no_privileged_pod(pods))


def _no_privileged_pod(pods: Pods) -> Iterator[Finding]:
    if pods.is_one_of(PRIVILEGED):
        return
    capabilities, paths, _ = ALLOWED.get((pods.namespace.text, pods.name.text), (frozenset(), frozenset(), ""))
    for place in (pods.spec[key] for key in ("hostNetwork", "hostPID", "hostIPC")):
        yield from judged(_is_off(place))
    yield from judged(_no_paths(pods.spec["volumes"], paths))
    for container in pods.containers():
        security = container["securityContext"]
        yield from judged(_is_off(security["privileged"]))
        yield from judged(_no_capabilities(security.at("capabilities", "add"), capabilities | HARMLESS))


def _is_off(place: Place) -> Iterator[Finding]:
    if place.value is True:
        yield Violation(message=f"{place.path} is true")


def _no_paths(volumes: Place, allowed: frozenset[str]) -> Iterator[Finding]:
    for volume in volumes.each():
        place = volume["hostPath"]
        if place.value is not None and place["path"].text not in allowed:
            yield Violation(message=f"{place.path} is a path of the node")


def _no_capabilities(added: Place, allowed: frozenset[str]) -> Iterator[Finding]:
    for place in added.each():
        if place.text.removeprefix("CAP_") not in allowed:
            yield Violation(message=f"{place.path} adds a capability")


RULES: Final = (
    Rule(
        name=Policy.NO_PRIVILEGED_POD,
        what="No pod is privileged, shares its node's namespaces or disk, or adds capabilities.",
        why="who breaks out of such a pod has the node, and every model on it.",
        fix="take it out; an exception has a name and a reason in policy/rules/pods.py.",
        of_resource=no_privileged_pod,
    ),
    Rule(
        name=Policy.REQUESTS_AND_LIMITS,
        what="Every container asks for CPU and memory and has a limit of memory.",
        why="the scheduler and the autoscaler count requests, and a pod without a limit takes its neighbours' memory."
        " CPU needs no limit: it would only slow down.",
        fix="set resources.requests.cpu, .memory and resources.limits.memory.",
        of_resource=requests_and_limits,
    ),
)

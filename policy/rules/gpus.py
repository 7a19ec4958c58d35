"""Rules for GPU nodes: pods get onto those that are theirs, and spot nodes are not all in one place."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from catalog.gpu_machines import gpu_machines
from planning.cost.recorded import UNKNOWN, recorded
from planning.cost.workloads import CLASS, node_pools_of, workloads_of
from planning.policies import Policy
from planning.pools import COMPUTE_CLASS, PoolKind
from policy.rules.cluster import POOL
from policy.rules.place import NotKnown, Place
from policy.rules.rule import Facts, Finding, Rule, Seen, of_each
from policy.rules.workload import Pods, gpus_of, pods_of

EFFECTS: Final[Mapping[str, str]] = {"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute"}
"""Effects that keep a pod away, as Google and as Kubernetes spell them; the third is a wish."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pool:
    name: str
    taints: tuple[tuple[str, str, str], ...]
    """Key, value and effect, this one in the spelling of Kubernetes."""


def gpu_tolerations(resources: Sequence[Seen], _: Facts) -> Iterator[Finding]:
    """Yield pods with GPUs that no pool takes, or that a pool of theirs keeps away."""
    yield from of_each(resources, lambda seen: _kept_away(seen, resources))


def _kept_away(seen: Seen, resources: Sequence[Seen]) -> Iterator[str]:
    pods = pods_of(seen)
    if pods is None or not any(gpus_of(container) > 0 for container in pods.containers()):
        return
    pools = list(_pools_of(pods, resources))
    if not pools:
        yield "no GPU node pool has the labels that its nodeSelector asks for"
    for pool in pools:
        for taint in pool.taints:
            if not any(_tolerates(toleration, taint) for toleration in pods.spec["tolerations"].each()):
                yield f"does not tolerate the taint {taint[0]} of the pool {pool.name}"


def _pools_of(pods: Pods, resources: Sequence[Seen]) -> Iterator[_Pool]:
    """Yield the pools that the pods may land on. Raises NotKnown."""
    wanted = {key: place.text for key, place in pods.spec["nodeSelector"].items()}
    named = _in_class(wanted.get(COMPUTE_CLASS), resources)
    for seen in resources:
        if seen.type != POOL:
            continue
        config = seen.place["nodeConfig"]
        if not any(int(card["count"].value or 0) for card in config["guestAccelerators"].each()):
            continue
        labels = {key: place.text for key, place in config["labels"].items()}
        names = {seen.name, seen.place["name"].text}
        if wanted.items() <= labels.items() and (named is None or names & named):
            taints = tuple(
                (taint["key"].text, taint["value"].text, EFFECTS[taint["effect"].text])
                for taint in config["taints"].each()
                if taint["effect"].text in EFFECTS
            )
            yield _Pool(name=seen.name, taints=taints)


def _in_class(name: str | None, resources: Sequence[Seen]) -> set[str] | None:
    """Find the pools that a compute class names; None where the pods ask for none, or nobody made it."""
    for seen in resources:
        if name is not None and seen.type == CLASS and seen.place.at("metadata", "name").text == name:
            rules = seen.place.at("spec", "priorities").each()
            return {pool.text for rule in rules for pool in rule["nodepools"].each()}
    return None


def _tolerates(toleration: Place, taint: tuple[str, str, str]) -> bool:
    # https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
    key, value, effect = taint
    if toleration["effect"].text not in ("", effect):
        return False
    if toleration["operator"].text == "Exists":
        return toleration["key"].text in ("", key)
    return (toleration["key"].text, toleration["value"].text) == (key, value)


def spot_zones(resources: Sequence[Seen], facts: Facts) -> Iterator[Finding]:
    """Yield spot pools of production in one zone of several, and models without a floor where there is but one."""
    if facts.production:
        pools = [seen for seen in resources if seen.type == POOL]
        yield from of_each(pools, lambda pool: _lonely(pool, resources, facts))


def _lonely(pool: Seen, resources: Sequence[Seen], facts: Facts) -> Iterator[str]:
    config = pool.place["nodeConfig"]
    if config["spot"].value is not True or not list(config["guestAccelerators"].each()):
        return
    machine, zones = config["machineType"].text, list(pool.place["nodeLocations"].each())
    there = [found.zones for found in gpu_machines() if (found.machine_type, found.region) == (machine, facts.region)]
    if not there:
        raise NotKnown("in which zones its machines are: the catalogue has none in the region")
    if not zones:
        raise NotKnown("nodeLocations, which is left out: Google chooses")
    if len({zone.text for zone in zones}) > 1:
        return
    if len(there[0]) > 1:
        yield f"is in one zone, and {len(there[0])} of the region have its machines: one shortage takes every spot node"
        return
    for model in sorted(_without_floor(machine, resources) - facts.tolerant):
        yield f"is in the one zone that there is, and {model} has no floor on demand"


def _without_floor(machine: str, resources: Sequence[Seen]) -> set[str]:
    """Find the models on spot nodes of a machine type of which no replica is kept on demand."""
    states = [{"type": seen.type, "urn": seen.urn, "inputs": seen.props, "custom": True} for seen in resources]
    found = recorded(states)
    workloads = [w for w in workloads_of(found, node_pools_of(found, zones=1)) if w.machine_type == machine]
    kept = {w.model for w in workloads if PoolKind.SPOT not in w.order and w.minimum}
    return {w.model for w in workloads if PoolKind.SPOT in w.order and w.maximum} - kept - {"", UNKNOWN}


RULES: Final = (
    Rule(
        name=Policy.GPU_TOLERATIONS,
        what="Pods with GPUs have a node pool, and tolerate what keeps other pods off it.",
        why="else they wait for ever, and nothing says so but a pending pod.",
        fix="nodeSelector and tolerations of the pool's labels and taints: planning/pools.py.",
        of_stack=gpu_tolerations,
    ),
    Rule(
        name=Policy.SPOT_ZONES,
        what="Spot nodes of production are in two zones where the region has two, else there is a floor on demand.",
        why="spot capacity runs out by zone and machine, for all nodes there at once.",
        fix="llmserve:zones with two of them or none; models[].scaling.baseOnDemandReplicas, or batchTolerant: true.",
        of_stack=spot_zones,
    ),
)

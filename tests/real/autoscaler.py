"""A stand-in for GKE's cluster autoscaler: for pods that wait it adds nodes of the recorded pools, in a class's order.

Classes, pools and pods are the program's, and where pods land is the real scheduler's decision. That GKE's autoscaler
reads a class in this way is its documentation's word, and nothing here shows it:
https://docs.cloud.google.com/kubernetes-engine/docs/concepts/about-custom-compute-classes
It takes no node away, and it gives up a pool at once that is sold out.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from planning.pools import COMPUTE_CLASS, GPU
from preview import Resource, Snapshot
from tests.real.api_server import ApiServer
from tests.real.fake_nodes import gpu_node, gpu_pools, pool_of, register

PODS = "/api/v1/namespaces/models/pods"


@dataclass(kw_only=True)
class Autoscaler:
    """Makes nodes on a real API server. `sold_out` names the pools that get no node now."""

    server: ApiServer
    pools: Mapping[str, Resource]
    """By the program's name, as recorded."""
    classes: Mapping[str, tuple[str, ...]]
    """Each compute class's pools in its order."""
    sold_out: set[str] = field(default_factory=set)
    _made: dict[str, dict[str, Any]] = field(default_factory=dict)
    _count: int = 0

    @property
    def nodes(self) -> dict[str, str]:
        """The pool of each node that is there."""
        return {name: pool_of(node) for name, node in self._made.items()}

    def read(self, snapshot: Snapshot) -> None:
        """Go by the pools and the classes of another recording from now on."""
        self.pools, self.classes = recorded_pools(snapshot), recorded_classes(snapshot)

    def run_until(self, done: Callable[[], bool], *, seconds: float) -> bool:
        """Add nodes until it is so; whether it became so in time."""
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                return False
            self.step()
            time.sleep(0.2)
        return True

    def step(self) -> None:
        """Add a node for each pod that the scheduler has found no place for, unless an empty one would take it."""
        pods = self.server.items(PODS)
        used = {pod["spec"].get("nodeName") for pod in pods}
        empty = [node for name, node in self._made.items() if name not in used]
        new = []
        for pod in filter(_waits, pods):
            if (node := next((node for node in empty if would_take(node, pod)), None)) is not None:
                empty.remove(node)
            elif (pool := self._pool_for(pod)) is not None:
                self._count += 1
                node = gpu_node(pool, self._count)
                self._made[node["metadata"]["name"]] = node
                new.append(node)
        if new:
            register(self.server, new)

    def lose(self, pool: str) -> None:
        """Take every node of a pool away together with its pods, and give none again."""
        self.sold_out.add(pool)
        self.remove(pool)

    def remove(self, *pools: str) -> None:
        """Take the nodes of these pools away, together with their pods."""
        lost = {name for name, pool in self.nodes.items() if pool in pools}
        for name in lost:
            assert self.server.request("DELETE", f"/api/v1/nodes/{name}").accepted
            del self._made[name]
        for pod in self.server.items(PODS):
            if pod["spec"].get("nodeName") in lost:
                self.server.request("DELETE", f"{PODS}/{pod['metadata']['name']}?gracePeriodSeconds=0")

    def _pool_for(self, pod: dict[str, Any]) -> Resource | None:
        """Choose the first pool that would take the pod and has a node to give: of its class, where it names one."""
        named = pod["spec"].get("nodeSelector", {}).get(COMPUTE_CLASS)
        for name in self.pools if named is None else self.classes.get(named, ()):
            there = sum(pool == name for pool in self.nodes.values())
            room = there < self.pools[name].inputs["autoscaling"]["totalMaxNodeCount"]
            if room and name not in self.sold_out and would_take(gpu_node(self.pools[name], 0), pod):
                return self.pools[name]
        return None


def recorded_pools(snapshot: Snapshot) -> dict[str, Resource]:
    """The recorded pools with GPUs by the program's name of them."""
    return {pool.name: pool for pool in gpu_pools(snapshot)}


def recorded_classes(snapshot: Snapshot) -> dict[str, tuple[str, ...]]:
    """The pools of each recorded ComputeClass in its order, by the program's name; KeyError for one not there."""
    names = {str(pool.outputs["name"]): pool.name for pool in gpu_pools(snapshot)}
    return {
        str(made.inputs["metadata"]["name"]): tuple(
            names[str(pool)] for priority in made.inputs["spec"]["priorities"] for pool in priority["nodepools"]
        )
        for made in snapshot.resources
        if made.type.endswith(":ComputeClass")
    }


def would_take(node: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    """Whether an empty node has a pod's labels, no taint that it does not tolerate, and as many GPUs as it asks for."""
    labels, spec = node["metadata"]["labels"], pod["spec"]
    asked = sum(int(item["resources"].get("requests", {}).get(GPU, 0)) for item in spec["containers"])
    return (
        spec.get("nodeSelector", {}).items() <= labels.items()
        and all(any(_tolerates(t, taint) for t in spec.get("tolerations", [])) for taint in node["spec"]["taints"])
        and asked <= int(node["status"]["allocatable"][GPU])
    )


def _tolerates(toleration: Mapping[str, str], taint: Mapping[str, str]) -> bool:
    same_key = toleration.get("key", taint["key"]) == taint["key"]
    same_effect = toleration.get("effect", taint["effect"]) == taint["effect"]
    any_value = toleration.get("operator", "Equal") == "Exists"
    return same_key and same_effect and (any_value or toleration.get("value") == taint["value"])


def _waits(pod: Mapping[str, Any]) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return "deletionTimestamp" not in pod["metadata"] and any(
        condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable" for condition in conditions
    )

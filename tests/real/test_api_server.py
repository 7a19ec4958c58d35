"""A real API server takes every object, and a real scheduler puts every pod where it should be.

Nodes are fake ones of KWOK, made from the recorded node pools; no container runs, so nothing here says that a model
answers. Sidecars are not injected: nothing serves istiod's webhook.
"""

import copy
import json
import os
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck
from hypothesis import strategies as st

from planning.plan import Plan
from planning.pools import GPU, SPOT
from tests.real import rendered
from tests.real.api_server import ApiServer, NotServedError, running, wait_until
from tests.real.fake_nodes import (
    MACHINE,
    ZONE,
    gpu_nodes,
    gpu_pools,
    node_labels,
    register,
    system_nodes,
    taints,
)
from tests.recording import decided
from tests.stacks import Config, is_accepted, recorded_all, stacks

TIER = "API server"

DEFINITIONS = {
    "networking.istio.io": "Istio, manifests/charts/base/files/crd-all.gen.yaml",
    "security.istio.io": "Istio, manifests/charts/base/files/crd-all.gen.yaml",
    "monitoring.coreos.com": "the chart prometheus-operator-crds",
    "keda.sh": "kedacore/charts, keda/templates/crds, or the release's keda-*-crds.yaml",
    "cloud.google.com": "a GKE cluster: kubectl get crd computeclasses.cloud.google.com -o yaml",
    "secret-sync.gke.io": "a GKE cluster with secret sync: kubectl get crd secretsyncs.secret-sync.gke.io -o yaml",
    "secrets-store.csi.x-k8s.io": "kubernetes-sigs/secrets-store-csi-driver, deploy/",
}
"""Where the definition of each group's custom resources is from."""

EVERY_OBJECT = [
    pytest.param(stack, name, id=f"{stack}-{name.removesuffix('.yaml')}")
    for stack in rendered.STACKS
    for name in rendered.objects(stack)
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server with every namespace of every stack, and every definition that CRDS has."""
    with running(tmp_path_factory.mktemp("api-server")) as started:
        started.define(*(Path(place) for place in os.environ.get("CRDS", "").split(os.pathsep) if place))
        for stack in rendered.STACKS:
            started.make_namespaces(*(item["metadata"]["name"] for item in rendered.of_kind(stack, "Namespace")))
        yield started


def dry_run(server: ApiServer, manifest: dict[str, Any]) -> tuple[bool, str]:
    """Whether the server would take it without a warning, and what it says; skips without the definition."""
    try:
        answer = server.apply(manifest, dry_run=True)
    except NotServedError as unknown:
        group = manifest["apiVersion"].partition("/")[0]
        source = DEFINITIONS.get(group, f"the project of {group}")
        pytest.skip(f"{unknown}: CRDS has no definition of it (it is from {source})")
    return answer.accepted and not answer.warnings, "\n".join((answer.message, *answer.warnings))


@pytest.mark.parametrize(("stack", "name"), EVERY_OBJECT)
def test_accepted(server: ApiServer, stack: str, name: str) -> None:
    accepted, said = dry_run(server, rendered.objects(stack)[name])
    assert accepted, said


@pytest.mark.parametrize(("stack", "name"), EVERY_OBJECT)
def test_the_check_can_fail(server: ApiServer, stack: str, name: str) -> None:
    manifest = copy.deepcopy(rendered.objects(stack)[name])
    part = next((key for key in ("spec", "data", "stringData") if key in manifest), "metadata")
    if part in {"data", "stringData"}:
        part = "metadata"
    misspelt = next(iter(manifest[part]))
    manifest[part][f"{misspelt}x"] = manifest[part][misspelt]
    accepted, said = dry_run(server, manifest)
    assert not accepted
    assert f"{misspelt}x" in said


_ACCEPTED: set[str] = set()
"""Objects that were taken: most are the same in every stack."""


@hypothesis.settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@hypothesis.given(several=st.lists(stacks(careful=True).filter(is_accepted), min_size=8, max_size=8))
def test_whatever_planning_accepts_is_accepted(server: ApiServer, several: list[Config]) -> None:
    """Stacks that nobody wrote: every object of those that are not refused."""
    for program in recorded_all(several):
        for name, manifest in rendered.objects_of(program).items():
            text = json.dumps(manifest, sort_keys=True, default=str)
            if text not in _ACCEPTED:
                accepted, said = dry_run(server, manifest)
                assert accepted, f"{name}: {said}"
                _ACCEPTED.add(text)


@pytest.mark.parametrize("stack", rendered.STACKS)
def test_no_limit_of_a_route_is_written_as_zero(server: ApiServer, stack: str) -> None:
    """Rules of a definition beyond its types are evaluated too: Istio's says that a duration is at least 1 ms."""
    for manifest in copy.deepcopy(rendered.of_kind(stack, "VirtualService")):
        manifest["spec"]["http"][-1]["timeout"] = "0s"
        accepted, said = dry_run(server, manifest)
        assert not accepted
        assert "1ms" in said


# Where pods land


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """A stack's Deployments and DaemonSet on fake nodes, and the plan that says where they belong."""

    server: ApiServer
    stack: str
    plan: Plan
    nodes: dict[str, dict[str, Any]]

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        """The pods with these labels, in whatever namespace; an empty value asks for the label alone."""
        selector = ",".join(f"{key}={value}" if value else key for key, value in labels.items())
        return self.server.items(f"/api/v1/pods?{urllib.parse.urlencode({'labelSelector': selector})}")

    def scale(self, deployment: str, replicas: int, *, running: int | None = None) -> list[dict[str, Any]]:
        """Set the replicas, as KEDA would, and wait until so many are (or `running` many are) Running."""
        path = f"/apis/apps/v1/namespaces/models/deployments/{deployment}/scale"
        set_ = self.server.merge(path, {"spec": {"replicas": replicas}})
        assert set_.accepted, set_.message
        model, version = deployment.rpartition("-")[::2]
        expected = replicas if running is None else running

        def settled() -> bool:
            found = self.pods(app=model, version=version)
            return len(found) == replicas and sum(map(is_running, found)) == expected

        try:
            wait_until(settled, f"{deployment} has {expected} of {replicas} pods running", seconds=30)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.why_pending(model)}") from None
        return self.pods(app=model, version=version)

    def why_pending(self, model: str) -> str:
        """What the scheduler says of the pods that have no node."""
        return "\n".join(
            f"{pod['metadata']['name']}: {condition['message']}"
            for pod in self.pods(app=model)
            for condition in pod["status"].get("conditions") or ()
            if condition["type"] == "PodScheduled" and condition["status"] == "False"
        )

    def sleep(self) -> None:
        """Scale everything to none, without the time to drain."""
        for model in self.plan.models:
            for version in model.versions:
                path = f"/apis/apps/v1/namespaces/models/deployments/{model.name}-{version.name}/scale"
                assert self.server.merge(path, {"spec": {"replicas": 0}}).accepted

        def gone() -> bool:
            pods = self.server.items("/api/v1/namespaces/models/pods?labelSelector=version")
            for pod in pods:
                if "deletionTimestamp" in pod["metadata"]:
                    self.server.request("DELETE", f"{self.server.path(POD | pod)}?gracePeriodSeconds=0")
            return not pods

        wait_until(gone, "no model runs", seconds=30)

    def zone(self, pod: dict[str, Any]) -> str:
        """The zone of the pod's node."""
        return str(self.nodes[pod["spec"]["nodeName"]]["metadata"]["labels"][ZONE])

    def cordon(self, *, machine: str, all_but: str | None) -> None:
        """Close a machine's nodes outside one zone to new pods, or open them all."""
        closed = {}
        for name, node in self.nodes.items():
            labels = node["metadata"]["labels"]
            if labels[MACHINE] == machine:
                closed[name] = all_but is not None and labels[ZONE] != all_but
                changed = self.server.merge(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": closed[name] or None}})
                assert changed.accepted, changed.message

        def tainted() -> bool:
            return all(
                closed.get(node["metadata"]["name"], False)
                == any(taint["key"] == "node.kubernetes.io/unschedulable" for taint in node["spec"].get("taints", []))
                for node in self.server.items("/api/v1/nodes")
            )

        wait_until(tainted, "the nodes are closed or open", seconds=30)


POD = {"apiVersion": "v1", "kind": "Pod"}
"""What the items of a list do not say of themselves."""


def is_running(pod: dict[str, Any]) -> bool:
    return bool(pod["status"]["phase"] == "Running") and "deletionTimestamp" not in pod["metadata"]


def gpus_of(pod: dict[str, Any]) -> int:
    return sum(int(item["resources"].get("limits", {}).get(GPU, 0)) for item in pod["spec"]["containers"])


@pytest.fixture(scope="module", params=rendered.STACKS)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A stack on as many nodes of each machine as its models can have replicas, and at least two in every zone."""
    stack: str = request.param
    snapshot = rendered.snapshot(stack)
    with pytest.MonkeyPatch.context() as patch:
        plan = decided(stack, {}, {}, patch)
    wanted: Counter[str] = Counter()
    for model in plan.models:
        wanted[model.machine.machine_type] += sum(version.replicas.maximum for version in model.versions)
    for pool in plan.pools:
        machine = pool.machine.machine_type
        wanted[machine] = max(wanted[machine], 2 * len(pool.zones))
    with running(tmp_path_factory.mktemp(f"cluster-{stack}")) as server:
        server.run_controllers()
        server.run_nodes()
        nodes = [*system_nodes(snapshot), *gpu_nodes(snapshot, wanted)]
        register(server, nodes)
        server.make_namespaces("models")
        for kind in ("ServiceAccount", "Deployment", "DaemonSet"):
            for manifest in rendered.of_kind(stack, kind):
                made = server.apply(manifest)
                assert made.accepted, made.message
        named = {node["metadata"]["name"]: node for node in nodes}
        yield Cluster(server=server, stack=stack, plan=plan, nodes=named)


def test_the_plan_knows_the_labels_and_taints_of_its_nodes(cluster: Cluster) -> None:
    recorded = {pool.name: pool for pool in gpu_pools(rendered.snapshot(cluster.stack))}
    assert {pool.name for pool in cluster.plan.pools} == set(recorded)
    for pool in cluster.plan.pools:
        assert pool.node_labels == node_labels(recorded[pool.name])
        made = {(taint["key"], taint["value"]) for taint in taints(recorded[pool.name])}
        assert made == {(taint.key, taint.value) for taint in pool.taints} | {(GPU, "present")}


def test_every_replica_has_a_node_of_its_models_machine(cluster: Cluster) -> None:
    for model in cluster.plan.models:
        for version in model.versions:
            for pod in cluster.scale(f"{model.name}-{version.name}", version.replicas.maximum):
                node = cluster.nodes[pod["spec"]["nodeName"]]
                assert node["metadata"]["labels"][MACHINE] == model.machine.machine_type
    cluster.sleep()


def test_a_node_carries_as_many_gpus_as_it_has_and_one_pod_more_waits(cluster: Cluster) -> None:
    for model in cluster.plan.models:
        machine = model.machine.machine_type
        mine = {name for name, node in cluster.nodes.items() if node["metadata"]["labels"][MACHINE] == machine}
        deployment = f"{model.name}-{model.versions[0].name}"
        room = sum(int(cluster.nodes[name]["status"]["allocatable"][GPU]) for name in mine) // model.resources.gpus
        pods = cluster.scale(deployment, room + 1, running=room)
        used: Counter[str] = Counter()
        for pod in pods:
            used[pod["spec"].get("nodeName", "")] += gpus_of(pod)
        waiting = used.pop("")
        assert waiting == model.resources.gpus
        assert used == {name: int(cluster.nodes[name]["status"]["allocatable"][GPU]) for name in mine}
        assert "Insufficient nvidia.com/gpu" in cluster.why_pending(model.name)
        cluster.sleep()


def test_new_replicas_go_to_the_zones_that_have_none(cluster: Cluster) -> None:
    """The last version keeps away from the first version's zone, although the nodes there are the emptier ones."""
    for model in cluster.plan.models:
        machine, first, last = model.machine.machine_type, model.versions[0].name, model.versions[-1].name
        (zones,) = {pool.zones for pool in cluster.plan.pools if pool.machine.machine_type == machine}
        cluster.cordon(machine=machine, all_but=zones[0])
        old = {pod["metadata"]["name"] for pod in cluster.scale(f"{model.name}-{first}", 2)}
        cluster.cordon(machine=machine, all_but=None)
        for name, node in cluster.nodes.items():
            if node["metadata"]["labels"][MACHINE] == machine and node["metadata"]["labels"][ZONE] != zones[0]:
                filler = bystander(f"filler-{name}", nodeName=name)
                filler["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1", "memory": "1Gi"}}
                wait_until(partial(posted, cluster, filler), "the filler is made", seconds=30)
        pods = cluster.scale(f"{model.name}-{last}", 4 if first == last else 2)
        new = [cluster.zone(pod) for pod in pods if pod["metadata"]["name"] not in old]
        assert len(new) == 2
        assert zones[0] not in new
        cluster.sleep()


def test_the_driver_is_on_every_gpu_node_and_on_no_other(cluster: Cluster) -> None:
    with_gpus = {name for name, node in cluster.nodes.items() if GPU in node["status"]["allocatable"]}
    (driver,) = rendered.of_kind(cluster.stack, "DaemonSet")

    def placed() -> list[str]:
        found = cluster.pods(**driver["spec"]["selector"]["matchLabels"])
        return sorted(pod["spec"]["nodeName"] for pod in found if is_running(pod))

    wait_until(lambda: len(placed()) >= len(with_gpus), "the driver runs on every GPU node", seconds=30)
    assert placed() == sorted(with_gpus)


def test_nothing_else_lands_on_a_gpu_node(cluster: Cluster) -> None:
    """Not a pod that asks for a GPU node's labels, nor one that tolerates all but the spot taint on a spot node."""
    pool = next(pool for pool in cluster.plan.pools if pool.spot)
    everything = [taint for taint in taints_of(cluster, pool.machine.machine_type) if taint["key"] != SPOT]
    bystanders: dict[str, tuple[dict[str, str], list[dict[str, str]]]] = {
        "bystander": ({}, []),
        "without-toleration": (pool.labels, []),
        "without-spot": (pool.labels | {SPOT: "true"}, everything),
    }
    for name, (selector, tolerated) in bystanders.items():
        tolerations = [{**taint, "operator": "Equal"} for taint in tolerated]
        pod = bystander(name, nodeSelector=selector, tolerations=tolerations)
        wait_until(partial(posted, cluster, pod), "the pod is made", seconds=30)
    wait_until(
        lambda: all(pod["status"].get("conditions") for pod in cluster.pods(bystander="")),
        "the scheduler has looked at every pod",
        seconds=30,
    )
    (free,) = cluster.pods(bystander="bystander")
    assert GPU not in cluster.nodes[free["spec"]["nodeName"]]["status"]["allocatable"]
    for name in ("without-toleration", "without-spot"):
        (kept_off,) = cluster.pods(bystander=name)
        assert "nodeName" not in kept_off["spec"], f"{name} is on {kept_off['spec']['nodeName']}"


def bystander(name: str, **spec: object) -> dict[str, Any]:
    """A pod that has nothing to do with a model."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "models", "labels": {"bystander": name}},
        "spec": {"containers": [{"name": "pause", "image": "pause"}], **spec},
    }


def posted(cluster: Cluster, pod: dict[str, Any]) -> bool:
    """Make a pod that is not there; False until a controller has made the namespace's account, which each needs."""
    return cluster.server.request("POST", "/api/v1/namespaces/models/pods", pod).status in {201, 409}


def taints_of(cluster: Cluster, machine: str) -> list[dict[str, str]]:
    """Every taint of a machine's nodes, each once."""
    found = {
        (taint["key"], taint["value"]): taint
        for node in cluster.nodes.values()
        if node["metadata"]["labels"][MACHINE] == machine
        for taint in node["spec"]["taints"]
    }
    return list(found.values())

"""A real API server takes every object, and a real scheduler puts every pod where it should be.

Nodes are fake ones of KWOK, made from the recorded node pools; no container runs, so nothing here says that a model
answers. Sidecars are not injected: nothing serves istiod's webhook.
"""

import copy
import json
import os
import urllib.parse
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck
from hypothesis import strategies as st

from planning.plan import Plan
from planning.pools import COMPUTE_CLASS, FLOOR, GPU, PoolKind
from planning.serving import ModelPlan, Version, floor_name
from tests.real import rendered
from tests.real.api_server import ApiServer, NotServedError, running, wait_until
from tests.real.autoscaler import Autoscaler
from tests.real.fake_nodes import (
    MACHINE,
    ZONE,
    gpu_nodes,
    gpu_pools,
    node_labels,
    pool_of,
    register,
    system_nodes,
    taints,
)
from tests.recording import decided, recorded
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
class Deployed:
    """One of the Deployments of a model's version: the floor's, or the one that KEDA scales."""

    model: ModelPlan
    version: Version
    floor: bool = False

    @property
    def name(self) -> str:
        """The Deployment's name."""
        workload = f"{self.model.name}-{self.version.name}"
        return floor_name(workload) if self.floor else workload

    @property
    def labels(self) -> dict[str, str]:
        """What its pods, and no others, are labelled with."""
        placement = "floor" if self.floor else "elastic"
        return {"app": self.model.name, "version": self.version.name, "llmserve/placement": placement}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """A stack's Deployments and DaemonSet on fake nodes, and the plan that says where they belong."""

    server: ApiServer
    plan: Plan
    stack: str = "prod"
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def floors(self) -> list[Deployed]:
        """The Deployments of floors."""
        return [
            Deployed(model=model, version=version, floor=True)
            for model in self.plan.models
            for version in model.versions
            if version.replicas.floor
        ]

    @property
    def elastic(self) -> list[Deployed]:
        """The Deployments that KEDA scales."""
        return [Deployed(model=model, version=version) for model in self.plan.models for version in model.versions]

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        """The pods with these labels, in whatever namespace; an empty value asks for the label alone."""
        selector = ",".join(f"{key}={value}" if value else key for key, value in labels.items())
        return self.server.items(f"/api/v1/pods?{urllib.parse.urlencode({'labelSelector': selector})}")

    def set_replicas(self, deployed: Deployed, replicas: int) -> None:
        """Set the replicas, as KEDA would."""
        path = f"/apis/apps/v1/namespaces/models/deployments/{deployed.name}/scale"
        done = self.server.merge(path, {"spec": {"replicas": replicas}})
        assert done.accepted, done.message

    def run(self, deployed: Deployed, replicas: int, *, running: int | None = None) -> list[dict[str, Any]]:
        """Set the replicas and wait until so many are (or `running` many are) Running, and the others wait."""
        self.set_replicas(deployed, replicas)
        expected = replicas if running is None else running

        def settled() -> bool:
            found = self.pods(**deployed.labels)
            waiting = len(self.why_pending(deployed))
            return (len(found), sum(map(is_running, found)), waiting) == (replicas, expected, replicas - expected)

        try:
            wait_until(settled, f"{deployed.name} has {expected} of {replicas} pods running", seconds=30)
        except TimeoutError as error:
            raise AssertionError("\n".join((str(error), *self.why_pending(deployed)))) from None
        return self.pods(**deployed.labels)

    def why_pending(self, deployed: Deployed) -> list[str]:
        """What the scheduler says of the pods that have no node."""
        return [
            f"{pod['metadata']['name']}: {condition['message']}"
            for pod in self.pods(**deployed.labels)
            for condition in pod["status"].get("conditions") or ()
            if condition["type"] == "PodScheduled" and condition["status"] == "False"
        ]

    def sleep(self) -> None:
        """Scale everything to none, floors as well, without the time to drain."""
        for deployed in (*self.elastic, *self.floors):
            self.set_replicas(deployed, 0)

        def gone() -> bool:
            pods = self.server.items("/api/v1/namespaces/models/pods?labelSelector=version")
            for pod in pods:
                if "deletionTimestamp" in pod["metadata"]:
                    self.server.request("DELETE", f"{self.server.path(POD | pod)}?gracePeriodSeconds=0")
            return not pods

        wait_until(gone, "no model runs", seconds=30)

    def nodes_for(self, deployed: Deployed) -> dict[str, dict[str, Any]]:
        """The nodes that a Deployment's pods are meant for, by name: the floor's, or all those of the class."""
        machine = deployed.model.machine.machine_type
        kinds = {pool.name: pool.kind for pool in self.plan.pools if pool.machine.machine_type == machine}
        return {
            name: node
            for name, node in self.nodes.items()
            if pool_of(node) in kinds and (kinds[pool_of(node)] is PoolKind.FLOOR) is deployed.floor
        }

    def zone(self, pod: dict[str, Any]) -> str:
        """The zone of the pod's node."""
        return str(self.nodes[pod["spec"]["nodeName"]]["metadata"]["labels"][ZONE])

    def cordon(self, names: Collection[str]) -> None:
        """Close these nodes to new pods, and open all others."""
        for name in self.nodes:
            closed = {"spec": {"unschedulable": name in names or None}}
            changed = self.server.merge(f"/api/v1/nodes/{name}", closed)
            assert changed.accepted, changed.message

        def tainted() -> bool:
            return all(
                (node["metadata"]["name"] in names)
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


@contextmanager
def nodes_and_controllers(folder: Path, stack: str, nodes: list[dict[str, Any]]) -> Iterator[ApiServer]:
    """An API server with a real scheduler, these nodes, and the system's."""
    with running(folder) as server:
        server.run_controllers()
        server.run_nodes()
        register(server, [*system_nodes(rendered.snapshot(stack)), *nodes])
        server.make_namespaces("models")
        yield server


def apply(server: ApiServer, manifests: Iterable[dict[str, Any]], *kinds: str) -> None:
    """Make or change the objects of these kinds."""
    for kind in kinds:
        for manifest in manifests:
            if manifest["kind"] == kind:
                made = server.apply(manifest)
                assert made.accepted, made.message


@pytest.fixture(scope="module", params=rendered.STACKS)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A stack on as many nodes of each pool as it may have, and at least two in every zone."""
    stack: str = request.param
    snapshot = rendered.snapshot(stack)
    with pytest.MonkeyPatch.context() as patch:
        plan = decided(stack, {}, {}, patch)
    nodes = list(gpu_nodes(snapshot, {pool.name: max(pool.max_nodes, 2 * len(pool.zones)) for pool in plan.pools}))
    with nodes_and_controllers(tmp_path_factory.mktemp(f"cluster-{stack}"), stack, nodes) as server:
        apply(server, rendered.objects(stack).values(), "ServiceAccount", "Deployment", "DaemonSet")
        system = system_nodes(snapshot)
        cluster = Cluster(
            server=server, stack=stack, plan=plan, nodes={node["metadata"]["name"]: node for node in (*system, *nodes)}
        )
        cluster.sleep()
        yield cluster


def test_the_plan_knows_the_labels_and_taints_of_its_nodes(cluster: Cluster) -> None:
    recorded = {pool.name: pool for pool in gpu_pools(rendered.snapshot(cluster.stack))}
    assert {pool.name for pool in cluster.plan.pools} == set(recorded)
    for pool in cluster.plan.pools:
        assert pool.node_labels == node_labels(recorded[pool.name])
        made = {(taint["key"], taint["value"]) for taint in taints(recorded[pool.name])}
        assert made == {(taint.key, taint.value) for taint in pool.taints} | {(GPU, "present")}


def test_every_version_has_a_deployment_that_keda_scales_and_one_of_its_floor_if_it_has_one(cluster: Cluster) -> None:
    made = {
        manifest["metadata"]["name"]: manifest["spec"]["replicas"]
        for manifest in rendered.of_kind(cluster.stack, "Deployment")
    }
    expected = {deployed.name: deployed.version.replicas.floor for deployed in cluster.floors}
    assert made == expected | {deployed.name: 0 for deployed in cluster.elastic}


def test_elastic_replicas_are_on_nodes_of_their_machines_class_and_on_no_floor_node(cluster: Cluster) -> None:
    for deployed in cluster.elastic:
        pods = cluster.run(deployed, deployed.version.replicas.elastic_maximum)
        assert {pod["spec"]["nodeName"] for pod in pods} <= cluster.nodes_for(deployed).keys()
        for pod in pods:
            labels = cluster.nodes[pod["spec"]["nodeName"]]["metadata"]["labels"]
            assert labels[COMPUTE_CLASS] == labels[MACHINE] == deployed.model.machine.machine_type
            assert FLOOR not in labels
    cluster.sleep()


def test_floor_replicas_are_on_on_demand_nodes_of_their_floor_although_all_others_are_free(cluster: Cluster) -> None:
    recorded = {pool.name: pool for pool in gpu_pools(rendered.snapshot(cluster.stack))}
    for deployed in cluster.floors:
        machine = deployed.model.machine.machine_type
        pods = cluster.run(deployed, deployed.version.replicas.floor)
        assert {pool_of(cluster.nodes[pod["spec"]["nodeName"]]) for pod in pods} == {f"{machine}-floor"}
        config = recorded[f"{machine}-floor"].inputs["nodeConfig"]
        assert not config["spot"]
        assert not config.get("flexStart")
    cluster.sleep()


def test_a_node_carries_as_many_gpus_as_it_has_and_one_pod_more_waits(cluster: Cluster) -> None:
    """A floor that is full waits while spot and on-demand nodes are free, and the others while floor nodes are free."""
    for deployed in (*cluster.floors, *(each for each in cluster.elastic if each.version is each.model.versions[0])):
        mine = {name: int(node["status"]["allocatable"][GPU]) for name, node in cluster.nodes_for(deployed).items()}
        room = sum(mine.values()) // deployed.model.resources.gpus
        pods = cluster.run(deployed, room + 1, running=room)
        used: Counter[str] = Counter()
        for pod in pods:
            used[pod["spec"].get("nodeName", "")] += gpus_of(pod)
        waiting = used.pop("")
        assert waiting == deployed.model.resources.gpus
        assert used == mine
        (why,) = cluster.why_pending(deployed)
        assert "Insufficient nvidia.com/gpu" in why
        cluster.sleep()


def test_new_replicas_go_to_the_zones_that_have_none(cluster: Cluster) -> None:
    """The last version keeps away from the first version's zone, although the nodes there are the emptier ones."""
    for model in cluster.plan.models:
        first, last = (Deployed(model=model, version=model.versions[index]) for index in (0, -1))
        zones = {name: node["metadata"]["labels"][ZONE] for name, node in cluster.nodes_for(first).items()}
        zone = min(zones.values())
        cluster.cordon([name for name, where in zones.items() if where != zone])
        old = {pod["metadata"]["name"] for pod in cluster.run(first, 2)}
        cluster.cordon([])
        for name, where in zones.items():
            if where != zone:
                filler = bystander(f"filler-{name}", nodeName=name)
                filler["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1", "memory": "1Gi"}}
                wait_until(partial(posted, cluster, filler), "the filler is made", seconds=30)
        pods = cluster.run(last, 4 if first == last else 2)
        new = [cluster.zone(pod) for pod in pods if pod["metadata"]["name"] not in old]
        assert len(new) == 2
        assert zone not in new
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
    """Not a pod that asks for a pool's labels, nor one that tolerates but one of its taints.

    So it goes for every pool, and not even the toleration of the class or the floor alone makes a place for a pod.
    """
    kept_off = []
    for pool in cluster.plan.pools:
        (node, *_) = (node for node in cluster.nodes.values() if pool_of(node) == pool.name)
        every: list[dict[str, str]] = node["spec"]["taints"]
        assert {taint["key"] for taint in every} == {pool.key, GPU}
        for missing in ("any", *(taint["key"] for taint in every)):
            name = f"{pool.name}-without-{missing.rpartition('/')[2]}"
            tolerations = [
                {**taint, "operator": "Equal"} for taint in every if missing != "any" and taint["key"] != missing
            ]
            pod = bystander(name, nodeSelector=pool.labels, tolerations=tolerations)
            wait_until(partial(posted, cluster, pod), "the pod is made", seconds=30)
            kept_off.append(name)
    wait_until(partial(posted, cluster, bystander("bystander")), "the pod is made", seconds=30)
    wait_until(
        lambda: all(pod["status"].get("conditions") for pod in cluster.pods(bystander="")),
        "the scheduler has looked at every pod",
        seconds=30,
    )
    (free,) = cluster.pods(bystander="bystander")
    assert GPU not in cluster.nodes[free["spec"]["nodeName"]]["status"]["allocatable"]
    for name in kept_off:
        (pod,) = cluster.pods(bystander=name)
        assert "nodeName" not in pod["spec"], f"{name} is on {pod['spec']['nodeName']}"


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


# Which nodes there are


MODES: dict[str, dict[str, str]] = {
    "spot": {"llmserve:capacity": "spot"},
    "on-demand": {"llmserve:capacity": "on-demand"},
    "spot-with-fallback": {"llmserve:capacity": "spot-with-fallback"},
    "with a reservation and flex-start": {
        "llmserve:flexStart": "true",
        "llmserve:reservations": json.dumps({"a2-ultragpu-1g": "ours", "a2-ultragpu-4g": "ours-too"}),
    },
}
"""Settings of prod, each for another order of pools."""


@dataclass(kw_only=True)
class Scaled:
    """Prod on the nodes that the stand-in of the autoscaler adds, and on no other but the system's."""

    cluster: Cluster
    autoscaler: Autoscaler

    def set(self, config: Mapping[str, str]) -> None:
        """Update prod to other settings, with the pods and nodes that there are."""
        snapshot = recorded("prod", placeholders=True, config=config)
        with pytest.MonkeyPatch.context() as patch:
            plan = decided("prod", config, {}, patch)
        self.autoscaler.read(snapshot)
        self.cluster = Cluster(server=self.cluster.server, plan=plan)
        manifests = list(rendered.objects_of(snapshot).values())
        for manifest in manifests:
            if manifest["kind"] == "Deployment" and not manifest["spec"]["replicas"]:
                # They are KEDA's: Pulumi leaves them as they are.
                there = self.cluster.server.request("GET", self.cluster.server.path(manifest))
                manifest["spec"]["replicas"] = there.body["spec"]["replicas"]
        apply(self.cluster.server, manifests, "ServiceAccount", "Deployment")

    def run(self, deployed: Deployed, replicas: int, *, running: int | None = None) -> list[str]:
        """Scale, add nodes until so many run, and return the pool of each that does, in order."""
        self.cluster.set_replicas(deployed, replicas)
        expected = replicas if running is None else running

        def pods() -> tuple[int, int]:
            found = self.cluster.pods(**deployed.labels)
            return len(found), sum(map(is_running, found))

        self.autoscaler.run_until(lambda: pods() == (replicas, expected), seconds=30)
        assert pods() == (replicas, expected), self.cluster.why_pending(deployed)
        if expected < replicas:
            # Not one node more, however often it looks.
            for _ in range(5):
                self.autoscaler.step()
            self.autoscaler.run_until(lambda: False, seconds=2)
            assert pods() == (replicas, expected)
        return self.pools(deployed)

    def pools(self, deployed: Deployed) -> list[str]:
        """The pool of each of its pods that runs."""
        running_ = [pod for pod in self.cluster.pods(**deployed.labels) if is_running(pod)]
        return sorted(self.autoscaler.nodes[pod["spec"]["nodeName"]] for pod in running_)

    def clear(self) -> None:
        """Put everything to sleep and take every node away that was added."""
        self.cluster.sleep()
        self.autoscaler.remove(*self.autoscaler.pools)
        self.autoscaler.sold_out.clear()


@pytest.fixture(scope="module")
def without_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scaled]:
    with nodes_and_controllers(tmp_path_factory.mktemp("scaled"), "prod", []) as server:
        with pytest.MonkeyPatch.context() as patch:
            cluster = Cluster(server=server, plan=decided("prod", {}, {}, patch))
        apply(server, rendered.objects("prod").values(), "ServiceAccount", "Deployment")
        yield Scaled(cluster=cluster, autoscaler=Autoscaler(server=server, pools={}, classes={}))


@pytest.fixture
def scaled(without_nodes: Scaled) -> Iterator[Scaled]:
    without_nodes.clear()
    yield without_nodes
    without_nodes.clear()


@pytest.mark.parametrize("mode", MODES)
def test_replicas_run_on_the_pools_of_their_class_in_its_order_and_on_no_other(scaled: Scaled, mode: str) -> None:
    """At the most replicas, a rollout's first ones included, while one pool after the other is sold out."""
    scaled.set(MODES[mode])
    planned = {found.name: found.priorities for found in scaled.cluster.plan.compute_classes}
    assert scaled.autoscaler.classes == planned
    for model in scaled.cluster.plan.models:
        mine = [deployed for deployed in scaled.cluster.elastic if deployed.model is model]
        for pool in planned[model.machine.machine_type]:
            for deployed in mine:
                most = deployed.version.replicas.most_elastic + 1
                assert scaled.run(deployed, most) == [pool] * most
            scaled.cluster.sleep()
            scaled.autoscaler.lose(pool)
        assert scaled.run(mine[0], 1, running=0) == []


@pytest.mark.parametrize("mode", MODES)
def test_the_floor_runs_on_its_own_on_demand_pool_whatever_the_capacity(scaled: Scaled, mode: str) -> None:
    """With its rollout's first replica; for one pod more there is no node, although every other pool can be had."""
    scaled.set(MODES[mode])
    assert scaled.cluster.floors
    for deployed in scaled.cluster.floors:
        most, pool = deployed.version.replicas.floor + 1, f"{deployed.model.machine.machine_type}-floor"
        assert scaled.run(deployed, most) == [pool] * most
        assert scaled.run(deployed, most + 1, running=most) == [pool] * most


def test_lost_spot_replicas_go_to_on_demand_nodes_and_the_floor_stays(scaled: Scaled) -> None:
    scaled.set(MODES["spot-with-fallback"])
    (floor,) = scaled.cluster.floors
    elastic = Deployed(model=floor.model, version=floor.version)
    machine, most = floor.model.machine.machine_type, elastic.version.replicas.elastic_maximum
    scaled.run(floor, floor.version.replicas.floor)
    kept = [pod["metadata"]["uid"] for pod in scaled.cluster.pods(**floor.labels)]
    assert scaled.run(elastic, most) == [f"{machine}-spot"] * most
    scaled.autoscaler.lose(f"{machine}-spot")
    assert scaled.run(elastic, most) == [f"{machine}-on-demand"] * most
    assert [pod["metadata"]["uid"] for pod in scaled.cluster.pods(**floor.labels) if is_running(pod)] == kept


def test_on_spot_alone_lost_replicas_wait_and_the_floor_serves(scaled: Scaled) -> None:
    scaled.set(MODES["spot"])
    (floor,) = scaled.cluster.floors
    elastic = Deployed(model=floor.model, version=floor.version)
    machine = floor.model.machine.machine_type
    scaled.run(floor, floor.version.replicas.floor)
    scaled.run(elastic, 2)
    scaled.autoscaler.lose(f"{machine}-spot")
    assert scaled.run(elastic, 2, running=0) == []
    assert scaled.pools(floor) == [f"{machine}-floor"] * floor.version.replicas.floor


def test_another_capacity_moves_no_pod_that_runs(scaled: Scaled) -> None:
    scaled.set(MODES["spot-with-fallback"])
    (floor,) = scaled.cluster.floors
    elastic = Deployed(model=floor.model, version=floor.version)
    machine = floor.model.machine.machine_type
    scaled.run(floor, floor.version.replicas.floor)
    scaled.run(elastic, 2)
    before = {pod["metadata"]["uid"] for pod in scaled.cluster.pods(app=floor.model.name)}
    scaled.set(MODES["on-demand"])
    assert scaled.run(elastic, 3) == [f"{machine}-on-demand", *[f"{machine}-spot"] * 2]
    after = {pod["metadata"]["uid"] for pod in scaled.cluster.pods(app=floor.model.name) if is_running(pod)}
    assert before < after
    assert len(after - before) == 1


def test_a_rolling_migration_uses_spot_nodes_that_come_free_in_the_middle_of_it(scaled: Scaled) -> None:
    """Every replica is started anew, and the first ones get on-demand nodes. The next may find a spot node.

    It is that of a replica that went, with the label that all nodes of the class have: a limit of what one class for
    all ways of buying can do. Here a replica is gone at once; one that drains holds its node for longer.
    """
    rolling = {"llmserve:migrate": "rolling"}
    scaled.set(MODES["spot-with-fallback"] | rolling)
    (floor,) = scaled.cluster.floors
    elastic = Deployed(model=floor.model, version=floor.version)
    machine = floor.model.machine.machine_type
    scaled.run(floor, floor.version.replicas.floor)
    assert scaled.run(elastic, 3) == [f"{machine}-spot"] * 3
    before, kept = ({pod["metadata"]["uid"] for pod in scaled.cluster.pods(**each.labels)} for each in (elastic, floor))
    scaled.set(MODES["on-demand"] | rolling)

    def replaced() -> bool:
        pods = scaled.cluster.pods(**elastic.labels)
        return len(pods) == 3 and all(map(is_running, pods)) and not before & {p["metadata"]["uid"] for p in pods}

    assert scaled.autoscaler.run_until(replaced, seconds=60)
    assert set(scaled.pools(elastic)) == {f"{machine}-on-demand", f"{machine}-spot"}
    assert {pod["metadata"]["uid"] for pod in scaled.cluster.pods(**floor.labels)} == kept

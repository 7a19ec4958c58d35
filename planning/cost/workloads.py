"""What runs on GPU nodes: each Deployment's bounds, the nodes that it takes, and in which order they may be bought.

Two readings of one thing. `workloads_of` reads recorded resources, which is what is priced; `workloads_of_plan` reads
the plan, which is all that a program knows while it runs, for the forecast that its alerts compare with. A test holds
them equal.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from monitoring.scaling import stabilization_seconds
from planning.cost.recorded import Recorded, at, each, number
from planning.observed import scaled_version
from planning.plan import Plan
from planning.pools import COMPUTE_CLASS, FLOOR, GPU, PoolKind, elastic_order, falls_back
from planning.recording_rules import RecordingRule, look_back_seconds, recording_rules
from planning.schema import Capacity
from planning.serving import floor_name

POOL: Final = "gcp:container/nodePool:NodePool"
DEPLOYMENT: Final = "kubernetes:apps/v1:Deployment"
SCALED_OBJECT: Final = "kubernetes:keda.sh/v1alpha1:ScaledObject"
AUTOSCALERS: Final = (
    "kubernetes:autoscaling/v2:HorizontalPodAutoscaler",
    "kubernetes:autoscaling/v1:HorizontalPodAutoscaler",
)
CLASS: Final = "kubernetes:cloud.google.com/v1:ComputeClass"
PAUSED: Final = "autoscaling.keda.sh/paused-replicas"
KEDA_COOLDOWN_SECONDS: Final = 300
"""KEDA's own `cooldownPeriod`: https://keda.sh/docs/2.21/reference/scaledobject-spec/"""
HPA_STABILIZATION_SECONDS: Final = 300
"""Kubernetes' own: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """One Deployment whose pods take GPUs. Replicas are counted in pods; `tail_seconds` is how long one stays idle."""

    name: str
    model: str
    machine_type: str
    minimum: int
    maximum: int
    order: tuple[PoolKind, ...]
    """The kinds of pool that its pods may land on, the first tried first."""
    tail_seconds: float
    gpu_type: str
    gpus: int
    """Of a pod."""
    pods_a_node: int = 1

    @property
    def on_floor(self) -> bool:
        """Whether it is kept on nodes that nothing else may take."""
        return self.order == (PoolKind.FLOOR,)


@dataclass(frozen=True, kw_only=True, slots=True)
class NodePool:
    """One recorded node pool; `least` and `most` count its nodes in all zones together, None is unknown."""

    name: str
    object_name: str
    machine_type: str
    kind: PoolKind
    labels: Mapping[str, str]
    gpu_type: str
    gpus: int
    least: int | None
    most: int | None
    disk_gib: float
    disk_type: str
    local_ssds: int


def node_pools_of(resources: Sequence[Recorded], *, zones: int) -> tuple[NodePool, ...]:
    """Read the node pools; `zones` is in how many a pool is that does not say so itself (three in most regions)."""
    return tuple(_pool(resource, zones) for resource in resources if resource.type == POOL)


def _pool(resource: Recorded, zones: int) -> NodePool:
    inputs = resource.inputs
    config = inputs.get("nodeConfig")
    labels = at(config, "labels")
    places = len(each(at(inputs, "nodeLocations"))) or zones
    least, most = _bounds(inputs, places)
    return NodePool(
        name=resource.name,
        object_name=resource.object_name,
        machine_type=str(at(config, "machineType") or "e2-medium"),
        kind=_kind(config, labels),
        labels={str(key): str(value) for key, value in labels.items()} if isinstance(labels, Mapping) else {},
        gpu_type=str(at(config, "guestAccelerators", 0, "type") or ""),
        gpus=int(number(at(config, "guestAccelerators", 0, "count")) or 0),
        least=least,
        most=most,
        # Google's own size and type of a node's boot disk, where nothing is said.
        disk_gib=number(at(config, "diskSizeGb")) or 100.0,
        disk_type=str(at(config, "diskType") or "pd-balanced"),
        local_ssds=int(
            number(at(config, "ephemeralStorageLocalSsdConfig", "localSsdCount"))
            or number(at(config, "localNvmeSsdBlockConfig", "localSsdCount"))
            or number(at(config, "localSsdCount"))
            or 0
        ),
    )


def _bounds(inputs: Mapping[str, Any], zones: int) -> tuple[int | None, int | None]:
    scaling = at(inputs, "autoscaling")
    if scaling is None:
        fixed = number(at(inputs, "nodeCount"))
        count = None if fixed is None else int(fixed) * zones
        return count, count
    whole = [number(at(scaling, key)) for key in ("totalMinNodeCount", "totalMaxNodeCount")]
    if whole[1] is not None:
        return int(whole[0] or 0), int(whole[1])
    a_zone = [number(at(scaling, key)) for key in ("minNodeCount", "maxNodeCount")]
    return int(a_zone[0] or 0) * zones, None if a_zone[1] is None else int(a_zone[1]) * zones


def _kind(config: Any, labels: Any) -> PoolKind:
    if at(config, "spot") is True or at(config, "preemptible") is True:
        return PoolKind.SPOT
    if at(config, "flexStart") is True:
        return PoolKind.FLEX_START
    if at(config, "reservationAffinity", "consumeReservationType") == "SPECIFIC_RESERVATION":
        return PoolKind.RESERVED
    return PoolKind.FLOOR if at(labels, FLOOR) is not None else PoolKind.ON_DEMAND


def workloads_of(resources: Sequence[Recorded], pools: Sequence[NodePool]) -> tuple[Workload, ...]:
    """Find the Deployments that take GPUs, in their order; one whose nodes cannot be found has no machine type."""
    found = []
    for resource in resources:
        if resource.type != DEPLOYMENT:
            continue
        template = at(resource.inputs, "spec", "template")
        gpus = sum(
            int(number(at(container, "resources", "limits", GPU)) or 0)
            for container in each(at(template, "spec", "containers"))
        )
        if not gpus:
            continue
        there = list(_pools_for(template, resources, pools))
        a_node = there[0].gpus if there else 0
        minimum, maximum, tail = _replicas(resource, resources)
        found.append(
            Workload(
                name=resource.object_name or resource.name,
                model=str(at(template, "metadata", "labels", "app") or resource.object_name),
                machine_type=there[0].machine_type if there else "",
                minimum=minimum,
                maximum=maximum,
                order=tuple(dict.fromkeys(pool.kind for pool in there)),
                tail_seconds=tail,
                gpu_type=there[0].gpu_type if there else "",
                gpus=gpus,
                pods_a_node=max(1, a_node // gpus),
            )
        )
    return tuple(found)


def _pools_for(template: Any, resources: Sequence[Recorded], pools: Sequence[NodePool]) -> Iterator[NodePool]:
    """Yield the pools that a pod may land on, in the order of its compute class where it names one."""
    selector = at(template, "spec", "nodeSelector")
    wanted = selector if isinstance(selector, Mapping) else {}
    fitting = [pool for pool in pools if pool.gpus and wanted.items() <= pool.labels.items()]
    asked = wanted.get(COMPUTE_CLASS)
    for resource in resources:
        if resource.type == CLASS and resource.object_name == asked:
            for rule in each(at(resource.inputs, "spec", "priorities")):
                for name in each(at(rule, "nodepools")):
                    yield from (pool for pool in fitting if name in (pool.object_name, pool.name))
            return
    yield from fitting


def _replicas(deployment: Recorded, resources: Sequence[Recorded]) -> tuple[int, int, float]:
    """Read the least and the most replicas, and how long one that has nothing to do stays."""
    name = deployment.object_name
    for resource in resources:
        spec = resource.inputs.get("spec")
        if at(spec, "scaleTargetRef", "name") != name:
            continue
        if resource.type == SCALED_OBJECT:
            return _keda(resource, spec, recording_rules(resources))
        if resource.type in AUTOSCALERS:
            window = number(at(spec, "behavior", "scaleDown", "stabilizationWindowSeconds"))
            least, most = number(at(spec, "minReplicas")), number(at(spec, "maxReplicas"))
            stays = HPA_STABILIZATION_SECONDS if window is None else window
            return int(1 if least is None else least), int(most or 1), stays
    fixed = number(at(deployment.inputs, "spec", "replicas"))
    count = 1 if fixed is None else int(fixed)
    return count, count, 0.0


def _keda(resource: Recorded, spec: Any, rules: Sequence[RecordingRule]) -> tuple[int, int, float]:
    paused = number(at(resource.inputs, "metadata", "annotations", PAUSED))
    if paused is not None:
        return int(paused), int(paused), 0.0
    least, most = number(at(spec, "minReplicaCount")), number(at(spec, "maxReplicaCount"))
    minimum, maximum = int(least or 0), int(100 if most is None else most)
    if minimum == 0:
        # Once none is wanted KEDA takes all away at once, past the HPA and its window: `cooldownPeriod` after the last
        # poll at which a trigger was above 0, and a trigger may itself rest on what looks back.
        cooldown = number(at(spec, "cooldownPeriod"))
        queries = [str(at(found, "metadata", "query")) for found in each(at(spec, "triggers"))]
        looks_back = max((look_back_seconds(query, rules) for query in queries), default=0.0)
        return 0, maximum, looks_back + (KEDA_COOLDOWN_SECONDS if cooldown is None else cooldown)
    behavior = at(spec, "advanced", "horizontalPodAutoscalerConfig", "behavior")
    window = number(at(behavior, "scaleDown", "stabilizationWindowSeconds"))
    return minimum, maximum, HPA_STABILIZATION_SECONDS if window is None else window


def workloads_of_plan(plan: Plan) -> tuple[Workload, ...]:
    """Tell what the recorded resources of this plan will hold; in the order of its models and versions."""
    kinds = {pool.name: pool.kind for pool in plan.pools}
    orders = {found.name: tuple(kinds[name] for name in found.priorities) for found in plan.compute_classes}
    found = []
    for model in plan.models:
        machine = model.machine
        window = stabilization_seconds(model.declared.startup_minutes * 60)
        for version in model.versions:
            replicas, name = version.replicas, f"{model.name}-{version.name}"
            minimum, maximum, tail = replicas.elastic_minimum, replicas.elastic_maximum, float(window)
            if minimum == 0:
                tail = float(scaled_version(model, version).sleep_seconds)
            if replicas.elastic_paused:
                minimum, maximum, tail = 0, 0, 0.0
            parts = [(name, minimum, maximum, orders[machine.machine_type], tail)]
            if replicas.floor:
                parts.append((floor_name(name), replicas.floor, replicas.floor, (PoolKind.FLOOR,), 0.0))
            found += [
                Workload(
                    name=part,
                    model=model.name,
                    machine_type=machine.machine_type,
                    minimum=least,
                    maximum=most,
                    order=order,
                    tail_seconds=stays,
                    gpu_type=str(machine.gpu_type),
                    gpus=machine.gpus,
                )
                for part, least, most, order, stays in parts
            ]
    return tuple(found)


def bought(workload: Workload, capacity: Capacity, *, fallback: bool | None) -> tuple[PoolKind, ...]:
    """Say in which order its nodes would be tried with another `capacity`; the floor's are what they are.

    `fallback` is what the models of its machine type say of their own (`dynamicOnDemandFallback`); None leaves it open.
    """
    if workload.on_floor:
        return workload.order
    # Pools for spot and on-demand are there always, the others where the stack asked for them.
    there = {PoolKind.SPOT, PoolKind.ON_DEMAND, *workload.order}
    order = elastic_order(capacity, fallback=falls_back(capacity, [fallback]))
    return tuple(kind for kind in order if kind in there)

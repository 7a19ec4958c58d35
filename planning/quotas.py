"""What a plan asks of Google Cloud's quotas, by the names of Compute Engine's API, with every model at its largest.

Names: https://docs.cloud.google.com/compute/docs/reference/rest/v1/regions (`quotas[].metric`). Local SSDs are counted
per machine family: https://docs.cloud.google.com/compute/docs/quotas/migrate-local-ssd-quota

GPUs have one quota for spot machines and one for the others, and with a fallback either may have to hold everything but
the floor, which is never spot.
Cores and local SSDs of spot machines count to PREEMPTIBLE_CPUS and PREEMPTIBLE_LOCAL_SSD_GB in a region for which a
project was given such quotas, and elsewhere to the common ones, which are those named here.
https://docs.cloud.google.com/compute/docs/instances/spot

Google says that A2 machines need the GPUs' quota and no CPU quota (https://docs.cloud.google.com/compute/resource-usage),
and has refused machines for A2_CPUS all the same (kubernetes/autoscaler has such messages in its tests). So their cores
are in the amount, and not in what is certain.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from catalog.gpu_machines import GpuMachine, GpuType
from planning.nodes import FIRST_SYSTEM_NODES, most_system_nodes
from planning.plan import Plan
from planning.schema import Stack
from planning.serving import Version, boot_disk_gib, most_floor_nodes

GPU_QUOTAS: Final = {GpuType.A100_40GB: "NVIDIA_A100_GPUS", GpuType.A100_80GB: "NVIDIA_A100_80GB_GPUS"}
ALL_GPUS: Final = "GPUS_ALL_REGIONS"
A2_CPUS: Final = "A2_CPUS"
ALL_CPUS: Final = "CPUS_ALL_REGIONS"
DISKS: Final = "SSD_TOTAL_GB"
LOCAL_SSD: Final = "LOCAL_SSD_TOTAL_GB_PER_VM_FAMILY"
MACHINES: Final = "INSTANCES"

SYSTEM_DISK_GIB: Final = 100
VOLUMES_GIB: Final = 52
"""50 for Prometheus and 2 for Alertmanager, on GKE's default StorageClass, which is pd-balanced."""
_COUNTED_TOGETHER: Final = ("e2", "n1")
_COUNTED_ALONE: Final = ("c2", "c2d", "c3", "n2", "n2d", "t2a", "t2d")
_SHARED_CORE: Final = re.compile(r"e2-(micro|small|medium)$")
_VCPUS: Final = re.compile(r"[a-z0-9]+-[a-z]+-(\d+)(-|$)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """One quota and how much of it the stack takes. `region` None counts all regions together."""

    name: str
    amount: int
    """At its largest: every replica, and the nodes that a rollout or an upgrade adds for a while."""
    amount_without_rollout: int
    certain: int
    """The part of the amount that Google is known to count."""
    unit: str
    """What it counts."""
    why: str
    """The arithmetic in words."""
    region: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Count:
    """Things that take `each` of a quota: `steady` of them, and `most` with those that are there for a while."""

    what: str
    steady: int
    most: int
    each: int = 1


def quotas(plan: Plan) -> tuple[Quota, ...]:
    """Add up what the system nodes, and the pools that a compute class names, take at their largest."""
    return tuple(quota for quota in _quotas(plan) if quota.amount)


def kinds(plan: Plan) -> frozenset[bool]:
    """Find which kinds of GPU node the stack may have: counted as spot (True), and as any other (False)."""
    tried = {name for compute_class in plan.compute_classes for name in compute_class.priorities}
    found = {pool.counts_as_spot for pool in plan.pools if pool.name in tried}
    floor = any(version.replicas.floor for model in plan.models for version in model.versions)
    return frozenset(found | ({False} if floor else set()))


def gpu_quota(machine: GpuMachine, *, spot: bool) -> str:
    """Name the quota that a machine's GPUs count to."""
    return ("PREEMPTIBLE_" if spot else "") + GPU_QUOTAS[machine.gpu_type]


def cpu_quota(machine_type: str) -> str:
    """Name the quota that the cores of a machine without a GPU count to."""
    family = machine_type.partition("-")[0]
    if family in _COUNTED_TOGETHER:
        return "CPUS"
    return f"{family.upper()}_CPUS" if family in _COUNTED_ALONE else "CPUS_PER_VM_FAMILY"


def vcpus_of(machine_type: str) -> int:
    """Read the vCPUs off the name of a machine type without a GPU; 0 where it does not tell."""
    if _SHARED_CORE.match(machine_type):
        return 2
    found = _VCPUS.match(machine_type)
    return int(found[1]) if found else 0


def _quotas(plan: Plan) -> Iterator[Quota]:
    stack, region = plan.stack, plan.stack.region
    pools = {pool.name: pool for pool in plan.pools}
    tried = {
        compute_class.name: [pools[name] for name in compute_class.priorities] for compute_class in plan.compute_classes
    }
    machines = {pool.machine.machine_type: pool.machine for pool in plan.pools}

    def floor(machine: GpuMachine, each: int) -> _Count:
        there = [model.declared for model in plan.models if model.machine == machine]
        steady = sum(version.replicas.floor for version in _running(plan, machine))
        return _Count(
            what=f"{machine.machine_type} floor", steady=steady, most=sum(map(most_floor_nodes, there)), each=each
        )

    def elastic(machine: GpuMachine, each: int) -> _Count:
        # Once, though it has several pools: a replica is on one of them.
        steady = sum(version.replicas.most_elastic for version in _running(plan, machine))
        most = tried[machine.machine_type][0].max_nodes
        return _Count(what=machine.machine_type, steady=steady, most=most, each=each)

    def gpu_nodes(each: Callable[[GpuMachine], int]) -> list[_Count]:
        return [
            count
            for machine in machines.values()
            for count in (elastic(machine, each(machine)), floor(machine, each(machine)))
            if count.most
        ]

    counted: dict[str, list[_Count]] = {}
    for machine in machines.values():
        for name in dict.fromkeys(gpu_quota(machine, spot=pool.counts_as_spot) for pool in tried[machine.machine_type]):
            counted.setdefault(name, []).append(elastic(machine, machine.gpus))
        if (always := floor(machine, machine.gpus)).most:
            counted.setdefault(gpu_quota(machine, spot=False), []).append(always)
    both = any(len({pool.counts_as_spot for pool in order}) > 1 for order in tried.values())
    note = "; spot and on-demand each in full, since either may have to hold everything" if both else ""
    for name, counts in counted.items():
        yield _quota(name, "GPUs", counts, region, note)
    yield _quota(ALL_GPUS, "GPUs", gpu_nodes(lambda machine: machine.gpus), None)
    a2, system = gpu_nodes(lambda machine: machine.vcpus), _system_nodes(stack, vcpus_of(stack.system_machine_type))
    yield _quota(A2_CPUS, "vCPUs", a2, region, "; may not be counted", certain=[])
    yield _quota(cpu_quota(stack.system_machine_type), "vCPUs", [system], region)
    yield _quota(ALL_CPUS, "vCPUs", [*a2, system], None, "; those of A2 may not be counted", certain=[system])
    disks = [*gpu_nodes(boot_disk_gib), _system_nodes(stack, SYSTEM_DISK_GIB)]
    volumes = _Count(what="the volumes of Prometheus and Alertmanager", steady=1, most=1, each=VOLUMES_GIB)
    # Of a Job that brings weights into the bucket, while it runs.
    disks += [_Count(what="weights on their way", steady=0, most=1, each=fill.scratch_gib) for fill in plan.fills]
    yield _quota(DISKS, "GB of pd-balanced disks", [*disks, volumes], region)
    yield _quota(LOCAL_SSD, "GB of A2's local SSDs", gpu_nodes(lambda machine: machine.local_ssd_gib), region)
    yield _quota(MACHINES, "machines", [*gpu_nodes(lambda _: 1), _system_nodes(stack, 1)], region)


def _running(plan: Plan, machine: GpuMachine) -> list[Version]:
    """Find the versions on a machine type that have traffic."""
    return [
        version
        for model in plan.models
        if model.machine == machine
        for version in model.versions
        if not version.replicas.paused
    ]


def _system_nodes(stack: Stack, each: int) -> _Count:
    steady, most = max(stack.system_max_nodes, FIRST_SYSTEM_NODES), most_system_nodes(stack.system_max_nodes)
    return _Count(what=stack.system_machine_type, steady=steady, most=most, each=each)


def _quota(
    name: str,
    unit: str,
    counts: Sequence[_Count],
    region: str | None,
    note: str = "",
    *,
    certain: Sequence[_Count] | None = None,
) -> Quota:
    taking = [count for count in counts if count.each]
    amount, steady = _sum(taking), sum(count.steady * count.each for count in taking)
    sums = " + ".join(f"{count.most} x {count.each:,} ({count.what})" for count in taking)
    return Quota(
        name=name,
        amount=amount,
        amount_without_rollout=steady,
        certain=amount if certain is None else _sum(certain),
        unit=unit,
        why=f"{sums} = {amount:,}, or {steady:,} without what a rollout or an upgrade adds{note}",
        region=region,
    )


def _sum(counts: Sequence[_Count]) -> int:
    return sum(count.most * count.each for count in counts)

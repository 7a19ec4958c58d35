"""Which GPU node pools a stack needs: per machine type a floor, a spot and an on-demand pool, all from zero.

`spot` is a field that replaces a pool when it changes, so no setting that people flip touches a pool: all three exist
always and cost nothing while they are empty. A GKE ComputeClass says in which order spot and on-demand are tried, with
a reservation before and flex-start after them where they are set. The floor's pool is in no class: nothing but the
replicas that are declared to stay on on-demand nodes is placed there.
https://docs.cloud.google.com/kubernetes-engine/docs/concepts/about-custom-compute-classes
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from catalog.gpu_machines import GpuMachine
from planning.schema import Capacity

COMPUTE_CLASS = "cloud.google.com/compute-class"
SPOT = "cloud.google.com/gke-spot"
"""GKE sets it on spot nodes. Nothing selects by it: beside a compute class that would be a second opinion."""
FLOOR = "llmserve/floor"
"""Label and taint of the floor's nodes, with the machine type as value."""
ACCELERATOR = "cloud.google.com/gke-accelerator"
DRIVER_VERSION = "cloud.google.com/gke-gpu-driver-version"
CONFIDENTIAL = "cloud.google.com/gke-confidential-nodes-instance-type"
GPU = "nvidia.com/gpu"
NO_LOAD_BALANCER = "node.kubernetes.io/exclude-from-external-load-balancers"
"""Keeps a node from being a load balancer's backend: a spot node that goes would cut connections of other models."""


class PoolKind(StrEnum):
    """How the nodes of a pool are bought, and for whom; the last part of a pool's name."""

    FLOOR = "floor"
    RESERVED = "reserved"
    SPOT = "spot"
    ON_DEMAND = "on-demand"
    FLEX_START = "flex-start"


class DriverInstallation(StrEnum):
    """GKE's `gpu_driver_version` of a pool: who installs the NVIDIA driver, and which."""

    DISABLED = "INSTALLATION_DISABLED"
    DEFAULT = "DEFAULT"
    LATEST = "LATEST"


@dataclass(frozen=True, kw_only=True, slots=True)
class Taint:
    """A taint in GKE's spelling of the effect, and what a pod needs to land there all the same."""

    key: str
    value: str
    effect: str = "NO_SCHEDULE"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """One node pool of one machine type. `max_nodes` counts the nodes of all its zones together."""

    machine: GpuMachine
    kind: PoolKind
    zones: tuple[str, ...]
    max_nodes: int
    reservation: str | None = None
    driver_installation: DriverInstallation = DriverInstallation.DISABLED

    @property
    def name(self) -> str:
        """Its machine type and how it is bought."""
        return f"{self.machine.machine_type}-{self.kind}"

    @property
    def spot(self) -> bool:
        """Whether Google may call its nodes back."""
        return self.kind is PoolKind.SPOT

    @property
    def usd_per_hour(self) -> float | None:
        """The list price of one of its nodes; None is unknown, as it is of all flex-start nodes.

        A reservation is billed on demand, whether or not anything runs on it.
        """
        if self.kind is PoolKind.FLEX_START:
            return None
        return self.machine.spot_usd_per_hour if self.spot else self.machine.on_demand_usd_per_hour

    @property
    def counts_as_spot(self) -> bool:
        """Whether its GPUs count to the quota of preemptible ones, as those of flex-start do as well.

        https://docs.cloud.google.com/managed-spark/docs/guides/dws-serverless
        """
        return self.kind in (PoolKind.SPOT, PoolKind.FLEX_START)

    @property
    def key(self) -> str:
        """The one label and taint by which pods find it: its class's, or the floor's."""
        return FLOOR if self.kind is PoolKind.FLOOR else COMPUTE_CLASS

    @property
    def labels(self) -> dict[str, str]:
        """The labels that the pool itself sets."""
        return {self.key: self.machine.machine_type, NO_LOAD_BALANCER: "true"}

    @property
    def taints(self) -> tuple[Taint, ...]:
        """The taints that the pool itself sets. GKE adds `nvidia.com/gpu`; declared as well it would be there twice."""
        return (Taint(key=self.key, value=self.machine.machine_type),)

    @property
    def node_labels(self) -> dict[str, str]:
        """All labels of its nodes that something here selects by, those that GKE adds included.

        https://docs.cloud.google.com/kubernetes-engine/docs/how-to/gpus
        """
        labels = self.labels | {ACCELERATOR: str(self.machine.gpu_type)}
        if self.spot:
            labels[SPOT] = "true"
        if self.driver_installation is not DriverInstallation.DISABLED:
            labels[DRIVER_VERSION] = self.driver_installation.lower()
        return labels


@dataclass(frozen=True, kw_only=True, slots=True)
class ComputeClass:
    """The order in which GKE tries the pools of one machine type. Pods name it, and never a pool."""

    name: str
    priorities: tuple[str, ...]


class Operator(StrEnum):
    """The two operators of a node affinity that the driver's DaemonSet uses."""

    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


DRIVER_AFFINITY: Mapping[str, Operator] = {
    ACCELERATOR: Operator.EXISTS,
    DRIVER_VERSION: Operator.DOES_NOT_EXIST,
    CONFIDENTIAL: Operator.DOES_NOT_EXIST,
}
"""The nodes that Google's driver DaemonSet runs on: with a GPU, and with no driver of GKE's own.

GoogleCloudPlatform/container-engine-accelerators, nvidia-driver-installer/cos/daemonset-preloaded.yaml
"""


def selects(affinity: Mapping[str, Operator], labels: Mapping[str, str]) -> bool:
    """Say whether a node with these labels satisfies every requirement."""
    return all((key in labels) is (operator is Operator.EXISTS) for key, operator in affinity.items())


def pools_without_driver(pools: Iterable[Pool]) -> list[str]:
    """Name the pools on whose nodes nobody would install a driver, so that no GPU would ever be offered."""
    return [
        pool.name
        for pool in pools
        if pool.driver_installation is DriverInstallation.DISABLED and not selects(DRIVER_AFFINITY, pool.node_labels)
    ]


def pools_for(
    machine: GpuMachine,
    *,
    zones: tuple[str, ...],
    floor_nodes: int,
    elastic_nodes: int,
    reservation: str | None = None,
    flex_start: bool = False,
) -> tuple[Pool, ...]:
    """Plan the pools of one machine type. Each of the elastic ones may have to hold everything."""
    kinds = [PoolKind.FLOOR, PoolKind.SPOT, PoolKind.ON_DEMAND]
    kinds += [PoolKind.RESERVED] * (reservation is not None) + [PoolKind.FLEX_START] * flex_start
    return tuple(
        Pool(
            machine=machine,
            kind=kind,
            zones=zones,
            # A pool without a floor to hold stays all the same, and no autoscaler takes a maximum of 0.
            max_nodes=max(1, floor_nodes) if kind is PoolKind.FLOOR else elastic_nodes,
            reservation=reservation if kind is PoolKind.RESERVED else None,
        )
        for kind in kinds
    )


def elastic_order(capacity: Capacity, *, fallback: bool) -> tuple[PoolKind, ...]:
    """Order the kinds that elastic replicas may land on, as far as a stack has them."""
    bought = [PoolKind.ON_DEMAND]
    if capacity is not Capacity.ON_DEMAND:
        bought = [PoolKind.SPOT, PoolKind.ON_DEMAND] if fallback else [PoolKind.SPOT]
    return (PoolKind.RESERVED, *bought, PoolKind.FLEX_START)


def compute_class_for(pools: Iterable[Pool], capacity: Capacity, *, fallback: bool) -> ComputeClass:
    """Put the elastic pools of one machine type in the order that the capacity setting asks for.

    What is paid for already comes first, and last what may be long in coming. docs/decisions/0007 says why spot may
    come before on-demand.
    """
    made = {pool.kind: pool for pool in pools}
    order = [made[kind] for kind in elastic_order(capacity, fallback=fallback) if kind in made]
    return ComputeClass(name=order[0].machine.machine_type, priorities=tuple(pool.name for pool in order))


def falls_back(capacity: Capacity, wanted: Iterable[bool | None]) -> bool:
    """Say whether on-demand stands in for spot, from what the models of one machine type want; None leaves it open.

    Raises ValueError where they want both: they share one class.
    """
    said = {answer for answer in wanted if answer is not None}
    if len(said) > 1:
        raise ValueError("models of one machine type share a compute class, and some want a fallback and some none")
    return said.pop() if said else capacity is Capacity.SPOT_WITH_FALLBACK

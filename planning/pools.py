"""Which GPU node pools a stack needs: per machine type one spot pool and one on-demand pool, both from zero.

`spot` is a field that replaces a pool when it changes, so the capacity setting never touches a pool: both exist always,
cost nothing while they are empty, and a GKE ComputeClass says in which order they are tried.
https://docs.cloud.google.com/kubernetes-engine/docs/concepts/about-custom-compute-classes
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from catalog.gpu_machines import GpuMachine
from planning.schema import Capacity

COMPUTE_CLASS = "cloud.google.com/compute-class"
SPOT = "cloud.google.com/gke-spot"
ACCELERATOR = "cloud.google.com/gke-accelerator"
DRIVER_VERSION = "cloud.google.com/gke-gpu-driver-version"
CONFIDENTIAL = "cloud.google.com/gke-confidential-nodes-instance-type"
GPU = "nvidia.com/gpu"
NO_LOAD_BALANCER = "node.kubernetes.io/exclude-from-external-load-balancers"
"""Keeps a node from being a load balancer's backend: a spot node that goes would cut connections of other models."""


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

    name: str
    machine: GpuMachine
    spot: bool
    zones: tuple[str, ...]
    max_nodes: int
    driver_installation: DriverInstallation = DriverInstallation.DISABLED

    @property
    def labels(self) -> dict[str, str]:
        """The labels that the pool itself sets."""
        return {COMPUTE_CLASS: self.machine.machine_type, NO_LOAD_BALANCER: "true"}

    @property
    def taints(self) -> tuple[Taint, ...]:
        """The taints that the pool itself sets. GKE adds `nvidia.com/gpu`; declared as well it would be there twice."""
        compute_class = Taint(key=COMPUTE_CLASS, value=self.machine.machine_type)
        return (compute_class, Taint(key=SPOT, value="true")) if self.spot else (compute_class,)

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


def pools_for(machine: GpuMachine, *, zones: tuple[str, ...], max_nodes: int) -> tuple[Pool, Pool]:
    """Plan the spot and the on-demand pool of one machine type."""
    spot, on_demand = (
        Pool(
            name=f"{machine.machine_type}-{kind}",
            machine=machine,
            spot=kind == "spot",
            zones=zones,
            max_nodes=max_nodes,
        )
        for kind in ("spot", "on-demand")
    )
    return spot, on_demand


def compute_class_for(spot: Pool, on_demand: Pool, capacity: Capacity) -> ComputeClass:
    """Put the two pools of a machine type in the order that the capacity setting asks for."""
    order = {
        Capacity.SPOT: (spot,),
        Capacity.ON_DEMAND: (on_demand,),
        Capacity.SPOT_WITH_FALLBACK: (spot, on_demand),
    }[capacity]
    return ComputeClass(name=spot.machine.machine_type, priorities=tuple(pool.name for pool in order))

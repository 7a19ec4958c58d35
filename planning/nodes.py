"""What GKE leaves to pods of a machine's cores, memory and disk.

What GKE keeps: https://docs.cloud.google.com/kubernetes-engine/docs/concepts/plan-node-sizes. What kernel and file
systems keep: kubernetes/autoscaler, cluster-autoscaler/cloudprovider/gce/reserved.go, by which the autoscaler guesses a
node that does not exist yet.
"""

from typing import Final

_KINDS: Final = (("standard", 4.0), ("highmem", 8.0), ("highcpu", 1.0))
LOCAL_SSD_GIB: Final = 375
"""The size of every local SSD of an A2 machine."""
HYPERDISK_ONLY: Final = ("c4", "c4a", "c4d", "n4", "n4a", "n4d")
"""Machine families that take no Persistent Disk. https://docs.cloud.google.com/compute/docs/disks/hyperdisks"""
WITH_GPUS: Final = ("a2", "a3", "a4", "a4x", "g2", "g4")
"""Machine families that one pays for their GPUs."""
FIRST_SYSTEM_NODES: Final = 3
"""A regional cluster begins with one system node in each of three zones."""
LARGEST_POD_GIB: Final = 2.1
"""What Prometheus's pod asks for, the largest of the platform's."""
_VCPUS: Final = (2, 4, 8, 16, 32, 48, 64, 80, 96, 128)
"""Sizes that predefined machine types have; of E2 the first five."""

GIB_A_VCPU: Final = {
    **{(family, kind): gib for family in ("e2", "n2", "n2d") for kind, gib in _KINDS},
    ("n1", "standard"): 3.75,
    ("n1", "highmem"): 6.5,
    ("n1", "highcpu"): 0.9,
}
"""Memory of predefined machine types. https://docs.cloud.google.com/compute/docs/general-purpose-machines"""
PLATFORM_CPUS: Final = 2.9
PLATFORM_GIB: Final = 6.0
"""What istiod, gateway, KEDA, Prometheus and the rest ask for in sum, on two nodes; `make test-real` adds it up."""
FOR_OURS: Final = 0.75
"""The part of the system nodes that is ours: GKE's own pods take the rest."""

_MEMORY_STEPS: Final = ((4, 0.25), (4, 0.20), (8, 0.10), (112, 0.06))
"""GiB and the part of them that GKE keeps; 2 % of the rest."""
_EVICTION_MEMORY_GIB: Final = 100 / 1024
_LOCAL_SSD_FILE_SYSTEM_KIB: Final = {1: 7289472, 2: 13725224, 4: 26332924, 8: 51556096}
"""Measured on Container-Optimized OS, by number of SSDs."""
_LOCAL_SSD_KEPT_GIB: Final = {1: 50, 2: 75}
"""100 from three on."""


def allocatable_cpu(vcpus: int) -> float:
    """Cores that pods may ask for: GKE keeps 6 % of the first, 1 % of the second, 0.5 % of two more, 0.25 % after."""
    kept = sum(0.06 if core == 0 else 0.01 if core == 1 else 0.005 if core < 4 else 0.0025 for core in range(vcpus))
    return vcpus - kept


def allocatable_memory_gib(memory_gib: float) -> float:
    """GiB of memory that pods may ask for."""
    kernel = memory_gib / 64 + 80 / 1024 + min(memory_gib * 0.00175, 248 / 1024)
    kept, left = kernel + _EVICTION_MEMORY_GIB, memory_gib
    for size, part in _MEMORY_STEPS:
        step = min(size, left)
        kept, left = kept + step * part, left - step
    return memory_gib - kept - left * 0.02


def allocatable_disk_gib(boot_disk_gib: int, local_ssds: int) -> float:
    """GiB of ephemeral storage that pods may ask for, on local SSDs where there are some; a tenth is never given."""
    if local_ssds:
        size = local_ssds * LOCAL_SSD_GIB - _LOCAL_SSD_FILE_SYSTEM_KIB[local_ssds] / 1024**2
        return size * 0.9 - _LOCAL_SSD_KEPT_GIB.get(local_ssds, 100)
    size = boot_disk_gib * (1 - 0.015635) - 4.148 - min(0.1, boot_disk_gib * 0.001)
    return size * 0.9 - min(boot_disk_gib * 0.5, 6 + boot_disk_gib * 0.35, 100)


def system_room(machine_type: str) -> tuple[float, float] | None:
    """Cores and GiB that one system node has for pods of ours; None for a machine type that is not known."""
    family, _, rest = machine_type.partition("-")
    kind, _, number = rest.partition("-")
    gib = GIB_A_VCPU.get((family, kind))
    if gib is None or not number.isdecimal() or int(number) not in _VCPUS[: 5 if family == "e2" else None]:
        return None
    return FOR_OURS * allocatable_cpu(int(number)), FOR_OURS * allocatable_memory_gib(int(number) * gib)


def most_system_nodes(maximum: int) -> int:
    """System nodes at the most: an upgrade adds one before it takes one away."""
    return max(maximum + 1, FIRST_SYSTEM_NODES)

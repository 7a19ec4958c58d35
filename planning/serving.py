"""What each model becomes: its versions, their share of replicas and traffic, their machine, image and drain."""

import math
from dataclasses import dataclass

from catalog.gpu_machines import GpuMachine
from planning.images import Image
from planning.schema import Batching, Model
from planning.schema import Version as DeclaredVersion

PRE_STOP_SECONDS = 5
"""Time for the gateway to stop sending before the engine closes its port.

It comes out of a spot node's notice, where an ordinary pod has 15 seconds at the least, so it stays short.
"""

SPOT_CRITICAL_SECONDS = 15
"""The part of a spot node's shutdown that system pods may use, after all others. Google's own split."""

LOCAL_SSD_GIB = 375
"""The size of every local SSD of an A2 machine."""

SHUTDOWN_SECONDS = 30
"""Time after the last generation for the engine's shards to exit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Replicas:
    """Bounds of one Deployment, set by KEDA; `paused` keeps a version without traffic at none."""

    minimum: int
    maximum: int
    paused: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What one replica asks of its node: cores, GiB of memory, GiB of disk, whole GPUs."""

    cpus: int
    memory_gib: int
    disk_gib: int
    gpus: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """One Deployment of a model. `weight` is its share of the model's traffic in percent."""

    name: str
    weight: int
    image: Image
    revision: str | None
    batching: Batching
    environment: tuple[tuple[str, str], ...]
    replicas: Replicas


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelPlan:
    """One model as it will run: the declaration beside what follows from it."""

    declared: Model
    host: str
    machine: GpuMachine
    resources: Resources
    versions: tuple[Version, ...]
    normal_replicas: int | None
    """Replicas under the normal load, where the scaling signal is a rate whose normal value was stated."""

    @property
    def name(self) -> str:
        """The model's name: of its Service, of its label `app`, and the first part of its host."""
        return self.declared.name

    @property
    def summary(self) -> dict[str, object]:
        """What a stack exports of it: where to call it, how, and how many replicas to expect."""
        minimum = sum(version.replicas.minimum for version in self.versions)
        maximum = sum(version.replicas.maximum for version in self.versions if not version.replicas.paused)
        return {
            "host": self.host,
            "engine": str(self.declared.engine),
            "healthPath": self.declared.health_path or "/health",
            "replicas": {"minimum": minimum, "normal": self.normal_replicas, "maximum": maximum},
        }

    @property
    def termination_grace_seconds(self) -> int:
        """From the order to stop until Kubernetes kills the pod."""
        return PRE_STOP_SECONDS + self.declared.drain_seconds + SHUTDOWN_SECONDS


def share(whole: int, weight: int) -> int:
    """A version's part of a number of replicas, rounded up so that no version with traffic is left without one."""
    return math.ceil(whole * weight / 100)


def replicas_of(model: Model, version: DeclaredVersion) -> Replicas:
    """Bounds of one version. Without traffic it is paused: the smallest maximum that KEDA takes is 1."""
    if version.weight == 0:
        return Replicas(minimum=0, maximum=1, paused=True)
    return Replicas(minimum=share(model.scaling.min, version.weight), maximum=share(model.scaling.max, version.weight))


def boot_disk_gib(machine: GpuMachine) -> int:
    """The boot disk of a node: the system and images, and where there is no local SSD the weights as well.

    Weights are about as large as the GPU memory that they go into at the most; a quarter more is for the download.
    """
    if machine.local_ssd_gib:
        return 100
    wanted = machine.gpus * machine.gpu_memory_gib * 5 / 4
    return next(size for size in range(100, 10_000, 50) if _disk_left_to_pods_gib(size * 0.98 - 5, size) >= wanted)


def disk_for_pods_gib(machine: GpuMachine) -> int:
    """What GKE leaves to the pods of a node, less a twentieth for those that are not ours.

    Of the local SSDs where there are any, else of the boot disk. Seven GiB of a local SSD, and 2 % and 5 GiB of a boot
    disk, go to file system and partitions.
    https://docs.cloud.google.com/kubernetes-engine/docs/concepts/plan-node-sizes#local_ephemeral_storage_reservation
    """
    if not machine.local_ssd_gib:
        size = boot_disk_gib(machine)
        return int(_disk_left_to_pods_gib(size * 0.98 - 5, size))
    disks = machine.local_ssd_gib // LOCAL_SSD_GIB
    reserved = {1: 50, 2: 75}.get(disks, 100)
    return int(((machine.local_ssd_gib - 7 * disks) * 0.9 - reserved) * 0.95)


def _disk_left_to_pods_gib(capacity: float, size: int) -> float:
    return (capacity * 0.9 - min(size / 2, 6 + 0.35 * size, 100)) * 0.95


def resources_on(machine: GpuMachine) -> Resources:
    """One replica has its machine for itself, less a quarter of its cores and memory.

    The quarter is for what GKE reserves, the driver's installer, the sidecar and the node's own pods.
    """
    return Resources(
        cpus=machine.vcpus * 3 // 4,
        memory_gib=machine.memory_gib * 3 // 4,
        disk_gib=disk_for_pods_gib(machine),
        gpus=machine.gpus,
    )


def merged(model: Batching | None, version: Batching | None) -> Batching:
    """The model's limits with the version's laid over them, field by field."""
    layers = [layer.model_dump(exclude_none=True) for layer in (model, version) if layer is not None]
    return Batching.model_construct(**{key: value for layer in layers for key, value in layer.items()})

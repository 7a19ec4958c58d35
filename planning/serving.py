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


def resources_on(machine: GpuMachine, boot_disk_gib: int) -> Resources:
    """One replica has its machine for itself, less a quarter.

    The quarter is for what GKE reserves, the driver's installer, the sidecar and the node's own pods. The disk is the
    machine's local SSD where it has one, else the boot disk: it holds the weights.
    """
    return Resources(
        cpus=machine.vcpus * 3 // 4,
        memory_gib=machine.memory_gib * 3 // 4,
        disk_gib=(machine.local_ssd_gib or boot_disk_gib) * 3 // 4,
        gpus=machine.gpus,
    )


def merged(model: Batching | None, version: Batching | None) -> Batching:
    """The model's limits with the version's laid over them, field by field."""
    layers = [layer.model_dump(exclude_none=True) for layer in (model, version) if layer is not None]
    return Batching.model_construct(**{key: value for layer in layers for key, value in layer.items()})

"""What each model becomes: its versions, their share of replicas and traffic, their machine, image and drain."""

import math
from dataclasses import dataclass

from catalog.architectures import Architecture
from catalog.gpu_machines import GpuMachine
from planning.drain import Drain
from planning.images import Image
from planning.memory import Fit, download_bytes
from planning.nodes import LOCAL_SSD_GIB, allocatable_disk_gib
from planning.schema import Batching, Capacity, EngineName, Model
from planning.schema import Version as DeclaredVersion
from planning.weights import Fill, StoredWeights, scratch_gib

NODE_SECONDS = 600
"""What a start may take until its container begins: node, driver, image. The parts are in planning.cold_start."""
_OURS = 0.95
"""The part of a node's disk for the model; the rest is for the pods of the node itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Replicas:
    """Bounds of one version; `paused` keeps one without traffic at none.

    `floor` of them are a Deployment of their own on on-demand nodes; KEDA moves the others between what is left.
    """

    minimum: int
    maximum: int
    floor: int = 0
    paused: bool = False

    @property
    def elastic_minimum(self) -> int:
        """The fewest that KEDA keeps beside the floor."""
        return self.minimum - self.floor

    @property
    def elastic_maximum(self) -> int:
        """The most that KEDA adds to the floor; 1 where there is none to add, which KEDA's pause then forbids."""
        return max(1, self.maximum - self.floor)

    @property
    def elastic_paused(self) -> bool:
        """Whether KEDA adds none."""
        return self.paused or self.maximum == self.floor

    @property
    def most_elastic(self) -> int:
        """Replicas beside the floor at the largest; a version that is paused counts, since it may be woken."""
        return 0 if self.maximum == self.floor else self.elastic_maximum


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
    fit: Fit | None
    """How the model sits in its GPUs' memory; None where its architecture is unknown."""
    weights: StoredWeights | None = None
    """Where its weights lie in the stack's bucket; None: the engine fetches them itself, or has them in its image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelPlan:
    """One model as it will run: the declaration beside what follows from it."""

    declared: Model
    host: str
    machine: GpuMachine
    resources: Resources
    versions: tuple[Version, ...]
    architecture: Architecture | None
    """The shape of the network; None is unknown, so that its memory could not be checked."""
    drain: Drain
    moves_with: Capacity | None
    """The capacity whose change starts its elastic replicas anew, one by one; None: they stay where they are."""
    normal_replicas: int | None
    """Replicas under the normal load, where the scaling signal is a rate whose normal value was stated."""

    @property
    def name(self) -> str:
        """The model's name: of its Service, of its label `app`, and the first part of its host."""
        return self.declared.name

    @property
    def start_deadline_seconds(self) -> int:
        """How long a start may take in all, from no node to the first answer."""
        return self.declared.startup_minutes * 60 + NODE_SECONDS

    @property
    def download_bytes(self) -> int | None:
        """Count the bytes of its weights as they are stored, at least; None is unknown, or in the image."""
        if self.architecture is None or self.declared.engine is EngineName.CUSTOM:
            return None
        try:
            return download_bytes(self.architecture, self.declared.quantize)
        except ValueError:
            return None

    @property
    def fills(self) -> tuple[Fill, ...]:
        """What has to be brought into the bucket for each of its versions, the same more than once."""
        room = scratch_gib(self.download_bytes, gpu_memory_gib=self.machine.gpus * self.machine.gpu_memory_gib)
        return tuple(
            Fill(weights=version.weights, image=version.image, scratch_gib=room)
            for version in self.versions
            if version.weights is not None
        )

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


def floor_name(workload: str) -> str:
    """Name the Deployment of a version's floor, beside the one that KEDA scales."""
    return f"{workload}-floor"


def share(whole: int, weight: int) -> int:
    """A version's part of a number of replicas, rounded up so that no version with traffic is left without one."""
    return math.ceil(whole * weight / 100)


def floors(model: Model) -> dict[str, int]:
    """Share the floor out among the versions, whole replicas by weight: the largest remainder gets the next one.

    Unlike the minimum it is not rounded up for each, because every replica of it is paid for at the full price.
    """
    whole, versions = model.scaling.base_on_demand_replicas, model.rollout.versions
    exact = {version.name: whole * version.weight / 100 for version in versions}
    shared = {name: math.floor(part) for name, part in exact.items()}
    ranked = sorted(exact, key=lambda name: (shared[name] - exact[name], -exact[name]))
    for name in ranked[: whole - sum(shared.values())]:
        shared[name] += 1
    return shared


def replicas_of(model: Model, version: DeclaredVersion) -> Replicas:
    """Bounds of one version. Without traffic it is paused: the smallest maximum that KEDA takes is 1."""
    if version.weight == 0:
        return Replicas(minimum=0, maximum=1, paused=True)
    return Replicas(
        minimum=share(model.scaling.min, version.weight),
        maximum=share(model.scaling.max, version.weight),
        floor=floors(model)[version.name],
    )


def most_elastic_nodes(model: Model) -> int:
    """Nodes beside the floor at the largest: each replica's, and one a version for a rollout's first pod."""
    return sum(replicas_of(model, version).most_elastic + 1 for version in model.rollout.versions)


def most_floor_nodes(model: Model) -> int:
    """Nodes of the floor at the largest: each replica's, and one a version that has some, for a rollout's first pod."""
    return sum(floor + 1 for floor in floors(model).values() if floor)


def boot_disk_gib(machine: GpuMachine) -> int:
    """The boot disk of a node: the system and images, and where there is no local SSD the weights as well.

    Weights are about as large as the GPU memory that they go into at the most; a quarter more is for the download.
    """
    if machine.local_ssd_gib:
        return 100
    wanted = machine.gpus * machine.gpu_memory_gib * 5 / 4
    return next(size for size in range(100, 10_000, 50) if allocatable_disk_gib(size, 0) * _OURS >= wanted)


def disk_for_pods_gib(machine: GpuMachine) -> int:
    """What GKE leaves to the pods of a node, less a twentieth for those that are not ours.

    Of the local SSDs where there are any, else of the boot disk.
    """
    ssds = machine.local_ssd_gib // LOCAL_SSD_GIB
    return int(allocatable_disk_gib(0 if ssds else boot_disk_gib(machine), ssds) * _OURS)


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

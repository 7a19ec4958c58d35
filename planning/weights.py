"""Weights in a bucket of the stack's own: which revisions, where each lies, and what it takes to bring it there.

A revision is a commit, so what lies under its name never changes: it is brought once, and read by every replica of
every version that serves it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from planning.images import Image
from planning.schema import Stack, WeightsFrom

MARKER: Final = ".complete"
"""The object that is written last: without it a revision is not whole, whatever else is there."""
MOUNT: Final = "/weights"
"""Where pods see a revision, by the name of its repository: TGI gives that path as the model's name in its answers."""
LEAST_SCRATCH_GIB: Final = 10
"""The smallest pd-balanced disk. https://docs.cloud.google.com/compute/docs/disks/performance"""
WRITER: Final = "model-weights"
"""The account that fills the bucket, in the models' namespace."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredWeights:
    """One revision of one repository in the bucket."""

    bucket: str
    """Its name, which is known before it exists."""
    repository: str
    revision: str

    @property
    def folder(self) -> str:
        """Where its objects begin in the bucket."""
        return f"{self.repository}/{self.revision}"

    @property
    def path(self) -> str:
        """Where a pod sees exactly this folder."""
        return f"{MOUNT}/{self.repository}"

    @property
    def marker(self) -> str:
        """Where a pod sees that it is whole."""
        return f"{self.path}/{MARKER}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fill:
    """How one revision comes into the bucket: by the engine's own image, over a disk of so many GiB."""

    weights: StoredWeights
    image: Image
    scratch_gib: int


def bucket_name(stack: Stack) -> str:
    """Name the stack's bucket: at most 59 characters, and unique in the world as a project's id is."""
    return f"{stack.project}-{stack.name}-weights"


def stored_weights(stack: Stack, repository: str | None, revision: str | None) -> StoredWeights | None:
    """Say where a revision lies in the bucket; None where replicas ask the hub.

    Raises ValueError for a bucket without a repository or a revision, which the checks refuse.
    """
    if stack.weights_from is WeightsFrom.HUB:
        return None
    if repository is None or revision is None:
        raise ValueError("weights without a repository and a commit have no place of their own")
    return StoredWeights(bucket=bucket_name(stack), repository=repository, revision=revision)


def scratch_gib(download_bytes: int | None, *, gpu_memory_gib: int) -> int:
    """Size the disk that files pass over on their way: as large as all of them, a quarter more for what is beside them.

    What is unknown is taken to be as large as the GPU memory that it goes into.
    """
    size = gpu_memory_gib if download_bytes is None else download_bytes / 2**30
    return max(LEAST_SCRATCH_GIB, math.ceil(size * 5 / 4))


def first_of_each(fills: Iterable[Fill]) -> tuple[Fill, ...]:
    """Keep the first fill of each revision: what two versions share is brought once."""
    found: dict[StoredWeights, Fill] = {}
    for fill in fills:
        found.setdefault(fill.weights, fill)
    return tuple(found.values())

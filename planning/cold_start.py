"""How long a replica takes from nothing to its first answer: a sum of named parts, each with a spread and a source."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from planning.schema import WeightsFrom
from planning.serving import ModelPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One part in seconds: at the least, most often, at the most (a triangle); who says so in a word, and at length."""

    name: str
    least: float
    likely: float
    most: float
    on_new_node: bool = False
    """Whether only a node that was not there before needs it."""
    by: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        """Refuse figures out of order."""
        if not 0 <= self.least <= self.likely <= self.most:
            raise ValueError(f"{self.name}: {self.least}, {self.likely}, {self.most} seconds are not in order")

    @property
    def mean(self) -> float:
        """Seconds on average."""
        return (self.least + self.likely + self.most) / 3


@dataclass(frozen=True, kw_only=True, slots=True)
class ColdStart:
    """The parts in their order."""

    parts: tuple[Part, ...]

    @property
    def mean(self) -> float:
        """Seconds on average, on a new node."""
        return sum(part.mean for part in self.parts)

    @property
    def range(self) -> tuple[float, float]:
        """Seconds at the least and at the most, on a new node."""
        return sum(part.least for part in self.parts), sum(part.most for part in self.parts)

    def draw(self, random: Random, *, new_node: bool) -> dict[str, float]:
        """Seconds of each part, for one replica; a node that is there already has driver and image."""
        return {
            part.name: random.triangular(part.least, part.most, part.likely)
            for part in self.parts
            if new_node or not part.on_new_node
        }


NO_COLD_START = ColdStart(parts=())
"""A replica serves as soon as it is wanted."""

NODE: Final = Part(
    name="node",
    least=180,
    likely=210,
    most=240,
    on_new_node=True,
    by="published",
    source="3 to 4 minutes on GCE, whatever the machine: kubernetes/autoscaler, cluster-autoscaler/FAQ.md at 55c37cd5",
)
DRIVER: Final = Part(
    name="driver",
    least=20,
    likely=30,
    most=60,
    on_new_node=True,
    by="published",
    source="about 30 s: GoogleCloudPlatform/ai-on-gke, best-practices/startup-latency.md at 2b1e1a9b",
)
IMAGE: Final = Part(
    name="image",
    least=30,
    likely=60,
    most=191,
    on_new_node=True,
    by="published",
    source="30 s streamed, 191 s pulled, for an image of 5.4 GB: ai-on-gke, as above; TGI's is larger",
)
WARM_UP: Final = Part(
    name="warm-up",
    least=30,
    likely=60,
    most=120,
    by="assumed",
    source="no figure for TGI on an A100 was found; 2 minutes at the most as for vLLM "
    "(bentoml.com/blog/cold-starting-llms-on-kubernetes-in-under-30-seconds)",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """GB a second at which weights arrive, from one place: at the best, usually, at the worst."""

    best: float
    usual: float
    worst: float
    source: str


RATES: Final[Mapping[WeightsFrom, Rates]] = {
    WeightsFrom.HUB: Rates(
        best=1.5, usual=0.5, worst=0.15, source="from the hub: huggingface_hub #2989, a guess, ai-on-gke"
    ),
    WeightsFrom.BUCKET: Rates(
        best=1.36,
        usual=0.57,
        worst=0.15,
        source="by Cloud Storage FUSE: nine times the worst, which is what Google's page on its file cache promises at "
        "most; 480 GB in 14 minutes, as others tell of Google's serving profile; ai-on-gke, without a cache",
    ),
}
"""None of them measured on an A100: the two places differ less than each from its worst to its best."""


def weights_part(gigabytes: float, place: WeightsFrom) -> Part:
    """How long so many GB of weights take from there to the engine."""
    rates = RATES[place]
    return Part(
        name="weights",
        least=gigabytes / rates.best,
        likely=gigabytes / rates.usual,
        most=gigabytes / rates.worst,
        by="published rates",
        source=f"{gigabytes:.0f} GB at {rates.best:g}, {rates.usual:g} and {rates.worst:g} GB/s {rates.source}",
    )


def place_of(model: ModelPlan) -> WeightsFrom:
    """Say where a model's replicas read their weights."""
    return WeightsFrom.BUCKET if model.fills else WeightsFrom.HUB


def cold_start_of(model: ModelPlan) -> ColdStart:
    """Add up a model's start; without its weights where their size is unknown, or where they are in the image."""
    size = model.download_bytes
    weights = () if size is None else (weights_part(size / 1e9, place_of(model)),)
    return ColdStart(parts=(NODE, DRIVER, IMAGE, *weights, WARM_UP))

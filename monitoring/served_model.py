"""What monitoring needs to know of a model that is served."""

from dataclasses import dataclass

from monitoring.engine_metrics import TGI, EngineMetrics


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelVersion:
    """One version of a model, run by the Deployment `<model>-<name>`. `share` of the traffic: 0 to 1."""

    name: str
    share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnPanel:
    """A panel for a metric that only this model has: PromQL shown as it stands, `unit` by its Grafana id."""

    title: str
    query: str
    unit: str = "short"
    legend: str = "{{pod}}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedModel:
    """A model, its versions, its engine, and its objectives (`availability` in percent) where it has any."""

    name: str
    versions: tuple[ModelVersion, ...]
    engine: EngineMetrics = TGI
    p95_seconds: float | None = None
    availability: float | None = None
    panels: tuple[OwnPanel, ...] = ()

    @property
    def availability_ratio(self) -> float | None:
        """The availability objective as a part of 1."""
        return None if self.availability is None else round(self.availability / 100, 10)

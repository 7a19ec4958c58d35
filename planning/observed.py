"""What monitoring has to know: of a model its engine's series, versions, objective and scaling; of nodes the price."""

from collections.abc import Iterable

from monitoring.engine_metrics import TGI, VLLM, EngineMetrics
from monitoring.queries import MODELS_NAMESPACE
from monitoring.scaling import ScaledVersion
from monitoring.served_model import ModelVersion, OwnPanel, ServedModel
from monitoring.spend import NodePrice, Provisioning
from planning.pools import Pool, PoolKind
from planning.schema import EngineName, Model
from planning.serving import ModelPlan, Version

_KNOWN = {EngineName.TGI: TGI, EngineName.VLLM: VLLM}


def engine_metrics(model: Model) -> EngineMetrics:
    """Name the series of a model's engine. Raises ValueError for a custom one that names none."""
    if (known := _KNOWN.get(model.engine)) is not None:
        return known
    if model.metrics is None:
        raise ValueError(f"{model.name}: the settings let a custom engine through without metrics")
    return EngineMetrics(
        requests=model.metrics.requests,
        latency_bucket=f"{model.metrics.latency_seconds}_bucket",
        in_flight=model.metrics.in_flight,
        queue=model.metrics.queue,
    )


def served_model(model: ModelPlan) -> ServedModel:
    """Describe a model for the rules and the dashboard."""
    declared = model.declared
    return ServedModel(
        name=model.name,
        versions=tuple(ModelVersion(name=version.name, share=version.weight / 100) for version in model.versions),
        engine=engine_metrics(declared),
        p95_seconds=declared.slo.p95_seconds if declared.slo else None,
        availability=declared.slo.availability if declared.slo else None,
        panels=own_panels(declared),
    )


def scaled_version(model: ModelPlan, version: Version, namespace: str = MODELS_NAMESPACE) -> ScaledVersion:
    """Describe a version for its scaling."""
    declared, replicas = model.declared, version.replicas
    return ScaledVersion(
        model=model.name,
        version=version.name,
        versions=tuple(other.name for other in model.versions if other.weight),
        share=version.weight / 100,
        engine=engine_metrics(declared),
        minimum=replicas.elastic_minimum,
        maximum=replicas.elastic_maximum,
        floor=replicas.floor,
        idle_minutes=declared.scaling.idle_minutes,
        startup_seconds=declared.startup_minutes * 60,
        deadline_seconds=model.start_deadline_seconds,
        requests_per_second_per_replica=declared.scaling.requests_per_second_per_replica,
        queue_per_replica=declared.scaling.queue_per_replica,
        namespace=namespace,
    )


def own_panels(model: Model) -> tuple[OwnPanel, ...]:
    """Panels for the series that only this model's engine has."""
    if model.metrics is None:
        return ()
    requests, latency = model.metrics.requests, f"{model.metrics.latency_seconds}_bucket"
    return (
        OwnPanel(title="requests", query=f"rate({requests}[5m])", unit="reqps"),
        OwnPanel(
            title="latency P95",
            query=f"histogram_quantile(0.95, rate({latency}[5m]))",
            unit="s",
        ),
        *(
            OwnPanel(title=gauge, query=f"avg({gauge}) by ({label})", legend=f"{{{{{label}}}}}")
            for gauge, label in model.metrics.averages.items()
        ),
    )


_BOUGHT = {PoolKind.SPOT: Provisioning.SPOT, PoolKind.FLEX_START: Provisioning.FLEX_START}


def node_prices(pools: Iterable[Pool]) -> list[NodePrice]:
    """List what nodes of these pools cost, each machine type and provisioning once; None where nobody knows."""
    prices = {(pool.machine.machine_type, _BOUGHT.get(pool.kind, Provisioning.ON_DEMAND)): pool for pool in pools}
    return [
        NodePrice(machine_type=machine_type, provisioning=provisioning, usd_per_hour=pool.usd_per_hour)
        for (machine_type, provisioning), pool in sorted(prices.items())
    ]

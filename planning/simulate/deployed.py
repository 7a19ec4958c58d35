"""What of a model is recorded that the simulator follows: its versions, who scales them, and the gateway's rules."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from monitoring.engine_metrics import EngineMetrics
from planning.cost.recorded import Recorded, at, each, number
from planning.recording_rules import RecordingRule, recording_rules, rests_on
from planning.simulate.platform import Balancing, Gateway, Series
from planning.simulate.scaled_object import ScaledObject, scaled_object_of

_BALANCING: Final = {"LEAST_REQUEST": Balancing.LEAST_OF_TWO, "ROUND_ROBIN": Balancing.ROUND_ROBIN}
"""Istio's words for what the simulator knows; without one Istio takes the first."""
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, kw_only=True, slots=True)
class DeployedVersion:
    """One version: its share of the requests (0 to 1), the Deployment that KEDA scales, and the replicas beside it."""

    name: str
    share: float
    scaled: ScaledObject
    rules: tuple[RecordingRule, ...]
    """What the ScaledObject's query rests on."""
    floor: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DeployedModel:
    """One model as it is recorded."""

    versions: tuple[DeployedVersion, ...]
    gateway: Gateway
    balancing: Balancing
    series: Series


def deployed_model(resources: Sequence[Recorded], model: str, engine: EngineMetrics) -> DeployedModel:
    """Find a model's objects by its name. Raises ValueError for what is missing, or cannot be followed here."""
    rule, routes = _object(resources, "DestinationRule", model), _object(resources, "VirtualService", model)
    [route] = (route for route in each(at(routes.inputs, "spec", "http")) if at(route, "route") is not None)
    gateway = _gateway(resources)
    namespace = str(at(routes.inputs, "metadata", "namespace"))
    policy = at(rule.inputs, "spec", "trafficPolicy")
    shares = {
        str(at(to, "destination", "subset")): (number(at(to, "weight")) or 0.0) / 100 for to in each(at(route, "route"))
    }
    return DeployedModel(
        versions=tuple(_versions(resources, model, shares)),
        gateway=_rules(policy, route),
        balancing=_BALANCING[str(at(policy, "loadBalancer", "simple") or "LEAST_REQUEST")],
        series=Series(
            namespace=namespace,
            service=str(at(each(at(route, "route"))[0], "destination", "host")).partition(".")[0],
            app=model,
            job=_job(resources, namespace),
            gateway_workload=gateway.object_name,
            gateway_namespace=str(gateway.inputs["namespace"]),
            gateway_job=_job(resources, str(gateway.inputs["namespace"])),
            queue=engine.queue,
            in_flight=engine.in_flight,
        ),
    )


def _of_kind(resources: Sequence[Recorded], kind: str) -> Iterator[Recorded]:
    return (resource for resource in resources if resource.type.rpartition(":")[2] == kind)


def _object(resources: Sequence[Recorded], kind: str, name: str) -> Recorded:
    for resource in _of_kind(resources, kind):
        if resource.object_name == name:
            return resource
    raise ValueError(f"model {name}: the program makes no {kind} of that name")


def _gateway(resources: Sequence[Recorded]) -> Recorded:
    """Find the release of Istio's gateway chart: its name is that of the Deployment."""
    for resource in _of_kind(resources, "Release"):
        if resource.inputs.get("chart") == "gateway":
            return resource
    raise ValueError("the program makes no release of Istio's gateway")


def _job(resources: Sequence[Recorded], namespace: str) -> str:
    """Name the scrape of a namespace as the Prometheus operator does; empty where nothing is scraped."""
    for resource in _of_kind(resources, "PodMonitor"):
        if namespace in each(at(resource.inputs, "spec", "namespaceSelector", "matchNames")):
            return f"{at(resource.inputs, 'metadata', 'namespace')}/{resource.object_name}"
    return ""


def _versions(resources: Sequence[Recorded], model: str, shares: dict[str, float]) -> Iterator[DeployedVersion]:
    scaled = {found.workload: found for found in map(_scaled, _of_kind(resources, "ScaledObject"))}
    recorded = recording_rules(resources)
    for name, share in shares.items():
        floor, elastic = 0, None
        for deployment in _of_kind(resources, "Deployment"):
            labels = at(deployment.inputs, "spec", "template", "metadata", "labels")
            if (at(labels, "app"), at(labels, "version")) != (model, name):
                continue
            if (found := scaled.get(deployment.object_name)) is None:
                floor += int(number(at(deployment.inputs, "spec", "replicas")) or 0)
            else:
                elastic = found
        if elastic is None:
            raise ValueError(f"model {model}, version {name}: the program makes no ScaledObject for it")
        needed = {rule for trigger in elastic.triggers for rule in rests_on(trigger.query, recorded)}
        rules = tuple(rule for rule in recorded if rule in needed)
        yield DeployedVersion(name=name, share=share, scaled=elastic, rules=rules, floor=floor)


def _scaled(resource: Recorded) -> ScaledObject:
    return scaled_object_of(resource.inputs)


def _rules(policy: Any, route: Any) -> Gateway:
    outliers = at(policy, "outlierDetection")
    # Two is what Istio repeats unless a route says otherwise, and 30 s and 10 % are its own for outliers.
    attempts, failures = (
        number(at(route, "retries", "attempts")),
        number(at(outliers, "consecutiveLocalOriginFailures")),
    )
    ejected, seconds = number(at(outliers, "maxEjectionPercent")), at(outliers, "baseEjectionTime")
    return Gateway(
        attempts=1 + int(2 if attempts is None else attempts),
        ejected_after=None if failures is None else int(failures),
        ejection_seconds=_seconds("30s" if seconds is None else str(seconds)),
        most_ejected=(10.0 if ejected is None else ejected) / 100,
    )


def _seconds(text: str) -> float:
    """Read a duration of one unit, as Istio writes it: `30s`."""
    unit = text.lstrip("0123456789.")
    return float(text.removesuffix(unit)) * _SECONDS[unit]

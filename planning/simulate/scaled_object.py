"""A recorded ScaledObject, as KEDA and the HorizontalPodAutoscaler that it writes read it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from planning.cost.recorded import at, each, number
from planning.cost.workloads import HPA_STABILIZATION_SECONDS, KEDA_COOLDOWN_SECONDS, PAUSED

HPA_TOLERANCE: Final = 0.1
"""kube-controller-manager's --horizontal-pod-autoscaler-tolerance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trigger:
    """A Prometheus trigger with metric type AverageValue: the query's total is divided among the replicas."""

    name: str
    query: str
    threshold: float
    activation_threshold: float = 0.0
    ignore_null_values: bool = True
    """Whether no element, and NaN, count as 0; else they are an error."""


class FallbackBehavior(StrEnum):
    """Which number of replicas stands in for a trigger that fails."""

    STATIC = "static"
    CURRENT = "currentReplicas"
    CURRENT_IF_HIGHER = "currentReplicasIfHigher"
    CURRENT_IF_LOWER = "currentReplicasIfLower"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fallback:
    """What stands in for a trigger once it has failed more than `failure_threshold` times in a row."""

    failure_threshold: int
    replicas: int
    behavior: FallbackBehavior = FallbackBehavior.STATIC


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """By how many replicas, or by what percentage of them, the number may change within a time."""

    value: int
    seconds: int
    percent: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Direction:
    """The HorizontalPodAutoscaler's behaviour up or down; of several limits the widest holds."""

    stabilization_seconds: int
    limits: tuple[Limit, ...]
    tolerance: float = HPA_TOLERANCE
    """By how much of it the value may differ from the target without a change."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Modifiers:
    """KEDA's `scalingModifiers` of one form, `TRIGGER ?? NUMBER`: a trigger's value, or the number without one."""

    trigger: str
    otherwise: float
    target: float
    activation_target: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ScaledObject:
    """What decides the number of a Deployment's replicas. https://keda.sh/docs/2.21/reference/scaledobject-spec/"""

    workload: str
    minimum: int
    maximum: int
    polling_seconds: int
    cooldown_seconds: int
    initial_cooldown_seconds: int
    up: Direction
    down: Direction
    triggers: tuple[Trigger, ...]
    fallback: Fallback | None = None
    modifiers: Modifiers | None = None
    paused_at: int | None = None


# The HorizontalPodAutoscaler's own: pkg/apis/autoscaling/v2/defaults.go of Kubernetes 1.36.
_UP: Final = (Limit(value=4, seconds=15), Limit(value=100, seconds=15, percent=True))
_DOWN: Final = (Limit(value=100, seconds=15, percent=True),)


def scaled_object_of(inputs: Mapping[str, Any]) -> ScaledObject:
    """Read `metadata` and `spec`, with KEDA's and Kubernetes's defaults.

    Raises ValueError for what the simulator does not know: other triggers than Prometheus's, another metric type,
    another formula than `TRIGGER ?? NUMBER`, an idle replica count, another choice among limits than the widest.
    """
    spec = inputs["spec"]
    behavior = at(spec, "advanced", "horizontalPodAutoscalerConfig", "behavior")
    if "idleReplicaCount" in spec:
        raise ValueError("the simulator knows no idleReplicaCount of a ScaledObject")
    if at(spec, "fallback") is not None and at(spec, "advanced", "scalingModifiers") is not None:
        raise ValueError("the simulator knows no fallback beside scalingModifiers of a ScaledObject")
    fallback, paused = at(spec, "fallback"), number(at(inputs, "metadata", "annotations", PAUSED))
    return ScaledObject(
        workload=str(at(spec, "scaleTargetRef", "name")),
        minimum=_whole(at(spec, "minReplicaCount"), 0),
        maximum=_whole(at(spec, "maxReplicaCount"), 100),
        polling_seconds=_whole(at(spec, "pollingInterval"), 30),
        cooldown_seconds=_whole(at(spec, "cooldownPeriod"), KEDA_COOLDOWN_SECONDS),
        initial_cooldown_seconds=_whole(at(spec, "initialCooldownPeriod"), 0),
        up=_direction(at(behavior, "scaleUp"), 0, _UP),
        down=_direction(at(behavior, "scaleDown"), HPA_STABILIZATION_SECONDS, _DOWN),
        triggers=tuple(_trigger(trigger) for trigger in each(at(spec, "triggers"))),
        fallback=None
        if fallback is None
        else Fallback(
            failure_threshold=_whole(at(fallback, "failureThreshold"), 0),
            replicas=_whole(at(fallback, "replicas"), 0),
            behavior=FallbackBehavior(at(fallback, "behavior") or FallbackBehavior.STATIC),
        ),
        modifiers=_modifiers(at(spec, "advanced", "scalingModifiers")),
        paused_at=None if paused is None else int(paused),
    )


def _modifiers(modifiers: Any) -> Modifiers | None:
    if modifiers is None:
        return None
    formula = re.fullmatch(r"(\w+) \?\? ([0-9.]+)", str(at(modifiers, "formula")))
    metric = at(modifiers, "metricType") or "AverageValue"
    if formula is None or metric != "AverageValue":
        raise ValueError(f"the simulator knows no formula {at(modifiers, 'formula')!r} with metric type {metric}")
    return Modifiers(
        trigger=formula[1],
        otherwise=float(formula[2]),
        target=float(at(modifiers, "target")),
        activation_target=number(at(modifiers, "activationTarget")) or 0.0,
    )


def _whole(value: Any, default: int) -> int:
    found = number(value)
    return default if found is None else int(found)


def _direction(rules: Any, stabilization_seconds: int, limits: tuple[Limit, ...]) -> Direction:
    if at(rules, "selectPolicy") not in {None, "Max"}:
        raise ValueError("the simulator knows no selectPolicy but Max of a HorizontalPodAutoscaler")
    declared = tuple(
        Limit(
            value=_whole(at(policy, "value"), 0),
            seconds=_whole(at(policy, "periodSeconds"), 0),
            percent=at(policy, "type") == "Percent",
        )
        for policy in each(at(rules, "policies"))
    )
    return Direction(
        stabilization_seconds=_whole(at(rules, "stabilizationWindowSeconds"), stabilization_seconds),
        limits=declared or limits,
        tolerance=HPA_TOLERANCE if (found := number(at(rules, "tolerance"))) is None else found,
    )


def _trigger(trigger: Any) -> Trigger:
    metadata = at(trigger, "metadata")
    kind, metric = at(trigger, "type"), at(trigger, "metricType") or "AverageValue"
    if (kind, metric) != ("prometheus", "AverageValue"):
        raise ValueError(f"the simulator knows no trigger of type {kind} with metric type {metric}")
    return Trigger(
        name=str(at(trigger, "name") or ""),
        query=str(at(metadata, "query")),
        threshold=float(at(metadata, "threshold")),
        activation_threshold=number(at(metadata, "activationThreshold")) or 0.0,
        ignore_null_values=at(metadata, "ignoreNullValues") != "false",
    )

"""Which signals scale a version, and what KEDA and the HorizontalPodAutoscaler compute from them."""

import math
from dataclasses import dataclass
from typing import Literal

from monitoring import queries
from monitoring.engine_metrics import EngineMetrics

_MILLI = 1000
"""KEDA hands values and thresholds on in whole thousandths.

https://github.com/kedacore/keda/blob/v2.21.0/pkg/scalers/scaler.go
"""

POLLING_SECONDS = 15
"""How often KEDA asks: a sleeping model wakes that much later at worst. Prometheus scrapes as often."""

SCALE_UP_PODS, SCALE_UP_SECONDS = 2, 60
"""A GPU node takes minutes to come; asking for many at once on a short burst buys GPUs that find nothing to do."""

SCALE_DOWN_PODS, SCALE_DOWN_SECONDS = 1, 60
"""A replica given away too early costs a whole start to have back."""

_LONGEST_STABILIZATION_SECONDS = 3600
"""https://kubernetes.io/docs/reference/kubernetes-api/autoscaling/horizontal-pod-autoscaler-v2/"""


_SPARE_SECONDS = 60
"""KEDA's `cooldownPeriod`, or what is added to it: that long no poll may have found activity until all replicas go."""

_UNCOUNTED_MINUTES = 3
"""For a window and two scrapes after Prometheus is back, no new series of the gateway counts."""

_FLOOR_LOOK_BACK_SECONDS = 300
"""How long a floor must have been able to take all, as Prometheus remembers it, also where KEDA was away meanwhile."""


def stabilization_seconds(startup_seconds: int) -> int:
    """How long the HorizontalPodAutoscaler looks back for a higher number before it takes a replica away."""
    return min(startup_seconds, _LONGEST_STABILIZATION_SECONDS)


@dataclass(frozen=True, kw_only=True, slots=True)
class PrometheusTrigger:
    """One trigger of a ScaledObject. https://keda.sh/docs/2.21/scalers/prometheus/

    `metric_type` is always AverageValue, which divides the query's result by the number of replicas: so
    every query is a total. Value would compare it undivided, and with a total never stop adding replicas.
    """

    name: str
    query: str
    threshold: float
    activation_threshold: float = 0
    metric_type: Literal["AverageValue"] = "AverageValue"

    def spec(self, server_address: str) -> dict[str, object]:
        """Give the item of `spec.triggers`. KEDA wants all metadata as text."""
        return {
            "type": "prometheus",
            "name": self.name,
            "metricType": self.metric_type,
            "metadata": {
                "serverAddress": server_address,
                "query": self.query,
                "threshold": queries.number(self.threshold),
                "activationThreshold": queries.number(self.activation_threshold),
                "ignoreNullValues": "false",
            },
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class ScaledVersion:
    """One version of a model, as far as its scaling goes. Raises ValueError unless exactly one target is given."""

    model: str
    version: str
    versions: tuple[str, ...]
    """Those of the model that have a share of its requests."""
    share: float
    """Of the model's requests, 0 to 1."""
    engine: EngineMetrics
    minimum: int
    """Of the Deployment that KEDA scales, as is `maximum`."""
    maximum: int
    floor: int = 0
    """Replicas beside it that are always there: the load is what they leave over."""
    idle_minutes: int
    startup_seconds: int
    """How long an engine may load."""
    deadline_seconds: int
    """How long a start may take in all, with a new node."""
    requests_per_second_per_replica: float | None = None
    queue_per_replica: float | None = None
    namespace: str = queries.MODELS_NAMESPACE

    def __post_init__(self) -> None:
        """Refuse both targets, and none."""
        if (self.requests_per_second_per_replica is None) is (self.queue_per_replica is None):
            raise ValueError(f"{self.workload}: give either requests_per_second_per_replica or queue_per_replica")

    @property
    def workload(self) -> str:
        """The Deployment that KEDA scales."""
        return f"{self.model}-{self.version}"

    @property
    def sleeps(self) -> bool:
        """Whether it may go to 0 of its own. A version without a share is paused at 0 instead."""
        return self.minimum == 0 and self.share > 0

    @property
    def look_back_seconds(self) -> int:
        """How far `activity` looks back: Prometheus's memory, which survives that KEDA is away."""
        return _FLOOR_LOOK_BACK_SECONDS if self.floor else self.idle_minutes * 60 - _SPARE_SECONDS

    @property
    def cooldown_seconds(self) -> int:
        """Give KEDA's `cooldownPeriod`: how long after the last poll that found activity it takes all replicas away."""
        if self.floor == 0:
            return _SPARE_SECONDS
        steps = (self.maximum - 1) * SCALE_DOWN_SECONDS // SCALE_DOWN_PODS
        step_by_step = stabilization_seconds(self.startup_seconds) + steps + _SPARE_SECONDS
        return max(self.idle_minutes * 60 - self.look_back_seconds, step_by_step)

    @property
    def sleep_seconds(self) -> int:
        """How long nothing may have asked for its replicas until KEDA takes them to 0.

        KEDA takes all that are left in one step, past the HorizontalPodAutoscaler. Without a floor nobody has asked for
        the model then. Beside a floor somebody may have: so it is long enough for the HorizontalPodAutoscaler to take
        all but one before, one by one.
        """
        return self.look_back_seconds + self.cooldown_seconds

    def triggers(self) -> tuple[PrometheusTrigger, ...]:
        """Give what wakes it, what sets its number of replicas, and what keeps those that there are.

        `activity` alone wakes, and lets sleep: KEDA keeps a version awake while any trigger is above 0, and the others
        are 0 where it is. Beside a floor `activity` is what the floor leaves over: the floor is awake anyway.

        `hold` adds none. A queue is empty as long as there are enough replicas, so `hold` lets one go only when all
        requests under way, running and waiting, are no more than may wait in the queues of the others. And it lets none
        go while nobody can say what is under way.
        """
        load, busy = self._load(), self._busy()
        watched = max(self.look_back_seconds if self.sleeps else 0, stabilization_seconds(self.startup_seconds))
        hold = PrometheusTrigger(
            name="hold",
            query=queries.hold(
                self.model,
                self.version,
                self.workload,
                self.engine,
                minutes=_minutes(watched) + _UNCOUNTED_MINUTES,
                needed=busy,
                namespace=self.namespace,
            ),
            threshold=1,
        )
        if not self.sleeps:
            return load, hold
        if self.floor:
            asks = [load.query, queries.starting([self.workload], self.deadline_seconds, self.namespace)]
            asks += [] if busy is None else [f"{busy} or vector(0)"]
        else:
            workloads = [f"{self.model}-{version}" for version in self.versions]
            asks = [
                queries.asked_for(self.model, self.engine, self.namespace),
                queries.starting(workloads, self.deadline_seconds, self.namespace),
            ]
        query = queries.within(" + ".join(f"({ask})" for ask in asks), _minutes(self.look_back_seconds))
        return PrometheusTrigger(name="activity", query=query, threshold=1), load, hold

    def _load(self) -> PrometheusTrigger:
        if (rate := self.requests_per_second_per_replica) is not None:
            total = queries.request_rate(self.model, self.share, self.namespace)
            return PrometheusTrigger(
                name="request-rate", query=queries.beyond(total, self.floor * rate), threshold=rate
            )
        length = self.queue_per_replica or 0.0
        total = queries.queue(self.model, self.version, self.engine, self.namespace)
        return PrometheusTrigger(name="queue", query=queries.beyond(total, self.floor * length), threshold=length)

    def _busy(self) -> str | None:
        """Count the replicas, of those that there are, whose requests the others may not have waiting."""
        if (length := self.queue_per_replica) is None:
            return None
        total = queries.under_way(self.model, self.version, self.engine, self.namespace)
        needed = f"({queries.beyond(total, self.floor * length)}) / {queries.number(length)}"
        return queries.at_most(needed, queries.replicas(self.workload, self.namespace))

    def scaled_object(self, prometheus_url: str) -> dict[str, object]:
        """Give the ScaledObject's `spec`.

        From 1 up the HorizontalPodAutoscaler that KEDA writes decides. From 0 KEDA itself goes to 1 as soon as a
        trigger is above 0, and from any number to 0 once none was for `cooldownPeriod`. There is no `fallback`: an
        active one counts as activity, so it would wake what sleeps. Without one KEDA may take a poll that meets an
        error for inactivity (docs/decisions/0012-what-keeps-a-replica.md): not solved yet.
        https://keda.sh/docs/2.21/reference/scaledobject-spec/, pkg/scaling/executor/scale_scaledobjects.go
        """
        return {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": self.workload},
            "minReplicaCount": self.minimum,
            "maxReplicaCount": self.maximum,
            "pollingInterval": POLLING_SECONDS,
            **({"cooldownPeriod": self.cooldown_seconds} if self.minimum == 0 else {}),
            "advanced": {
                "horizontalPodAutoscalerConfig": {
                    "behavior": {
                        "scaleUp": {
                            "policies": [{"type": "Pods", "value": SCALE_UP_PODS, "periodSeconds": SCALE_UP_SECONDS}]
                        },
                        "scaleDown": {
                            "stabilizationWindowSeconds": stabilization_seconds(self.startup_seconds),
                            "policies": [
                                {"type": "Pods", "value": SCALE_DOWN_PODS, "periodSeconds": SCALE_DOWN_SECONDS}
                            ],
                        },
                    }
                }
            },
            "triggers": [trigger.spec(prometheus_url) for trigger in self.triggers()],
        }


def _minutes(seconds: float) -> int:
    """Whole minutes, rounded up."""
    return math.ceil(seconds / 60)


def replicas_for(rate: float, per_replica: float, share: float, minimum: int, maximum: int) -> int:
    """Replicas of a version for `rate` requests a second at the gateway, of which it takes `share`.

    The HorizontalPodAutoscaler rounds up, but keeps the present number while the load is within a tenth of
    what that is meant to take (its tolerance): this is the number without that inertia. Any load keeps one
    replica awake. Raises ValueError for a rate below 0, and for a replica that takes less than 0.001
    requests a second, which KEDA reads as 0.
    https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/#algorithm-details
    """
    target = int(per_replica * _MILLI)
    if rate < 0 or target < 1:
        raise ValueError(f"rate must be at least 0 and per_replica at least 0.001, got {rate} and {per_replica}")
    if rate * share == 0:
        return minimum
    load = int(rate * share * _MILLI)
    return min(maximum, max(1, minimum, -(-load // target)))

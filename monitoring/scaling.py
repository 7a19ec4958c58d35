"""Which signals scale a version, and what KEDA and the HorizontalPodAutoscaler compute from them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from monitoring import queries
from monitoring.alerts import alert
from monitoring.engine_metrics import EngineMetrics

_MILLI = 1000
"""KEDA hands values and thresholds on in whole thousandths.

https://github.com/kedacore/keda/blob/v2.21.0/pkg/scalers/scaler.go
"""

TRIGGER = "wanted"
"""The ScaledObject's only trigger, as its formula names it: the number of replicas that are wanted."""

THERE, ASKED, UNSEEN, LOAD, HELD, WANTED = (
    "llm:elastic_replicas",
    "llm:asked",
    "llm:unseen_pods",
    "llm:load_replicas",
    "llm:held_replicas",
    "llm:wanted_replicas",
)
"""Recorded series of a version, with labels namespace, model and version; `llm:asked` is 1 or 0, the others count.

Recorded, so that what KEDA reads is a short query, and can be drawn.
"""

POLLING_SECONDS = 15
"""How often KEDA asks. Prometheus scrapes and records as often: a sleeping model wakes within three times that."""

RULES_SECONDS = POLLING_SECONDS

SCALE_UP_PODS, SCALE_UP_SECONDS = 2, 60
"""A GPU node takes minutes to come; asking for many at once on a short burst buys GPUs that find nothing to do."""

SCALE_DOWN_PODS, SCALE_DOWN_SECONDS = 1, 60
"""A replica given away too early costs a whole start to have back."""

_SHORTEST_STABILIZATION_SECONDS, _LONGEST_STABILIZATION_SECONDS = 300, 3600
"""Kubernetes's own, which is also how long a silent kube-state-metrics counts, and the most that it takes.

https://kubernetes.io/docs/reference/kubernetes-api/autoscaling/horizontal-pod-autoscaler-v2/
"""

_SPARE_SECONDS = 60
"""KEDA's `cooldownPeriod`, or what is added to it: that long no poll may have found activity until all replicas go."""

_UNCOUNTED_MINUTES = 3
"""For a window and two scrapes after Prometheus is back, no new series of the gateway counts."""

_FLOOR_LOOK_BACK_SECONDS = 300
"""How long a floor must have been able to take all, as Prometheus remembers it, also where KEDA was away meanwhile."""


def stabilization_seconds(startup_seconds: int) -> int:
    """How long the HorizontalPodAutoscaler looks back for a higher number before it takes a replica away."""
    return min(max(startup_seconds, _SHORTEST_STABILIZATION_SECONDS), _LONGEST_STABILIZATION_SECONDS)


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

    def rules(self) -> list[dict[str, object]]:
        """Give the recording rules of one group, in the order in which they need each other.

        `llm:wanted_replicas` is the greatest of three: for the load, those that must not go, and one for the idle time
        after somebody asked. That one alone wakes and lets sleep: the others are 0 where it is.
        """
        recorded = {
            THERE: queries.replicas(self.model, self.version, self.workload, self.namespace),
            ASKED: queries.asked(self._asked()),
            UNSEEN: queries.unseen(self.model, self.version, self.workload, self.engine, self.namespace),
            LOAD: f"({self._load()}) / {queries.number(self._target)}",
            HELD: self._held(),
            WANTED: self._wanted(),
        }
        labels = {"namespace": self.namespace, "model": self.model, "version": self.version}
        return [{"record": name, "expr": text, "labels": labels} for name, text in recorded.items()]

    def _wanted(self) -> str:
        """Say how many replicas there are to be, fractions and all; no element where a part is not known."""
        there, asked = self._series(THERE), self._series(ASKED)
        greatest = f"clamp_min(max({self._series(LOAD)}), scalar({self._series(HELD)}))"
        if self.sleeps:
            one, memory = f"clamp_max(max({there}), 1)", f"max_over_time({asked}[{_minutes(self.look_back_seconds)}m])"
            awake = f"max({one} unless on() ({self._watched(self.look_back_seconds)}) or {memory})"
            greatest = f"clamp_min({greatest}, scalar({awake}))"
        # `scalar` gives NaN for no element.
        return f"{greatest} >= 0"

    def _asked(self) -> str:
        """Say what asks for the version now. Beside a floor only what that leaves over: it is awake anyway.

        What is under way there keeps replicas that there are, and wakes none: only a queue says that they are missing.
        """
        if not self.floor:
            workloads = [f"{self.model}-{version}" for version in self.versions] or [self.workload]
            asks = [
                queries.asked_for(self.model, self.engine, self.namespace),
                queries.starting(workloads, self.deadline_seconds, self.namespace),
            ]
        else:
            asks = [self._load(), queries.starting([self.workload], self.deadline_seconds, self.namespace)]
            there = f"scalar(max({self._series(THERE)}) or vector(0))"
            asks += [] if self.queue_per_replica is None else [f"clamp_max({self._beyond(self._under_way())}, {there})"]
        return " + ".join(f"({ask})" for ask in asks)

    def _load(self) -> str:
        """Say what the elastic replicas have to take: requests a second, or requests that wait."""
        if self.requests_per_second_per_replica is not None:
            return self._beyond(queries.request_rate(self.model, self.share, self.namespace))
        return self._beyond(queries.queue(self.model, self.version, self.engine, self.namespace))

    def _held(self) -> str:
        """Say how many of the replicas that there are must not go: all, as long as nobody can say what they do.

        So an outage of Prometheus, its restart and its return take nothing away, and wake nothing: of 0 replicas all
        are 0. A queue is empty as long as there are enough replicas: so one may go only when all requests under way,
        running and waiting, are no more than may wait in the queues of the others. Of ended requests a second nothing
        like it can be said.
        """
        there = f"max({self._series(THERE)})"
        known = f"{self._watched(stabilization_seconds(self.startup_seconds))} unless on() {self._series(UNSEEN)} > 0"
        needed = f"0 * {there}"
        if (length := self.queue_per_replica) is not None:
            needed = f"clamp_max(({self._beyond(self._under_way())}) / {queries.number(length)}, scalar({there}))"
        return f"({there} unless on() ({known})) or ({needed})"

    def _under_way(self) -> str:
        return queries.under_way(self.model, self.version, self.engine, self.namespace)

    def _beyond(self, total: str) -> str:
        return queries.beyond(total, self.floor * self._target)

    def _watched(self, seconds: float) -> str:
        """Give an element where Prometheus has watched for so long, and as long as no new series counts."""
        return queries.watched(self._series(ASKED), _minutes(seconds) + _UNCOUNTED_MINUTES, RULES_SECONDS)

    def _series(self, name: str) -> str:
        return f'{name}{{namespace="{self.namespace}",model="{self.model}",version="{self.version}"}}'

    @property
    def _target(self) -> float:
        """What one replica takes."""
        return self.requests_per_second_per_replica or self.queue_per_replica or 0.0

    def scaled_object(self, prometheus_url: str) -> dict[str, object]:
        """Give the ScaledObject's `spec`.

        From 1 up the HorizontalPodAutoscaler that KEDA writes decides. From 0 KEDA itself goes to 1 as soon as the
        value is above 0, and from any number to 0 once it was not for `cooldownPeriod`. An error changes nothing. The
        formula is for a poll that KEDA drops without one, which happens where there are replicas, and seldom else: it
        counts as activity (docs/decisions/0012-what-keeps-a-replica.md). There is no `fallback`: an active one counts
        as activity as well, so it would wake what sleeps.
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
                            # With the default, a tenth, a rollout's additional pod would be one more to hold.
                            "tolerance": "0",
                        },
                    }
                },
                # AverageValue divides the value by the number of replicas; Value would never stop adding some.
                "scalingModifiers": {
                    "formula": f"{TRIGGER} ?? 1",
                    "target": "1",
                    "activationTarget": "0",
                    "metricType": "AverageValue",
                },
            },
            "triggers": [
                {
                    "type": "prometheus",
                    "name": TRIGGER,
                    "metricType": "AverageValue",
                    # KEDA wants all metadata as text.
                    "metadata": {
                        "serverAddress": prometheus_url,
                        "query": f"max({self._series(WANTED)})",
                        "threshold": "1",
                        "ignoreNullValues": "false",
                    },
                }
            ],
        }


def scaling_groups(versions: Iterable[ScaledVersion]) -> list[dict[str, object]]:
    """Give `spec.groups` of a PrometheusRule: one a version, evaluated beside each other, and one of alerts."""
    recorded: list[dict[str, object]] = [
        {"name": f"llm-scaling-{version.workload}", "interval": f"{RULES_SECONDS}s", "rules": version.rules()}
        for version in versions
    ]
    held = alert(
        "LLMReplicasHeld",
        f"{UNSEEN} > 0",
        lasting="15m",
        severity="warning",
        summary="No replica of a version goes, since nobody can say what its pods do.",
        description="Prometheus does not see {{ $value }} pods of the gateway or of model {{ $labels.model }}, version "
        "{{ $labels.version }}: its replicas stay, and are paid for, whether they are needed or not.",
    )
    return [*recorded, {"name": "llm-scaling", "rules": [held]}]


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

"""Which signals scale a version, and what KEDA and the HorizontalPodAutoscaler compute from them."""

from dataclasses import dataclass
from typing import Literal

from monitoring import queries
from monitoring.engine_metrics import EngineMetrics

_MILLI = 1000
"""KEDA hands values and thresholds on in whole thousandths.

https://github.com/kedacore/keda/blob/v2.20.2/pkg/scalers/scaler.go
"""

POLLING_SECONDS = 15
"""How often KEDA asks: a sleeping model wakes that much later at worst. Prometheus scrapes as often."""

SCALE_UP_PODS, SCALE_UP_SECONDS = 2, 60
"""A GPU node takes minutes to come; asking for many at once on a short burst buys GPUs that find nothing to do."""

SCALE_DOWN_PODS, SCALE_DOWN_SECONDS = 1, 60
"""A replica given away too early costs a whole start to have back."""

_LONGEST_STABILIZATION_SECONDS = 3600
"""https://kubernetes.io/docs/reference/kubernetes-api/autoscaling/horizontal-pod-autoscaler-v2/"""


def stabilization_seconds(startup_seconds: int) -> int:
    """How long the HorizontalPodAutoscaler looks back for a higher number before it takes a replica away."""
    return min(startup_seconds, _LONGEST_STABILIZATION_SECONDS)


@dataclass(frozen=True, kw_only=True, slots=True)
class PrometheusTrigger:
    """One trigger of a ScaledObject. https://keda.sh/docs/2.20/scalers/prometheus/

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


def triggers(
    *,
    model: str,
    version: str,
    share: float,
    engine: EngineMetrics,
    minimum: int,
    floor: int = 0,
    requests_per_second_per_replica: float | None = None,
    queue_per_replica: float | None = None,
    namespace: str = queries.MODELS_NAMESPACE,
) -> tuple[PrometheusTrigger, ...]:
    """Give a version's triggers: what wakes it, where it may sleep, then what sets its number of replicas.

    KEDA keeps a version awake while any trigger is above 0, so the second must not be so where `activity`
    is 0: the rate and the queue are both parts of it. A version without a share is not woken by requests
    that it will not get.

    With a `floor`, replicas that are always there and that KEDA does not scale, the load is what they leave
    over, and it alone decides: the floor is awake anyway.

    Raises ValueError unless exactly one of the two targets is given.
    """
    match requests_per_second_per_replica, queue_per_replica:
        case float() | int() as rate, None:
            query = queries.beyond(queries.request_rate(model, share, namespace), floor * rate)
            load = PrometheusTrigger(name="request-rate", query=query, threshold=rate)
        case None, float() | int() as length:
            query = queries.beyond(queries.queue(model, version, engine, namespace), floor * length)
            load = PrometheusTrigger(name="queue", query=query, threshold=length)
        case _:
            raise ValueError(f"{model}-{version}: give either requests_per_second_per_replica or queue_per_replica")
    if minimum > 0 or floor > 0 or share == 0:
        return (load,)
    return PrometheusTrigger(name="activity", query=queries.activity(model, engine, namespace), threshold=1), load


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

"""The PromQL that decides how many replicas there are. Each result is exactly one element, never none.

A model at zero pods has no series, which means 0 and is said so by `or vector(0)`. KEDA's own way to read
an empty answer as 0 (`ignoreNullValues`) stays off: only a Prometheus that answers can put a model to
sleep.
"""

from monitoring.engine_metrics import EngineMetrics

GATEWAY = 'reporter="source",source_workload="istio-ingressgateway",source_workload_namespace="istio-ingress"'
"""Selects what the ingress gateway itself saw: calls between pods neither wake nor scale a model."""

MODELS_NAMESPACE = "models"

WINDOW = "2m"
"""Longer than a scrape and a poll of KEDA together, so that no request falls between two polls."""

_LOOKBACK = "5m"
"""How old a sample may be that Prometheus still takes for the present one (`--query.lookback-delta`)."""


def number(value: float) -> str:
    """Write a number as Prometheus and KEDA read it, without a trailing `.0`."""
    return f"{value:.12g}"


def gateway_requests(model: str, namespace: str = MODELS_NAMESPACE, window: str = WINDOW) -> str:
    """Requests for the model that ended at the gateway within `window`, whatever came of them.

    This is what wakes a model. A 503 for want of a healthy upstream counts: that is how a caller knocks on
    a sleeping model. The destination is matched by its service, as `destination_workload` and
    `destination_version` are "unknown" at zero pods.

    `increase` misses the first sample of a new series, which is the very request that should wake the
    model, so this takes the last value of each series, of gateway pods that are gone by now as well, less
    the last one before the window. That is looked for as far back as Prometheus itself looks, for a scrape
    may fail. Where there is none, or a higher one before a restart, the whole value counts; but not after
    an outage of Prometheus, when every series looks new: `up` tells whether it was watching.
    https://github.com/prometheus/prometheus/issues/1673
    """
    series = _gateway_series(model, namespace)
    last, before = f"last_over_time({series}[{window}])", f"last_over_time({series}[{_LOOKBACK}] offset {window})"
    watched = f"group(up offset {window})"
    return f"sum(({last} - {before} >= 0) or ({last} and on() {watched})) or vector(0)"


def activity(model: str, engine: EngineMetrics, namespace: str = MODELS_NAMESPACE, window: str = WINDOW) -> str:
    """Give 1 while the model is asked for, computes or has requests waiting, in any version, else 0.

    The same text for every version of a model, so that they wake and sleep together: a canary asleep would
    answer its share of the traffic with 503. What is in flight counts beside the gateway's requests,
    because those are booked when a response ends. An engine that tells neither queue nor batch stays awake
    by ended requests alone: there the idle time must be longer than the longest response.
    """
    gauges = (name for name in (engine.queue, engine.in_flight) if name is not None)
    parts = [f'sum({name}{{namespace="{namespace}",app="{model}"}}) or vector(0)' for name in gauges]
    asked = " + ".join(f"({part})" for part in (gateway_requests(model, namespace, window), *parts))
    return f"{asked} > bool 0"


def request_rate(model: str, share: float, namespace: str = MODELS_NAMESPACE, window: str = WINDOW) -> str:
    """Requests a second that a version with this share of the traffic (0 to 1) takes, over all replicas.

    By the wanted share of what the gateway saw, so that it does not depend on which replicas exist.
    Requests that found no replica (flag UH) are left out: callers repeat them while a model loads, and
    their impatience is no reason to start more GPUs.
    """
    series = _gateway_series(model, namespace, 'response_flags!~".*UH.*"')
    return f"sum(rate({series}[{window}])) * {number(share)} or vector(0)"


def queue(model: str, version: str, engine: EngineMetrics, namespace: str = MODELS_NAMESPACE) -> str:
    """Requests that wait in the queues of this version's replicas, all together.

    Raises ValueError where the engine tells no queue.
    """
    if engine.queue is None:
        raise ValueError(f"{model}: its engine has no queue metric, so it cannot be scaled by its queue")
    return f'sum({engine.queue}{{namespace="{namespace}",app="{model}",version="{version}"}}) or vector(0)'


def beyond(query: str, taken: float) -> str:
    """Give what a total leaves over when so much of it is taken already, and 0 where that is nothing."""
    return query if taken == 0 else f"clamp_min(({query}) - {number(taken)}, 0)"


def _gateway_series(model: str, namespace: str, *matchers: str) -> str:
    service = f'destination_service_name="{model}",destination_service_namespace="{namespace}"'
    return f"istio_requests_total{{{','.join((GATEWAY, service, *matchers))}}}"

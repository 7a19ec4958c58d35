"""The PromQL that decides how many replicas there are. Each result is exactly one element.

A model at zero pods has no series, which means 0 and is said so by `or vector(0)`. One query, `hold`, has no element
where nothing can be said. KEDA's own way to read an empty answer as 0 (`ignoreNullValues`) is off, so that is an error,
on which neither KEDA nor the HorizontalPodAutoscaler takes a replica away.
"""

from collections.abc import Sequence

import promql_parser

from monitoring.engine_metrics import EngineMetrics

GATEWAY = 'reporter="source",source_workload="istio-ingressgateway",source_workload_namespace="istio-ingress"'
"""Selects what the ingress gateway itself saw: calls between pods neither wake nor scale a model."""

MODELS_NAMESPACE = "models"

GATEWAY_TARGETS = 'job="istio-ingress/merged-metrics"'
"""Selects the scrapes of the gateway's pods: the Prometheus operator names a job `namespace/PodMonitor`."""

WINDOW = "2m"
"""Longer than a scrape and a poll of KEDA together, so that no request falls between two polls."""

_WINDOW_AND_SCRAPES = "150s"
"""After so long every pod of the gateway was scraped longer than a window ago, whenever each one's turn is."""
_FRESH = "30s"
"""Two scrapes: how old the last word of a target may be that counts as scraped now."""
_REMEMBERED = "10m"
"""How long ago an engine's gauge must have been there for its absence to be silence."""

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
    an outage of Prometheus, when every series looks new: `up` tells whether it was watching the gateway, and two
    scrapes earlier than the window, since its pods are not scraped at one time. Nor does it count where the scrapes of
    that pod failed before.
    https://github.com/prometheus/prometheus/issues/1673
    """
    series = _gateway_series(model, namespace)
    last, before = f"last_over_time({series}[{window}])", f"last_over_time({series}[{_LOOKBACK}] offset {window})"
    unseen = f"up{{{GATEWAY_TARGETS}}} offset {window} == 0"
    watched = f"group(up{{{GATEWAY_TARGETS}}} offset {_WINDOW_AND_SCRAPES} == 1)"
    new = f"{last} unless on (pod) ({unseen}) and on() {watched}"
    return f"sum(({last} - {before} >= 0) or ({new})) or vector(0)"


def within(query: str, minutes: int) -> str:
    """Give 1 while a query is above 0 now, or was at any whole minute of the last `minutes`, else 0.

    The memory is Prometheus's, not KEDA's (`cooldownPeriod` counts from the last poll that found activity): so it
    survives that KEDA or Prometheus is away. The query must have an element at all times.
    """
    return f"({query}) + max_over_time(({query})[{minutes}m:1m]) > bool 0"


def look_back_seconds(query: str) -> float:
    """Say how long a query remembers that it was above 0: the longest `max_over_time` of a subquery; 0 without one.

    Of any ScaledObject's query, so 0 also for what is no PromQL.
    """
    try:
        expression = promql_parser.parse(query)
    except ValueError:
        return 0.0
    found = 0.0
    waiting: list[object] = [expression]
    while waiting:
        match waiting.pop():
            case promql_parser.Call() as call:
                waiting += call.args
                over = call.args[0] if call.func.name == "max_over_time" else None
                if isinstance(over, promql_parser.SubqueryExpr) and over.range is not None:
                    found = max(found, over.range.total_seconds())
            case promql_parser.BinaryExpr() as binary:
                waiting += [binary.lhs, binary.rhs]
            case promql_parser.AggregateExpr() | promql_parser.ParenExpr() | promql_parser.UnaryExpr() as outer:
                waiting.append(outer.expr)
            case promql_parser.SubqueryExpr() as subquery:
                waiting.append(subquery.expr)
    return found


def asked_for(model: str, engine: EngineMetrics, namespace: str = MODELS_NAMESPACE, window: str = WINDOW) -> str:
    """Count what asks for the model now, in any version: requests that ended at the gateway, and requests under way.

    The same text for every version of a model, so that they wake and sleep together: a canary asleep would
    answer its share of the traffic with 503. What is under way counts beside the gateway's requests,
    because those are booked when a response ends. An engine that tells neither queue nor batch stays awake
    by ended requests alone: there the idle time must be longer than the longest response.
    """
    return " + ".join(
        (f"({gateway_requests(model, namespace, window)})", *_gauges(engine, _of(model, None, namespace)))
    )


def starting(deployments: Sequence[str], seconds: int, namespace: str = MODELS_NAMESPACE) -> str:
    """Count the Deployments with a replica that is starting, for so long at the most.

    A model that loads must not be put to sleep by the idle time, which is often the shorter one. A replica that is
    never ready, since it fails or no GPU is to be had, must not be kept for ever.
    """
    names = "|".join(deployments)
    missing = f'kube_deployment_status_replicas_unavailable{{namespace="{namespace}",deployment=~"{names}"}}'
    # By name, as a new pod of kube-state-metrics brings new series.
    now, before = f"max by (deployment) ({missing})", f"min by (deployment) (min_over_time({missing}[{seconds}s]))"
    return f"count({now} > 0 and {before} == 0) or vector(0)"


def under_way(model: str, version: str, engine: EngineMetrics, namespace: str = MODELS_NAMESPACE) -> str:
    """Requests that this version's replicas run or have waiting, all together.

    Raises ValueError where the engine tells only one of them: what waits is nothing as long as there are enough
    replicas, so it alone does not say that they are needed.
    """
    if engine.queue is None or engine.in_flight is None:
        raise ValueError(f"{model}: its engine needs a metric for requests that wait and one for those that run")
    return " + ".join(_gauges(engine, _of(model, version, namespace)))


def replicas(deployment: str, namespace: str = MODELS_NAMESPACE) -> str:
    """Replicas that the Deployment is to have; no element while kube-state-metrics is silent."""
    return f'max(kube_deployment_spec_replicas{{namespace="{namespace}",deployment="{deployment}"}})'


def at_most(query: str, most: str) -> str:
    """Give the lesser of two queries; no element where the second has none."""
    return f"clamp_max({query}, scalar({most})) and on() {most}"


def hold(
    model: str,
    version: str,
    deployment: str,
    engine: EngineMetrics,
    *,
    minutes: int,
    needed: str | None = None,
    namespace: str = MODELS_NAMESPACE,
) -> str:
    """Replicas that must not go, of those that there are: `needed`, or all of them as long as it is not known.

    It is known once the gateway was scraped in each of the last `minutes`, no pod of the gateway or of the version has
    escaped all scrapes of a window, and no engine is silent that told its gauges before: an overloaded one may answer
    no scrape. So an outage of Prometheus, its restart and its return take nothing away, and wake nothing: of 0 replicas
    all are 0. A pod that ends fails a scrape or two, and tells nothing while it drains: neither may count, since the
    HorizontalPodAutoscaler remembers each number that was proposed for as long as it stabilises.
    """
    there, pods = replicas(deployment, namespace), _of(model, version, namespace)
    targets = f'job="{namespace}/merged-metrics",app="{model}",version="{version}"'
    gateway = f"last_over_time(up{{{GATEWAY_TARGETS}}}"
    scraped = f"max({gateway}[{_FRESH}])) == 1"
    watched = f"count_over_time((max({gateway}[1m])) == 1)[{minutes}m:1m]) >= {minutes}"
    unseen = [
        f"max_over_time(up{{{scrapes}}}[{WINDOW}]) == 0 and up{{{scrapes}}} offset {WINDOW}"
        f" and last_over_time(up{{{scrapes}}}[{_FRESH}])"
        for scrapes in (GATEWAY_TARGETS, targets)
    ]
    if (gauge := engine.in_flight or engine.queue) is not None:
        told = f"last_over_time({gauge}{pods}[{_REMEMBERED}]) unless on (pod) last_over_time({gauge}{pods}[{WINDOW}])"
        ending = f'kube_pod_deletion_timestamp{{namespace="{namespace}"}}'
        unseen.append(f"({told}) and on (pod) last_over_time(up{{{targets}}}[{_FRESH}]) == 1 unless on (pod) {ending}")
    known = f"{scraped} and on() {watched} unless on() ({' or '.join(f'({part})' for part in unseen)})"
    return f"({there} unless on() ({known})) or ({needed or f'{there} * 0'})"


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

    As last told within a window: a scrape may fail, of an engine with much to do more than of others.
    Raises ValueError where the engine tells no queue.
    """
    if engine.queue is None:
        raise ValueError(f"{model}: its engine has no queue metric, so it cannot be scaled by its queue")
    return f"sum({_last(engine.queue, _of(model, version, namespace))}) or vector(0)"


def beyond(query: str, taken: float) -> str:
    """Give what a total leaves over when so much of it is taken already, and 0 where that is nothing."""
    return query if taken == 0 else f"clamp_min(({query}) - {number(taken)}, 0)"


def _of(model: str, version: str | None, namespace: str) -> str:
    """Select the pods of a model, or of one version."""
    which = "" if version is None else f',version="{version}"'
    return f'{{namespace="{namespace}",app="{model}"{which}}}'


def _gauges(engine: EngineMetrics, pods: str) -> list[str]:
    """Total each gauge of requests under way that the engine has."""
    names = (name for name in (engine.queue, engine.in_flight) if name is not None)
    return [f"(sum({_last(name, pods)}) or vector(0))" for name in names]


def _last(gauge: str, pods: str) -> str:
    return f"last_over_time({gauge}{pods}[{WINDOW}])"


def _gateway_series(model: str, namespace: str, *matchers: str) -> str:
    service = f'destination_service_name="{model}",destination_service_namespace="{namespace}"'
    return f"istio_requests_total{{{','.join((GATEWAY, service, *matchers))}}}"

"""The PromQL that decides how many replicas there are. Each result is one element at the most.

A model at zero pods has no series, which means 0 and is said so by `or vector(0)`. Where nothing can be said there is
no element. KEDA's own way to read that as 0 (`ignoreNullValues`) is off, so it is an error, on which neither KEDA nor
the HorizontalPodAutoscaler changes anything.
"""

from collections.abc import Sequence

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
_WATCHED_REACH = "3m"
"""Both together: how far back lies what says that Prometheus has watched."""
_REMEMBERED = "1h"
"""How long ago something was told whose absence is silence."""

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
    new = f"{last} unless on (pod) ({unseen}) and on() {_watched_gateway()}"
    return f"sum(({last} - {before} >= 0) or ({new})) or vector(0)"


def asked_for(model: str, engine: EngineMetrics, namespace: str = MODELS_NAMESPACE, window: str = WINDOW) -> str:
    """Count what asks for the model now, in any version: requests that ended at the gateway, and requests under way.

    The same text for every version of a model, so that they wake and sleep together: a canary asleep would
    answer its share of the traffic with 503. What is under way counts beside the gateway's requests,
    because those are booked when a response ends. An engine that tells neither queue nor batch stays awake
    by ended requests alone: there the idle time must be longer than the longest response.
    """
    return " + ".join((f"({gateway_requests(model, namespace, window)})", *_gauges(engine, model, None, namespace)))


def starting(deployments: Sequence[str], seconds: int, namespace: str = MODELS_NAMESPACE) -> str:
    """Count the Deployments that were scaled up within `seconds` and have a replica that is not ready yet.

    A model that loads must not be put to sleep by the idle time, which is often the shorter one. A replica that is
    never ready, since it fails or no GPU is to be had, must not be kept for ever; neither may one that is lost and
    started anew again and again.
    """
    where = f'{{namespace="{namespace}",deployment=~"{"|".join(deployments)}"}}'
    missing, wanted = f"kube_deployment_status_replicas_unavailable{where}", f"kube_deployment_spec_replicas{where}"
    # By name, as a new pod of kube-state-metrics brings new series.
    rose = f"max by (deployment) ({wanted}) > min by (deployment) (min_over_time({wanted}[{seconds}s]))"
    return f"count(max by (deployment) ({missing}) > 0 and {rose}) or vector(0)"


def under_way(model: str, version: str, engine: EngineMetrics, namespace: str = MODELS_NAMESPACE) -> str:
    """Requests that this version's replicas run or have waiting, all together.

    Raises ValueError where the engine tells only one of them: what waits is nothing as long as there are enough
    replicas, so it alone does not say that they are needed.
    """
    if engine.queue is None or engine.in_flight is None:
        raise ValueError(f"{model}: its engine needs a metric for requests that wait and one for those that run")
    return " + ".join(_gauges(engine, model, version, namespace))


def replicas(model: str, version: str, deployment: str, namespace: str = MODELS_NAMESPACE) -> str:
    """Replicas that the Deployment is to have.

    While kube-state-metrics is silent: the number that it told last, for as short a time as no replica goes. Where
    Prometheus knows no pod of the version, and has watched the gateway meanwhile, there are none. Else no element.
    """
    told = f'kube_deployment_spec_replicas{{namespace="{namespace}",deployment="{deployment}"}}'
    pods = f"last_over_time(up{{{_targets(model, version, namespace)}}}[{_WATCHED_REACH}])"
    return (
        f"max({told}) or max(last_over_time({told}[{_LOOKBACK}])) and on() {pods}"
        f" or 0 * {_watched_gateway()} unless on() {pods}"
    )


def asked(query: str) -> str:
    """Give 1 where a query is above 0, else 0; no element while the gateway is not scraped."""
    return f"({query}) > bool 0 and on() max(last_over_time(up{{{GATEWAY_TARGETS}}}[{_FRESH}])) == 1"


def watched(series: str, minutes: int, interval_seconds: int) -> str:
    """Give an element where a recorded series is there, and was for all of the last `minutes` but one."""
    return f"{series} and count_over_time({series}[{minutes}m]) >= {(minutes - 1) * 60 // interval_seconds}"


def unseen(model: str, version: str, deployment: str, engine: EngineMetrics, namespace: str = MODELS_NAMESPACE) -> str:
    """Count the pods of the gateway and of the version of which nobody can say what they do.

    One that has escaped all scrapes of a window, and one whose engine tells its gauges no more: an overloaded one may
    answer no scrape. A pod that was never scraped has taken no request, unless it is ready and Prometheus has not found
    it. A pod that ends fails a scrape or two, and tells nothing while it drains: neither may count, since the
    HorizontalPodAutoscaler remembers each number that was proposed for as long as it stabilises.
    """
    pods, targets = _of(model, version, namespace), _targets(model, version, namespace)
    parts = [
        f"max_over_time(up{{{scrapes}}}[{WINDOW}]) == 0 and last_over_time(up{{{scrapes}}}[{_FRESH}])"
        f" and max_over_time(up{{{scrapes}}}[{_REMEMBERED}]) == 1"
        for scrapes in (GATEWAY_TARGETS, targets)
    ]
    ready = f'namespace="{namespace}",condition="true",pod=~"{deployment}-[a-z0-9]+-[a-z0-9]+"'
    parts.append(f"kube_pod_status_ready{{{ready}}} == 1 unless on (pod) max_over_time(up{{{targets}}}[{WINDOW}]) == 1")
    if (gauge := engine.in_flight or engine.queue) is not None:
        told = f"last_over_time({gauge}{pods}[{_REMEMBERED}]) unless on (pod) last_over_time({gauge}{pods}[{WINDOW}])"
        ending = f'kube_pod_deletion_timestamp{{namespace="{namespace}"}}'
        parts.append(f"({told}) and on (pod) last_over_time(up{{{targets}}}[{_FRESH}]) == 1 unless on (pod) {ending}")
    return f"count({' or '.join(f'({part})' for part in parts)}) or vector(0)"


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
    return f"sum({_last(engine.queue, model, version, namespace)}) or vector(0)"


def beyond(query: str, taken: float) -> str:
    """Give what a total leaves over when so much of it is taken already, and 0 where that is nothing."""
    return query if taken == 0 else f"clamp_min(({query}) - {number(taken)}, 0)"


def _watched_gateway() -> str:
    """Give 1 where Prometheus has scraped the gateway for longer than a window.

    Within two scrapes, as an older sample counts for five minutes: one of before an outage.
    """
    return f"group(last_over_time(up{{{GATEWAY_TARGETS}}}[{_FRESH}] offset {_WINDOW_AND_SCRAPES}) == 1)"


def _targets(model: str, version: str | None, namespace: str) -> str:
    """Select the scrapes of a model's pods, or of one version's: a job is `namespace/PodMonitor`."""
    return f'job="{namespace}/merged-metrics",{_pods(model, version)}'


def _of(model: str, version: str | None, namespace: str) -> str:
    """Select what the pods of a model tell, or those of one version."""
    return f'{{namespace="{namespace}",{_pods(model, version)}}}'


def _pods(model: str, version: str | None) -> str:
    return f'app="{model}"' + ("" if version is None else f',version="{version}"')


def _gauges(engine: EngineMetrics, model: str, version: str | None, namespace: str) -> list[str]:
    """Total each gauge of requests under way that the engine has."""
    names = (name for name in (engine.queue, engine.in_flight) if name is not None)
    return [f"(sum({_last(name, model, version, namespace)}) or vector(0))" for name in names]


def _last(gauge: str, model: str, version: str | None, namespace: str) -> str:
    """Give what each pod told last, as long as it is there: of one that is gone others have the requests now."""
    pods, targets = _of(model, version, namespace), _targets(model, version, namespace)
    return f"last_over_time({gauge}{pods}[{WINDOW}]) and on (pod) up{{{targets}}}"


def _gateway_series(model: str, namespace: str, *matchers: str) -> str:
    service = f'destination_service_name="{model}",destination_service_namespace="{namespace}"'
    return f"istio_requests_total{{{','.join((GATEWAY, service, *matchers))}}}"

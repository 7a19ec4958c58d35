"""Recording rules that name the series of every engine alike, so that a change of engine changes no reader.

`llm:<what>_<unit>` with labels namespace, model, version and pod. Counters stay counters: the reader
chooses its own window with `rate`.
"""

from collections.abc import Sequence

from monitoring.queries import MODELS_NAMESPACE, number
from monitoring.served_model import ServedModel


def rule_groups(models: Sequence[ServedModel], namespace: str = MODELS_NAMESPACE) -> list[dict[str, object]]:
    """Give `spec.groups` of a PrometheusRule: one group a model, in the order of `models`."""
    return [
        {"name": f"llm-{model.name}", "rules": [*_measured(model, namespace), *_wanted(model, namespace)]}
        for model in models
    ]


def _measured(model: ServedModel, namespace: str) -> list[dict[str, object]]:
    engine = model.engine
    plain = {
        "llm:requests_total": engine.requests,
        "llm:request_failures_total": engine.failures,
        "llm:waiting_requests": engine.queue,
        "llm:running_requests": engine.in_flight,
        "llm:prompt_tokens_total": engine.prompt_tokens,
        "llm:generated_tokens_total": engine.generated_tokens,
    }
    histograms = {
        "llm:request_duration_seconds_bucket": engine.latency_bucket,
        "llm:queue_duration_seconds_bucket": engine.queue_time_bucket,
        "llm:token_duration_seconds_bucket": engine.token_time_bucket,
    }
    # Summed within one pod only: its series restart together, so `rate` of the sum stays right.
    return [
        {
            "record": record,
            "expr": f'sum by ({labels}) ({series}{{namespace="{namespace}",app="{model.name}"}})',
            "labels": {"model": model.name},
        }
        for labels, names in (("namespace, pod, version", plain), ("namespace, pod, version, le", histograms))
        for record, series in names.items()
        if series is not None
    ]


def _wanted(model: ServedModel, namespace: str) -> list[dict[str, object]]:
    """Give what the settings ask for as series: there at zero pods, to be drawn beside what is measured."""
    wanted: list[tuple[str, float, dict[str, str]]] = [
        ("llm:traffic_share_ratio", version.share, {"version": version.name}) for version in model.versions
    ]
    if model.p95_seconds is not None:
        wanted.append(("llm:slo_p95_seconds", model.p95_seconds, {}))
    if model.availability_ratio is not None:
        wanted.append(("llm:slo_availability_ratio", model.availability_ratio, {}))
    labels = {"namespace": namespace, "model": model.name}
    return [{"record": name, "expr": f"vector({number(value)})", "labels": labels | own} for name, value, own in wanted]

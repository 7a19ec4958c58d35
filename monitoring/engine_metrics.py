"""The names that an engine gives to its series: the one place that changes when an engine changes."""

import re
from dataclasses import dataclass, fields

METRIC_NAME = r"(?!llm:)[a-zA-Z_:][a-zA-Z0-9_:]*"
"""What a metric may be called. Colons are for recording rules, but vLLM uses them all the same; `llm:` is for ours.

https://prometheus.io/docs/concepts/data_model/
"""
WORDS = frozenset(
    ("anchored", "atan2", "bool", "group_left", "group_right", "ignoring", "inf", "nan", "on", "smoothed")
)
"""What PromQL reads as something else than a name, in whatever case, wherever it stands."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineMetrics:
    """Series names of one engine; None where it has none. Durations are in seconds.

    Raises ValueError for a text that is no metric name: it would change the query around it.
    """

    requests: str | None = None
    """Counter: requests that ended, whether well or not."""
    failures: str | None = None
    """Counter: requests that failed."""
    queue: str | None = None
    """Gauge: requests that wait for a batch."""
    in_flight: str | None = None
    """Gauge: requests in the running batch."""
    latency_bucket: str | None = None
    """Histogram, by its `_bucket` name: whole duration of a request inside the engine."""
    queue_time_bucket: str | None = None
    """Histogram, by its `_bucket` name: how long a request waited for a batch."""
    token_time_bucket: str | None = None
    """Histogram, by its `_bucket` name: mean time for one generated token of a request."""
    prompt_tokens: str | None = None
    """Counter: tokens that came in."""
    generated_tokens: str | None = None
    """Counter: tokens that went out."""

    def __post_init__(self) -> None:
        """Refuse what is no metric name, all of it at once."""
        names = {field.name: getattr(self, field.name) for field in fields(self)}
        wrong = {key: name for key, name in names.items() if name is not None and not _is_name(name)}
        if wrong:
            raise ValueError(f"not the name of a Prometheus metric ({METRIC_NAME}): {wrong}")


def _is_name(text: str) -> bool:
    return re.fullmatch(METRIC_NAME, text) is not None and text.lower() not in WORDS


TGI = EngineMetrics(
    requests="tgi_request_count",
    failures="tgi_request_failure",
    queue="tgi_queue_size",
    in_flight="tgi_batch_current_size",
    latency_bucket="tgi_request_duration_bucket",
    queue_time_bucket="tgi_request_queue_duration_bucket",
    token_time_bucket="tgi_request_mean_time_per_token_duration_bucket",  # noqa: S106 (a token of text)
    # TGI books tokens as histograms over requests, at the end of each; their sums count tokens.
    prompt_tokens="tgi_request_input_length_sum",
    generated_tokens="tgi_request_generated_tokens_sum",
)
"""Text Generation Inference 3.3: counters without `_total`, and no series at all before the first request.

https://github.com/huggingface/text-generation-inference/blob/v3.3.7/docs/source/reference/metrics.md
"""

VLLM = EngineMetrics(
    # By the reason why they finished, `error` among them. A request whose caller hung up is not counted.
    requests="vllm:request_success_total",
    queue="vllm:num_requests_waiting",
    in_flight="vllm:num_requests_running",
    latency_bucket="vllm:e2e_request_latency_seconds_bucket",
    queue_time_bucket="vllm:request_queue_time_seconds_bucket",
    token_time_bucket="vllm:request_time_per_output_token_seconds_bucket",  # noqa: S106 (a token of text)
    prompt_tokens="vllm:prompt_tokens_total",
    generated_tokens="vllm:generation_tokens_total",
)
"""vLLM 0.31: every series is there before the first request. Failures have a label, and no name of their own.

https://github.com/vllm-project/vllm/blob/v0.31.0/vllm/v1/metrics/loggers.py
"""

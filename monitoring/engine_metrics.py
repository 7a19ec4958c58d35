"""The names that an engine gives to its series: the one place that changes when an engine changes."""

import re
from dataclasses import dataclass, fields

METRIC_NAME = r"[a-zA-Z_][a-zA-Z0-9_]*"
"""What a scraped metric may be called; colons are for recording rules.

https://prometheus.io/docs/concepts/data_model/
"""


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
        wrong = {key: name for key, name in names.items() if name is not None and not re.fullmatch(METRIC_NAME, name)}
        if wrong:
            raise ValueError(f"not the name of a Prometheus metric ({METRIC_NAME}): {wrong}")


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

"""Rules for stopping: no generation may be longer than GKE waits for."""

from collections.abc import Iterator

from planning.drain import MOST_ENGINE_SECONDS
from planning.given import Given
from planning.refusal import Problem
from planning.schema import Model


def longest(given: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse limits under which an answer takes longer than any node waits, unless somebody says what is enough."""
    drain = given.drain(model)
    seconds = drain.longest_generation_seconds
    if model.drain_seconds is None and seconds is not None and seconds > MOST_ENGINE_SECONDS:
        yield Problem(
            key=f"{key}.batching.maxTotalTokens",
            reason=f"an answer may have {drain.answer_tokens:,} tokens, which at {model.milliseconds_per_token:g} ms "
            f"take {seconds:,.0f} seconds, and GKE waits {MOST_ENGINE_SECONDS} for a pod that stops",
            fix=f"at most {int(MOST_ENGINE_SECONDS * 1000 / (model.milliseconds_per_token or 1))}, "
            "or say with drainSeconds what is enough",
        )

"""Rules for stopping: no generation may be longer than GKE waits for."""

from collections.abc import Iterator

from planning.checks.engine import LEAST_QUESTION
from planning.drain import MOST_ENGINE_SECONDS
from planning.given import Given
from planning.refusal import Problem
from planning.schema import Model


def longest(given: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse limits under which an answer takes longer than any node waits, unless somebody says what is enough."""
    drain = given.drain(model)
    seconds, each = drain.longest_generation_seconds, drain.milliseconds_per_token
    if model.drain_seconds is not None:
        if model.drain_seconds > MOST_ENGINE_SECONDS:
            yield Problem(
                key=f"{key}.drainSeconds",
                reason="with the time before and after it, that is longer than the hour that GKE waits for a pod",
                fix=f"at most {MOST_ENGINE_SECONDS}",
                value=str(model.drain_seconds),
            )
    elif seconds is not None and each is not None and seconds > MOST_ENGINE_SECONDS:
        most = int(MOST_ENGINE_SECONDS * 1000 / each)
        lower = f"maxTotalTokens at most {most}, or " if most > LEAST_QUESTION else ""
        yield Problem(
            key=f"{key}.millisecondsPerToken",
            reason=f"an answer may have {drain.answer_tokens:,} tokens, which at {each:g} ms take {seconds:,.0f} "
            f"seconds, and GKE leaves {MOST_ENGINE_SECONDS} to an engine that stops",
            fix=f"{lower}say with drainSeconds what is enough",
            value=f"{each:g}",
        )

"""How long a replica may take to stop: two budgets, and what they leave to a generation.

Voluntary (rollout, scale-down, node upgrade): Kubernetes waits for the pod's grace, so the longest generation sets it.
Involuntary (a spot node is called back): Google's window is all there is, whatever the pod asks for. The engine's
timeout is never cut to that window: the kubelet cuts there anyway, and a short timeout would cut every rollout too.
"""

import math
from dataclasses import dataclass, replace

from planning.schema import Capacity, Model, Stack

PRE_STOP_SECONDS = 5
"""Time for the gateway to stop sending before the engine closes its port.

It comes out of a spot node's notice, where an ordinary pod has 15 seconds at the least, so it stays short.
"""
SPOT_CRITICAL_SECONDS = 15
"""The part of a spot node's shutdown that system pods may use, after all others. Google's own split."""
EXIT_SECONDS = 30
"""Time after the last generation for the engine's shards to exit, and then the sidecar, which stops after them."""
UNSTATED_ENGINE_SECONDS = 90
"""For an engine whose longest generation nobody can tell: TGI's own default."""
MOST_ENGINE_SECONDS = 3600 - PRE_STOP_SECONDS - EXIT_SECONDS
"""GKE waits an hour for a pod when it drains a node, the time before and after the engine's own included.

https://docs.cloud.google.com/kubernetes-engine/docs/concepts/node-pool-upgrade-strategies
"""
LEAST_GATEWAY_SECONDS = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Drain:
    """The two budgets of one model, in seconds. None is unknown, and for the spot window: no spot node is used."""

    answer_tokens: int | None
    """The longest answer that the token limits allow."""
    milliseconds_per_token: float | None
    engine_seconds: int
    """The engine's own timeout: how long it goes on with what has begun."""
    spot_window_seconds: int | None
    """From the notice until the kubelet kills what is not a system pod."""

    @property
    def longest_generation_seconds(self) -> float | None:
        """How long the longest answer takes."""
        if self.answer_tokens is None or self.milliseconds_per_token is None:
            return None
        return self.answer_tokens * self.milliseconds_per_token / 1000

    @property
    def grace_seconds(self) -> int:
        """The pod's: from the order to stop until Kubernetes kills it."""
        return PRE_STOP_SECONDS + self.engine_seconds + EXIT_SECONDS

    @property
    def spot_generation_seconds(self) -> int | None:
        """What a called-back spot node leaves to a generation that has just begun."""
        return None if self.spot_window_seconds is None else self.spot_window_seconds - PRE_STOP_SECONDS

    @property
    def spot_answer_tokens(self) -> int | None:
        """The longest answer that survives a called-back spot node from its first token on."""
        return self._tokens_in(self.spot_generation_seconds)

    @property
    def voluntary_answer_tokens(self) -> int | None:
        """The longest answer that survives a rollout from its first token on."""
        return self._tokens_in(self.engine_seconds)

    def _tokens_in(self, seconds: int | None) -> int | None:
        if seconds is None or self.milliseconds_per_token is None:
            return None
        return int(seconds * 1000 / self.milliseconds_per_token)


def drain_of(stack: Stack, model: Model, *, total_tokens: int | None) -> Drain:
    """Decide a model's budgets. `total_tokens` is the most that a request may have, question and answer together."""
    answer = None if total_tokens is None else max(total_tokens - 1, 1)
    on_spot = stack.capacity is not Capacity.ON_DEMAND
    drain = Drain(
        answer_tokens=answer,
        milliseconds_per_token=model.milliseconds_per_token,
        engine_seconds=UNSTATED_ENGINE_SECONDS,
        spot_window_seconds=stack.spot_shutdown_grace_seconds - SPOT_CRITICAL_SECONDS if on_spot else None,
    )
    longest = drain.longest_generation_seconds
    if model.drain_seconds is not None:
        return replace(drain, engine_seconds=model.drain_seconds)
    return drain if longest is None else replace(drain, engine_seconds=math.ceil(longest))

"""What the checks judge: the declared stack, and what was looked up for it before."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TypedDict

from catalog.architectures import Architecture, architecture_of
from catalog.gpu_machines import GpuMachine, gpu_machines, machines_with
from planning.drain import Drain, drain_of
from planning.memory import Fit, fit, shard_problem, smallest_machines
from planning.schema import Batching, EngineName, Model, Stack, Version
from planning.serving import merged
from planning.support import Part

VLLM_MEMORY_SHARE = 0.92
"""Its default for `--gpu-memory-utilization`, config/cache.py of vllm 0.31.0 and 0.33.0 on PyPI."""
TGI_WIGGLE_ROOM = "0.90"
"""https://github.com/huggingface/text-generation-inference/blob/v3.3.7/server/text_generation_server/models/globals.py"""


def longest_request(limits: Batching) -> int | None:
    """Tokens that the limits let one request have, question and answer together; None without a limit."""
    question = None if limits.max_input_tokens is None else limits.max_input_tokens + 1
    return max((tokens for tokens in (limits.max_total_tokens, question) if tokens is not None), default=None)


def share_of(text: str) -> float:
    """Read a share of the GPU's memory; ValueError unless it is above 0 and at most 1."""
    if not re.fullmatch(r"\d*\.?\d+", text):
        raise ValueError(f"{text} is no number")
    share = float(text)
    if not 0 < share <= 1:
        raise ValueError(f"{text} is not above 0 and at most 1")
    return share


class MemoryArguments(TypedDict):
    """What `planning.memory.fit` takes beside the architecture and the GPUs."""

    quantize: str | None
    memory_fraction: float
    key_value_bytes: int
    least_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """A stack with the engines' images, and the architectures of the `config.json` files that its models name."""

    stack: Stack
    images: Mapping[EngineName, str]
    architectures: Mapping[str, Architecture | None] = field(default_factory=dict)
    """By the path that stands in the stack; None for a file that could not be read, which is a problem already."""
    secret_keys: frozenset[str] = frozenset()
    """Configuration keys whose values must not be shown."""
    parts: tuple[Part, ...] = ()
    """What the platform is made of, with its support."""
    today: date = date.min
    """The day on which support is looked at; the first of all days, and nothing has ended."""

    def architecture(self, model: Model) -> Architecture | None:
        """Find the shape of a model's network; None is unknown."""
        named = model.architecture or model.repository
        if named is None or model.engine is EngineName.CUSTOM:
            return None
        return self.architectures.get(named) or architecture_of(named)

    def machine(self, model: Model) -> GpuMachine | None:
        """Find the machine with exactly the GPUs of one replica in the stack's region; None is none."""
        found = machines_with(model.gpu.type, model.gpu.tensor_parallel, self.stack.region)
        return found[0] if found else None

    def image(self, model: Model, version: Version) -> str | None:
        """Find what a version runs, as it is written; None where nobody wrote it."""
        return version.image or model.image or self.images.get(model.engine)

    def replicates_heads(self, model: Model) -> bool:
        """Say whether the engine gives the same key-value head to several shards where there are too few heads."""
        return model.engine is EngineName.VLLM

    def least_tokens(self, model: Model, version: Version) -> int:
        """Tokens of KV cache without which the engine does not start: its longest request, TGI's batch of questions."""
        limits = merged(model.batching, version.batching)
        batch = limits.max_batch_prefill_tokens if model.engine is EngineName.TGI else None
        return max(longest_request(limits) or 1, batch or 1)

    def fit(self, model: Model, version: Version) -> Fit | None:
        """Put a version into its GPUs; None where its architecture or weights are unknown."""
        known = self.architecture(model)
        if known is None or shard_problem(
            known, model.gpu.tensor_parallel, replicated_heads=self.replicates_heads(model)
        ):
            return None
        memory = machines_with(model.gpu.type)[0].gpu_memory_gib
        try:
            arguments = self._memory_arguments(model, version)
            return fit(known, gpus=model.gpu.tensor_parallel, gpu_memory_gb=memory, **arguments)
        except ValueError:
            return None

    def holding(self, model: Model, version: Version, known: Architecture) -> list[GpuMachine]:
        """Find the machines that hold a version, the smallest first."""
        return smallest_machines(
            known,
            gpu_machines(),
            replicated_heads=self.replicates_heads(model),
            **self._memory_arguments(model, version),
        )

    def _memory_arguments(self, model: Model, version: Version) -> MemoryArguments:
        share, key_value_bytes = VLLM_MEMORY_SHARE, 2
        if model.engine is EngineName.TGI:
            environment = model.environment | version.environment
            share = share_of(environment.get("TGI_WIGGLE_ROOM", TGI_WIGGLE_ROOM))
            share *= share_of(environment.get("CUDA_MEMORY_FRACTION", "1"))
            key_value_bytes = 1 if "KV_CACHE_DTYPE" in environment else 2
        return {
            "quantize": model.quantize,
            "memory_fraction": share,
            "key_value_bytes": key_value_bytes,
            "least_tokens": self.least_tokens(model, version),
        }

    def drain(self, model: Model) -> Drain:
        """Decide how long a replica may take to stop, by the longest request that any of its versions allows."""
        longest = [self._longest_request(model, version) for version in model.rollout.versions]
        known = [tokens for tokens in longest if tokens is not None]
        return drain_of(self.stack, model, total_tokens=max(known) if len(known) == len(longest) else None)

    def _longest_request(self, model: Model, version: Version) -> int | None:
        """Tokens of one request, as limited, else as far as the model's context goes."""
        if (limit := merged(model.batching, version.batching).max_total_tokens) is not None:
            return limit
        # Not the tokens of KV cache: those are a floor, and TGI may find more.
        known = self.architecture(model)
        return None if known is None else known.maximum_positions

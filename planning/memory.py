"""Whether a model fits its GPUs, and how many tokens of keys and values (the KV cache) the rest of the memory holds.

A floor: a GB is 10^9 bytes where a card has about 7 % more. docs/memory.md explains it; the engine's own log, when it
has warmed up, is the truth. What is free after the weights, and the share of the memory that TGI takes:
https://github.com/huggingface/text-generation-inference/blob/v3.3.7/server/text_generation_server/models/flash_causal_lm.py
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from catalog.architectures import Architecture, Quantization
from catalog.gpu_machines import GpuMachine

MEMORY_FRACTION: Final = 0.9
"""TGI's share of a card, TGI_WIGGLE_ROOM x CUDA_MEMORY_FRACTION; vLLM's is planning/given.py's."""
RESERVED_BYTES_PER_SHARD: Final = 1_500_000_000
"""For what a batch of questions needs while it is computed, and for CUDA graphs."""
TIGHT: Final = 0.1
"""A smaller part of the usable memory than this left for the KV cache: a longer batch or a new version may not fit."""

_QUANTIZED_WHILE_LOADING: Final = {
    "eetq": Quantization(method="eetq", bits=8, group_size=None),
    "fp8": Quantization(method="fp8", bits=8, group_size=None),
    "bitsandbytes-nf4": Quantization(method="bitsandbytes-nf4", bits=4 + 8 / 64, group_size=None),
    "bitsandbytes-fp4": Quantization(method="bitsandbytes-fp4", bits=4 + 8 / 64, group_size=None),
}
"""Of bitsandbytes, blocks of 64 weights have a scale that is quantised too, to 8 bits.

https://github.com/huggingface/text-generation-inference/tree/v3.3.7/server/text_generation_server/layers
"""
_QUANTIZED_BEFORE: Final = {
    method: Quantization(method=method, bits=4, group_size=128) for method in ("awq", "gptq", "marlin")
}
"""Of a repository whose config.json is not at hand."""


class Verdict(StrEnum):
    """Whether a model fits its GPUs."""

    FITS = "fits"
    TIGHT = "tight"
    DOES_NOT_FIT = "does not fit"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """A model in the memory of one replica's GPUs, all of them together. In bytes and tokens."""

    verdict: Verdict
    gpus: int
    gpu_memory_gb: int
    memory_fraction: float
    usable_bytes: int
    weights_bytes: int
    reserved_bytes: int
    key_value_bytes_per_token: int
    key_value_tokens: int

    @property
    def free_bytes(self) -> int:
        """What is left for the KV cache; below zero where the weights alone are too large."""
        return self.usable_bytes - self.weights_bytes - self.reserved_bytes

    def concurrent_requests(self, tokens: int) -> int:
        """Count the requests of so many tokens, question and answer together, that the KV cache holds at once."""
        return self.key_value_tokens // tokens

    def arithmetic(self) -> str:
        """Write the sum as a person would."""
        sum_ = (
            f"{self.gpus} x {self.gpu_memory_gb} GB x {self.memory_fraction:g} = {_gb(self.usable_bytes)}, "
            f"less weights {_gb(self.weights_bytes)} and {_gb(self.reserved_bytes)} to compute"
        )
        if self.free_bytes <= 0:
            return f"{sum_} leaves nothing: {_gb(-self.free_bytes)} short"
        tokens, size = _tokens(self.key_value_tokens), f"{self.key_value_bytes_per_token / 1024:g} KiB"
        return f"{sum_} = {_gb(self.free_bytes)}: {tokens} tokens of KV cache of {size}"


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f}".removesuffix(".0") + " GB"


def _tokens(count: int) -> str:
    return f"{round(count / 1000)}k" if count >= 10_000 else f"{count:,}"


def fit(
    architecture: Architecture,
    *,
    gpus: int,
    gpu_memory_gb: int,
    quantize: str | None = None,
    memory_fraction: float = MEMORY_FRACTION,
    key_value_bytes: int = 2,
    least_tokens: int = 1,
) -> Fit:
    """Put a model into so many cards, a shard on each. `key_value_bytes` is 1 for a KV cache in fp8.

    `least_tokens` is what the longest request may need. Raises ValueError where the size of a weight is not known.
    """
    usable = int(gpus * gpu_memory_gb * 1_000_000_000 * memory_fraction)
    reserved = gpus * RESERVED_BYTES_PER_SHARD
    weights = weights_bytes(architecture, quantize)
    # An engine that has fewer heads than shards keeps one on each.
    heads = max(architecture.key_value_heads, gpus)
    per_token = 2 * architecture.layers * heads * architecture.head_dim * key_value_bytes
    free = usable - weights - reserved
    tokens = max(0, free // per_token)
    if tokens < max(1, least_tokens):
        verdict = Verdict.DOES_NOT_FIT
    else:
        verdict = Verdict.TIGHT if free < TIGHT * usable else Verdict.FITS
    return Fit(
        verdict=verdict,
        gpus=gpus,
        gpu_memory_gb=gpu_memory_gb,
        memory_fraction=memory_fraction,
        usable_bytes=usable,
        weights_bytes=weights,
        reserved_bytes=reserved,
        key_value_bytes_per_token=per_token,
        key_value_tokens=tokens,
    )


def weights_bytes(architecture: Architecture, quantize: str | None) -> int:
    """Count the bytes of all weights on the GPUs. Raises ValueError where the size of a weight is not known."""
    stored = _quantization(architecture, quantize)
    if stored is None:
        return 2 * architecture.parameters
    bits = stored.bits
    if stored.group_size is not None:
        # A scale of 16 bits, and a zero point as wide as a weight.
        bits += (16 + stored.bits) / stored.group_size
    linear = architecture.linear_parameters
    return int(linear * bits / 8) + 2 * (architecture.parameters - linear)


def _quantization(architecture: Architecture, quantize: str | None) -> Quantization | None:
    stored = architecture.quantization
    if quantize is None or (stored is not None and quantize not in _QUANTIZED_WHILE_LOADING):
        return stored
    if stored is not None and not quantize.startswith(stored.method):
        raise ValueError(f"{architecture.name} is quantised by {stored.method} already: {quantize} needs 16 bits")
    known = stored or (_QUANTIZED_WHILE_LOADING | _QUANTIZED_BEFORE).get(quantize)
    if known is None:
        raise ValueError(f"the bits of {quantize} are in the repository's config.json, which was not given")
    return known


def download_bytes(architecture: Architecture, quantize: str | None) -> int:
    """Count the bytes to fetch, at least: 16 bits a weight where it is quantised while loading.

    Raises ValueError where the size of a weight is not known.
    """
    return weights_bytes(architecture, None if quantize in _QUANTIZED_WHILE_LOADING else quantize)


def shard_problem(architecture: Architecture, shards: int, *, replicated_heads: bool = False) -> str | None:
    """Say why a model cannot be divided among so many shards; None where it can.

    `replicated_heads`: the engine gives one key-value head to several shards where there are fewer, as vLLM does.
    """
    heads = architecture.key_value_heads
    uneven = [
        f"{count} {what}"
        for count, what, even in (
            (architecture.attention_heads, "attention heads", architecture.attention_heads % shards == 0),
            (
                heads,
                "key-value heads",
                heads % shards == 0 or (replicated_heads and shards > heads and shards % heads == 0),
            ),
            (
                architecture.intermediate_size,
                "rows of the feed-forward network",
                architecture.intermediate_size % shards == 0,
            ),
        )
        if not even
    ]
    return f"{' and '.join(uneven)} of {architecture.name} cannot be divided by {shards} shards" if uneven else None


def smallest_machines(
    architecture: Architecture,
    machines: Iterable[GpuMachine],
    *,
    quantize: str | None = None,
    memory_fraction: float = MEMORY_FRACTION,
    key_value_bytes: int = 2,
    least_tokens: int = 1,
    replicated_heads: bool = False,
) -> list[GpuMachine]:
    """Find the machines that hold a model well, one shard a card: least GPU memory first, then the cheapest.

    Raises ValueError where the size of a weight is not known.
    """
    holding = [
        machine
        for machine in machines
        if shard_problem(architecture, machine.gpus, replicated_heads=replicated_heads) is None
        and fit(
            architecture,
            gpus=machine.gpus,
            gpu_memory_gb=machine.gpu_memory_gib,
            quantize=quantize,
            memory_fraction=memory_fraction,
            key_value_bytes=key_value_bytes,
            least_tokens=least_tokens,
        ).verdict
        is Verdict.FITS
    ]
    return sorted(
        holding,
        key=lambda machine: (
            machine.gpus * machine.gpu_memory_gib,
            float("inf") if machine.on_demand_usd_per_hour is None else machine.on_demand_usd_per_hour,
            machine.region,
        ),
    )

"""How long steps take, held against what others measured."""

from dataclasses import replace

import pytest

from catalog.architectures import Architecture, architecture_of
from catalog.gpu_machines import GpuType
from planning.simulate.arrivals import Request
from planning.simulate.engine import Limits, Replica, Timing
from planning.simulate.timing import active_parameters, timing_of


def known(name: str) -> Architecture:
    found = architecture_of(name)
    assert found is not None
    return found


LLAMA_2 = {
    # Llama 2's shapes: https://huggingface.co/meta-llama/Llama-2-7b-hf, of 70B that of Llama 3 with another vocabulary.
    "7b": replace(
        known("llama-3.1-8b"),
        key_value_heads=32,
        intermediate_size=11008,
        vocabulary_size=32000,
        maximum_positions=4096,
    ),
    "70b": replace(known("llama-3.1-70b"), vocabulary_size=32000, maximum_positions=4096),
}


@pytest.mark.parametrize(
    ("model", "gpus", "tokens_per_second"),
    [
        ("7b", 1, 104.9),
        ("7b", 2, 168.84),
        ("7b", 4, 254.02),
        ("7b", 8, 328.43),
        ("70b", 2, 21.32),
        ("70b", 4, 38.01),
        ("70b", 8, 62.50),
    ],
)
def test_one_sequence_takes_what_gpt_fast_measured(model: str, gpus: int, tokens_per_second: float) -> None:
    timing = timing_of(LLAMA_2[model], gpu_type=GpuType.A100_80GB, gpus=gpus)
    # Its prompt has 5 tokens.
    step = timing.step + 5 * timing.step_a_cached_token
    assert step == pytest.approx(1 / tokens_per_second, rel=0.20)


def test_the_shapes_of_llama_2_are_right() -> None:
    assert LLAMA_2["7b"].parameters == 6_738_415_616
    assert LLAMA_2["70b"].parameters == 68_976_648_192


def throughput(timing: Timing, users: int) -> float:
    """Tokens a second with so many callers who each ask again at once."""
    limits = Limits(sequences=10**6, cached_tokens=10**9, prefill_tokens=10**9, requests=10**6)
    replica = Replica(timing, limits)
    for number in range(users):
        replica.offer(Request(at=0.0, input_tokens=200 + number % 7, output_tokens=200 + 5 * (number % 40)), 0.0)
    tokens, now = 0, 0.0
    while now < 120:
        now = replica.next_at
        for served in replica.advance():
            tokens += served.request.output_tokens
            replica.offer(served.request, now)
    return tokens / now


def test_a_hundred_users_of_8b_get_what_bentoml_measured() -> None:
    """vLLM 2300 to 2500 tokens a second on one A100 80 GB, TGI similar; how long their questions were is not said.

    https://www.bentoml.com/blog/benchmarking-llm-inference-backends
    """
    found = throughput(timing_of(known("llama-3.1-8b"), gpu_type=GpuType.A100_80GB, gpus=1), users=100)
    assert 2300 / 1.25 < found < 2500 * 1.25


def test_of_experts_only_those_chosen_count() -> None:
    # 12.9 billion of 46.7: https://mistral.ai/news/mixtral-of-experts
    assert active_parameters(known("mixtral-8x7b")) == pytest.approx(12.9e9, rel=0.01)
    assert active_parameters(known("llama-3.1-8b")) == known("llama-3.1-8b").parameters


def test_few_bits_are_read_faster_and_computed_no_faster() -> None:
    full = timing_of(known("llama-3.3-70b"), gpu_type=GpuType.A100_80GB, gpus=4)
    awq = timing_of(known("llama-3.3-70b"), gpu_type=GpuType.A100_80GB, gpus=4, quantize="awq")
    assert awq.step < full.step / 2
    assert awq.step_a_sequence == full.step_a_sequence
    slower = timing_of(known("llama-3.3-70b"), gpu_type=GpuType.A100_40GB, gpus=4)
    assert slower.step > full.step

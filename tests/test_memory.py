"""Whether a model fits its GPUs: hand figures and published ones, and what must hold for any network."""

import dataclasses
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.architectures import (
    FAMILIES,
    Architecture,
    Quantization,
    architecture_of,
    architectures,
    from_hugging_face,
)
from catalog.gpu_machines import gpu_machines
from planning.memory import Fit, Verdict, download_bytes, fit, shard_problem, smallest_machines, weights_bytes
from scripts.memory_table import QUANTISED
from scripts.tables import DOCS

# By GPUs and GB of each, done by hand from the shapes in Lightning-AI/litgpt at commit 26857050, litgpt/config.py:
# (GPUs x GB x 0.9 - weights - 1.5 GB x GPUs) / KV cache of a token, with GB = 10^9.
KEY_VALUE_TOKENS = {
    "llama-3.1-8b": {(1, 80): 415_000, (2, 40): 404_000},
    "llama-3.1-70b": {(4, 80): 430_000, (8, 40): 412_000, (2, 80): 0, (4, 40): 0},
    "llama-3.3-70b": {(4, 80): 430_000, (8, 40): 412_000, (2, 80): 0, (4, 40): 0},
    "mistral-7b-v0.3": {(1, 80): 427_000},
    "mixtral-8x7b": {(2, 80): 363_000, (4, 40): 340_000},
    "qwen2.5-7b": {(1, 80): 964_000},
    "qwen2.5-14b": {(1, 80): 209_000},
    "qwen2.5-32b": {(1, 80): 19_000, (2, 80): 288_000, (4, 40): 277_000},
    "qwen2.5-72b": {(4, 80): 417_000, (8, 40): 399_000},
    "gemma-2-9b": {(1, 80): 151_000},
    "gemma-2-27b": {(1, 80): 42_000, (2, 80): 230_000},
    "phi-3.5-mini": {(1, 80): 160_000},
    "phi-4": {(1, 80): 201_000, (2, 80): 545_000},
}
SHARDS = dict.fromkeys(KEY_VALUE_TOKENS, (1, 2, 4, 8)) | {"qwen2.5-7b": (1, 2, 4), "phi-4": (1, 2)}

# keras-team/keras-hub at commit 71453d08, keras_hub/src/models/*/*_presets.py, or a model of the same shape there.
PARAMETERS = {
    "llama-3.1-8b": 8_030_261_248,
    "deepseek-r1-distill-llama-8b": 8_030_261_248,
    "mistral-7b-v0.3": 7_248_023_552,
    "mixtral-8x7b": 46_702_792_704,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-32b": 32_763_876_352,
    "qwq-32b": 32_763_876_352,
    "qwen2.5-72b": 72_706_203_648,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen3-14b": 14_768_307_200,
    "qwen3-32b": 32_762_123_264,
    "qwen3-30b-a3b": 30_532_122_624,
    "qwen3-235b-a22b": 235_093_634_560,
    "gemma-2-2b": 2_614_341_888,
    "gemma-2-9b": 9_241_705_984,
    "gemma-2-27b": 27_227_128_320,
    "phi-3.5-mini": 3_821_079_552,
}
# GiB of a repository's files in 16 bits: kaito-project/kaito at commit 056b8280,
# presets/workspace/models/model_catalog.yaml; of Qwen2.5-14B, those of DeepSeek-R1-Distill-Qwen-14B.
FILES_GIB = {
    "llama-3.1-8b": 14.96,
    "llama-3.1-70b": 131.42,
    "llama-3.3-70b": 131.42,
    "deepseek-r1-distill-llama-70b": 131.42,
    "mistral-7b-v0.3": 13.50,
    "qwen2.5-7b": 14.19,
    "qwen2.5-14b": 27.51,
    "qwen2.5-32b": 61.03,
    "phi-3.5-mini": 7.12,
    "phi-4-mini": 7.15,
    "phi-4": 27.31,
}
UNPUBLISHED = {"llama-3.2-3b"}

RANK = {Verdict.DOES_NOT_FIT: 0, Verdict.TIGHT: 1, Verdict.FITS: 2}
WHILE_LOADING = ("eetq", "fp8", "bitsandbytes-nf4", "bitsandbytes-fp4")

NOT_QUANTISED = st.none()
GPUS = st.sampled_from((1, 2, 4, 8, 16))
MEMORY_GB = st.sampled_from((16, 24, 40, 80, 141))


def known(name: str) -> Architecture:
    found = architecture_of(name)
    assert found is not None
    return found


def config_of(architecture: Architecture) -> dict[str, Any]:
    experts = {"num_local_experts": architecture.experts, "num_experts_per_tok": architecture.experts_per_token}
    return {
        "model_type": architecture.model_type,
        "num_hidden_layers": architecture.layers,
        "hidden_size": architecture.hidden_size,
        "num_attention_heads": architecture.attention_heads,
        "num_key_value_heads": architecture.key_value_heads,
        "head_dim": architecture.head_dim,
        "intermediate_size": architecture.intermediate_size,
        "vocab_size": architecture.vocabulary_size,
        "max_position_embeddings": architecture.maximum_positions,
        "tie_word_embeddings": architecture.tied_embeddings,
    } | (experts if architecture.experts > 1 else {})


@st.composite
def shapes(draw: st.DrawFn, quantization: st.SearchStrategy[Quantization | None] = NOT_QUANTISED) -> Architecture:
    heads = draw(st.sampled_from((1, 2, 4, 5, 8, 10, 16)))
    experts = draw(st.sampled_from((1, 8)))
    return Architecture(
        name="any",
        repositories=(),
        model_type=draw(st.sampled_from(sorted(FAMILIES))),
        gated=None,
        layers=draw(st.integers(1, 128)),
        hidden_size=draw(st.integers(1, 512)) * 32,
        attention_heads=heads * draw(st.integers(1, 8)),
        key_value_heads=heads,
        head_dim=draw(st.sampled_from((64, 96, 128, 256))),
        intermediate_size=draw(st.integers(1, 1024)) * 32,
        vocabulary_size=draw(st.integers(1000, 300_000)),
        experts=experts,
        experts_per_token=draw(st.integers(1, experts)),
        maximum_positions=4096,
        tied_embeddings=draw(st.booleans()),
        quantization=draw(quantization),
        source="",
    )


stored = st.builds(
    Quantization,
    method=st.sampled_from(("awq", "gptq", "exl2", "compressed-tensors")),
    bits=st.floats(1, 16),
    group_size=st.none() | st.sampled_from((32, 64, 128)),
)


@pytest.mark.parametrize(
    ("name", "gpus", "memory", "tokens"),
    [(name, *shape, tokens) for name, rows in KEY_VALUE_TOKENS.items() for shape, tokens in rows.items()],
)
def test_the_kv_cache_is_that_of_the_hand_figures(name: str, gpus: int, memory: int, tokens: int) -> None:
    found = fit(known(name), gpus=gpus, gpu_memory_gb=memory)
    assert found.key_value_tokens == pytest.approx(tokens, rel=0.1)
    assert (found.verdict is Verdict.DOES_NOT_FIT) is (tokens == 0)


@pytest.mark.parametrize("name", sorted(SHARDS))
def test_heads_allow_the_shards_of_the_hand_figures(name: str) -> None:
    assert tuple(shards for shards in (1, 2, 4, 8) if shard_problem(known(name), shards) is None) == SHARDS[name]


def test_parameters_are_those_that_were_published() -> None:
    assert {name: known(name).parameters for name in PARAMETERS} == PARAMETERS
    for name, size in FILES_GIB.items():
        assert 2 * known(name).parameters / 2**30 == pytest.approx(size, rel=0.001), name
    for one in architectures():
        if one.name.endswith("-base"):
            assert one.parameters == known(one.name.removesuffix("-base")).parameters
    assert {
        one.name.removesuffix("-base") for one in architectures()
    } == PARAMETERS.keys() | FILES_GIB.keys() | UNPUBLISHED


def test_gemma_3_counts_like_its_published_text_models() -> None:
    """The family is not in the catalogue; figures from keras-hub, shapes from litgpt, as above."""
    shape = config_of(known("gemma-2-27b")) | {"model_type": "gemma3_text", "vocab_size": 262144}
    small = {"num_hidden_layers": 26, "hidden_size": 1152, "num_attention_heads": 4, "num_key_value_heads": 1}
    small |= {"head_dim": 256, "intermediate_size": 6912}
    large = {"num_hidden_layers": 62, "hidden_size": 5376, "intermediate_size": 21504}
    assert from_hugging_face(shape | small, name="gemma-3-1b").parameters == 999_885_952
    assert from_hugging_face(shape | large, name="gemma-3-27b").parameters == 27_009_002_240


def test_four_bits_are_as_large_as_a_published_repository() -> None:
    """Qwen/Qwen3-8B-AWQ, in the same file of kaito-project/kaito: 5.68 GiB."""
    assert download_bytes(known("qwen3-8b"), "awq") / 2**30 == pytest.approx(5.68, rel=0.001)


def test_llama_70b_wants_four_cards_of_80_gb() -> None:
    model = known("meta-llama/Llama-3.3-70B-Instruct")
    assert fit(model, gpus=4, gpu_memory_gb=40).verdict is Verdict.DOES_NOT_FIT
    assert fit(model, gpus=2, gpu_memory_gb=80).verdict is Verdict.DOES_NOT_FIT
    assert fit(model, gpus=4, gpu_memory_gb=80).verdict is Verdict.FITS
    holding = [machine.machine_type for machine in smallest_machines(model, gpu_machines())]
    # As much memory as 8 x 40 GB, and cheaper.
    assert list(dict.fromkeys(holding)) == ["a2-ultragpu-4g", "a2-highgpu-8g", "a2-ultragpu-8g"]


def test_memory_goes_before_price_and_an_unknown_price_is_last() -> None:
    model = known("llama-3.1-8b")
    small, large = (
        next(machine for machine in gpu_machines() if machine.machine_type == name)
        for name in ("a2-highgpu-2g", "a2-ultragpu-2g")
    )
    cheap = dataclasses.replace(large, on_demand_usd_per_hour=0.01)
    unknown = dataclasses.replace(small, on_demand_usd_per_hour=None)
    assert smallest_machines(model, [cheap, unknown, large, small]) == [small, unknown, cheap, large]


def test_a_kv_cache_in_fp8_holds_twice_as_much() -> None:
    two, one = (fit(known("llama-3.3-70b"), gpus=4, gpu_memory_gb=80, key_value_bytes=size) for size in (2, 1))
    assert two.key_value_bytes_per_token == 2 * one.key_value_bytes_per_token == 327_680
    assert one.key_value_tokens // 2 == two.key_value_tokens


def test_the_sum_is_written_as_a_person_would() -> None:
    model = known("llama-3.3-70b")
    assert fit(model, gpus=4, gpu_memory_gb=80).arithmetic() == (
        "4 x 80 GB x 0.9 = 288 GB, less weights 141.1 GB and 6 GB to compute = 140.9 GB: "
        "430k tokens of KV cache of 320 KiB"
    )
    assert fit(model, gpus=2, gpu_memory_gb=80).arithmetic() == (
        "2 x 80 GB x 0.9 = 144 GB, less weights 141.1 GB and 3 GB to compute leaves nothing: 0.1 GB short"
    )


def test_a_tenth_of_the_usable_memory_parts_tight_from_fitting() -> None:
    found = fit(known("qwen2.5-32b"), gpus=1, gpu_memory_gb=80)
    assert found.verdict is Verdict.TIGHT
    assert 0 < found.free_bytes < 0.1 * found.usable_bytes
    assert fit(known("gemma-2-27b"), gpus=1, gpu_memory_gb=80).verdict is Verdict.FITS


def test_a_request_longer_than_the_kv_cache_does_not_fit() -> None:
    found = fit(known("llama-3.1-8b"), gpus=1, gpu_memory_gb=40)
    tokens = found.key_value_tokens
    assert found.concurrent_requests(tokens) == 1
    assert found.concurrent_requests(tokens // 10) == 10
    for least, verdict in ((tokens, Verdict.FITS), (tokens + 1, Verdict.DOES_NOT_FIT)):
        assert fit(known("llama-3.1-8b"), gpus=1, gpu_memory_gb=40, least_tokens=least).verdict is verdict


def test_heads_that_cannot_be_shared_out_are_named() -> None:
    assert shard_problem(known("qwen2.5-7b"), 8) == (
        "28 attention heads and 4 key-value heads of qwen2.5-7b cannot be divided by 8 shards"
    )
    assert shard_problem(known("phi-4"), 4) == "10 key-value heads of phi-4 cannot be divided by 4 shards"
    uneven = dataclasses.replace(known("llama-3.1-8b"), intermediate_size=11007)
    assert shard_problem(uneven, 2) == (
        "11007 rows of the feed-forward network of llama-3.1-8b cannot be divided by 2 shards"
    )


def test_an_engine_that_repeats_key_value_heads_takes_more_shards_and_more_cache() -> None:
    model = known("qwen3-30b-a3b")
    assert shard_problem(model, 8) is not None
    assert shard_problem(model, 8, replicated_heads=True) is None
    # 10 heads among 4 shards are neither divided nor repeated evenly.
    assert shard_problem(known("phi-4"), 4, replicated_heads=True) is not None
    once, twice = (fit(model, gpus=gpus, gpu_memory_gb=80).key_value_bytes_per_token for gpus in (4, 8))
    assert twice == 2 * once
    shapes_with_8 = {"a2-highgpu-8g", "a2-ultragpu-8g"}
    for replicated in (False, True):
        holding = {m.machine_type for m in smallest_machines(model, gpu_machines(), replicated_heads=replicated)}
        assert (shapes_with_8 <= holding) is replicated
        assert replicated or not shapes_with_8 & holding


@pytest.mark.parametrize("quantize", WHILE_LOADING)
def test_what_is_quantised_while_loading_is_fetched_in_16_bits(quantize: str) -> None:
    model = known("llama-3.1-8b")
    assert download_bytes(model, quantize) == download_bytes(model, None) == 2 * model.parameters
    assert weights_bytes(model, quantize) < 2 * model.parameters


@pytest.mark.parametrize("quantize", ["exl2", "compressed-tensors", "what comes next year"])
def test_unknown_bits_are_said_to_be_unknown(quantize: str) -> None:
    with pytest.raises(ValueError, match=r"config\.json"):
        fit(known("llama-3.1-8b"), gpus=1, gpu_memory_gb=80, quantize=quantize)
    with_bits = Quantization(method=quantize, bits=4, group_size=128)
    read = dataclasses.replace(known("llama-3.1-8b"), quantization=with_bits)
    assert fit(read, gpus=1, gpu_memory_gb=80, quantize=quantize) == fit(read, gpus=1, gpu_memory_gb=80)
    assert weights_bytes(read, quantize) == weights_bytes(known("llama-3.1-8b"), "awq")


def test_weights_are_quantised_once() -> None:
    read = dataclasses.replace(known("llama-3.1-8b"), quantization=Quantization(method="awq", bits=4, group_size=128))
    with pytest.raises(ValueError, match="quantised by awq already: eetq needs 16 bits"):
        weights_bytes(read, "eetq")


@given(shapes(st.none() | stored), GPUS, GPUS, MEMORY_GB)
def test_more_gpus_never_hold_less(model: Architecture, one: int, other: int, memory: int) -> None:
    fewer, more = (fit(model, gpus=gpus, gpu_memory_gb=memory) for gpus in sorted((one, other)))
    assert fewer.key_value_tokens <= more.key_value_tokens
    assert RANK[fewer.verdict] <= RANK[more.verdict]


@given(shapes(), GPUS, MEMORY_GB)
def test_fewer_bits_never_hold_less(model: Architecture, gpus: int, memory: int) -> None:
    ways = (None, "eetq", "awq", "bitsandbytes-nf4")
    tokens = [fit(model, gpus=gpus, gpu_memory_gb=memory, quantize=way).key_value_tokens for way in ways]
    assert tokens == sorted(tokens)


@given(shapes(stored), st.floats(1, 16), GPUS)
def test_fewer_stored_bits_never_hold_less(model: Architecture, bits: float, gpus: int) -> None:
    assert model.quantization is not None
    other = dataclasses.replace(model, quantization=dataclasses.replace(model.quantization, bits=bits))
    by_bits = sorted((model, other), key=lambda one: one.quantization.bits if one.quantization else 16)
    fewer, more = (fit(one, gpus=gpus, gpu_memory_gb=80).key_value_tokens for one in by_bits)
    assert fewer >= more


@given(shapes(st.none() | stored), GPUS, MEMORY_GB, st.integers(0, 10**6), st.integers(0, 10**6))
def test_longer_requests_never_fit_better(model: Architecture, gpus: int, memory: int, one: int, other: int) -> None:
    shorter, longer = (
        fit(model, gpus=gpus, gpu_memory_gb=memory, least_tokens=least) for least in sorted((one, other))
    )
    assert RANK[shorter.verdict] >= RANK[longer.verdict]


@given(shapes(st.none() | stored), GPUS, MEMORY_GB, st.floats(0.01, 1), st.sampled_from((1, 2)))
def test_every_byte_is_accounted_for(model: Architecture, gpus: int, memory: int, fraction: float, size: int) -> None:
    found = fit(model, gpus=gpus, gpu_memory_gb=memory, memory_fraction=fraction, key_value_bytes=size)
    assert found.weights_bytes + found.reserved_bytes + found.free_bytes == found.usable_bytes <= gpus * memory * 10**9
    assert found.key_value_tokens * found.key_value_bytes_per_token <= max(0, found.free_bytes)
    assert (found.key_value_tokens + 1) * found.key_value_bytes_per_token > found.free_bytes
    assert found.verdict is not Verdict.DOES_NOT_FIT or found.key_value_tokens == 0
    assert str(found.gpus) in found.arithmetic()


@given(st.sampled_from(architectures()), st.integers(1, 200_000), st.sampled_from((None, *WHILE_LOADING)))
def test_the_machines_that_hold_a_model_are_all_and_in_order(
    model: Architecture, least: int, quantize: str | None
) -> None:
    holding = smallest_machines(model, gpu_machines(), quantize=quantize, least_tokens=least)
    memory = [machine.gpus * machine.gpu_memory_gib for machine in holding]
    assert memory == sorted(memory)
    for machine in gpu_machines():
        found = fit(
            model,
            gpus=machine.gpus,
            gpu_memory_gb=machine.gpu_memory_gib,
            quantize=quantize,
            least_tokens=least,
        )
        possible = shard_problem(model, machine.gpus) is None
        assert (machine in holding) is (possible and found.verdict is Verdict.FITS)
    same = [m.on_demand_usd_per_hour for m in holding if m.gpus * m.gpu_memory_gib == memory[0]] if holding else []
    prices = [price for price in same if price is not None]
    assert prices == sorted(prices)


@pytest.mark.parametrize("architecture", architectures(), ids=lambda one: one.name)
def test_a_config_says_what_the_catalogue_says(architecture: Architecture) -> None:
    expected = dataclasses.replace(architecture, repositories=(), gated=None, source="config.json")
    config = json.loads(json.dumps(config_of(architecture)))
    assert from_hugging_face(config, name=architecture.name) == expected
    # As a model that sees has it.
    nested = {"model_type": "mistral3", "vision_config": {}, "text_config": config}
    read = from_hugging_face(nested, name=architecture.name)
    assert dataclasses.replace(read, source="config.json") == expected
    assert "without the part that sees" in read.source


def test_a_config_may_leave_out_what_follows() -> None:
    config = config_of(known("llama-3.1-8b"))
    for key in ("head_dim", "num_key_value_heads", "tie_word_embeddings"):
        del config[key]
    read = from_hugging_face(config, name="any")
    assert (read.head_dim, read.key_value_heads, read.tied_embeddings) == (128, 32, False)
    assert from_hugging_face(config | {"model_type": "gemma2"}, name="any").tied_embeddings


def test_an_expert_has_the_size_of_an_expert() -> None:
    config = config_of(known("qwen3-30b-a3b")) | {"moe_intermediate_size": 768, "intermediate_size": 6144}
    assert from_hugging_face(config, name="any").parameters == PARAMETERS["qwen3-30b-a3b"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, (4, 128)),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1, "desc_act": True}, (8, None)),
        ({"quant_method": "exl2", "bits": 4.25}, (4.25, None)),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, (8, None)),
        ({"quant_method": "fbgemm_fp8", "modules_to_not_convert": ["lm_head"]}, (8, None)),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_use_double_quant": True}, (4.125, None)),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, (4.5, None)),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, (8, None)),
        (
            {
                "quant_method": "compressed-tensors",
                "ignore": ["lm_head", "re:vision_tower.*"],
                "config_groups": {
                    "group_0": {"targets": ["Linear"], "weights": {"num_bits": 4, "group_size": 128}},
                    "group_1": {"weights": {"num_bits": 8, "group_size": None}},
                },
            },
            (8, None),
        ),
    ],
)
def test_the_bits_of_a_stored_weight_are_read(written: dict[str, Any], expected: tuple[float, int | None]) -> None:
    config = config_of(known("llama-3.1-8b")) | {"quantization_config": written}
    read = from_hugging_face(config, name="any").quantization
    assert read is not None
    assert (read.method, read.bits, read.group_size) == (written["quant_method"], *expected)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model_type": "deepseek_v3"}, "model_type is 'deepseek_v3', not one whose memory can be computed: "),
        ({"hidden_size": "4096"}, "hidden_size is '4096', not a whole number above 0"),
        ({"num_hidden_layers": True}, "num_hidden_layers is true, not a whole number above 0"),
        ({"vocab_size": 10**400}, "vocab_size is too large a number, not a whole number above 0"),
        ({"num_key_value_heads": 5}, "num_key_value_heads is 5, which does not divide 32 heads"),
        ({"num_experts_per_tok": 2}, "num_experts_per_tok is 2, more than there are experts (1)"),
        ({"num_experts": 8, "mlp_only_layers": [0]}, "mlp_only_layers, decoder_sparse_step leave layers"),
        ({"head_dim": None, "hidden_size": 4097}, "head_dim is missing"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings is 1, not true or false"),
        ({"quantization_config": []}, "quantization_config is a list, not an object"),
        ({"quantization_config": {}}, "quantization_config.quant_method is missing"),
        ({"quantization_config": {"quant_method": "awq"}}, "quantization_config.bits is missing"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 0}}, "group_size is 0, not"),
        (
            {"quantization_config": {"quant_method": "fp8", "ignore": ["model.layers.0.self_attn"]}},
            "quantization_config.ignore leaves layers in 16 bits, which is not computed: 'model.layers.0.self_attn'",
        ),
        ({"quantization_config": {"quant_method": "compressed-tensors", "config_groups": {}}}, "config_groups is"),
        (
            {"quantization_config": {"quant_method": "compressed-tensors", "config_groups": {"a": {}}}},
            "quantization_config.config_groups.a.weights.num_bits is missing",
        ),
    ],
)
def test_a_wrong_key_of_a_config_is_named(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        from_hugging_face(config_of(known("llama-3.1-8b")) | change, name="any")


def test_all_that_is_wrong_with_a_config_is_said_at_once() -> None:
    with pytest.raises(ValueError, match="; ") as refused:
        from_hugging_face({"head_dim": 0}, name="any")
    needed = set(config_of(known("llama-3.1-8b"))) - {"num_key_value_heads", "tie_word_embeddings"}
    assert {problem.split()[0] for problem in str(refused.value).split("; ")} == needed


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
quantization_config = st.fixed_dictionaries(
    {},
    optional={
        "quant_method": st.sampled_from(("awq", "fp8", "bitsandbytes")) | anything,
        "bits": st.integers(-1, 20) | anything,
        "group_size": st.integers(-1, 128) | anything,
        "load_in_4bit": anything,
        "ignore": anything,
        "modules_to_not_convert": anything,
        "config_groups": st.dictionaries(st.text(), st.fixed_dictionaries({"weights": anything})) | anything,
    },
)


@st.composite
def nearly_configs(draw: st.DrawFn) -> object:
    changed = st.sampled_from([*config_of(known("mixtral-8x7b")), "num_experts", "mlp_only_layers", "text_config"])
    config = config_of(draw(st.sampled_from(architectures()))) | draw(st.dictionaries(changed, anything, max_size=2))
    return config | draw(st.fixed_dictionaries({}, optional={"quantization_config": quantization_config | anything}))


@given(anything | nearly_configs())
def test_any_json_is_read_or_refused(config: object) -> None:
    try:
        read = from_hugging_face(config, name="any")
    except ValueError:
        return
    assert isinstance(fit(read, gpus=2, gpu_memory_gb=80), Fit)
    shard_problem(read, 2)


def test_the_catalogue_names_each_model_once_and_its_source() -> None:
    names = [name.lower() for one in architectures() for name in (one.name, *one.repositories)]
    assert len(names) == len(set(names))
    assert all(one.source and one.repositories for one in architectures())
    assert architecture_of("META-LLAMA/llama-3.1-8b-INSTRUCT") is known("llama-3.1-8b")
    assert architecture_of("nobody/nothing") is None
    gated = {repository.partition("/")[0] for one in architectures() if one.gated for repository in one.repositories}
    assert gated == {"meta-llama", "google"}


def test_the_page_shows_every_model_once_and_a_sum_that_is_true() -> None:
    page = (DOCS / "memory.md").read_text(encoding="utf-8")
    shown = fit(known("llama-3.3-70b"), gpus=4, gpu_memory_gb=80).arithmetic()
    assert f"```text\n{shown}\n```" in page
    assert all(page.count(f"`{one.name}`") == 1 for one in architectures() if one.name not in QUANTISED)

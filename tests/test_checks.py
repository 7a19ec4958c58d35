"""The rules between settings, each broken by hand: what is said, of which key, and what to do."""

import json
from pathlib import Path
from typing import Any

import pytest

import settings
from planning.checks.engine import TAKEN_VARIABLES
from planning.drain import Drain
from planning.refusal import Problem, Refusal
from planning.schema import WHAT_CAN_BE_READ, EngineName, Model, NotRead
from tests.recording import decided


def model(**changed: Any) -> dict[str, Any]:
    return {
        "name": "m",
        "repository": "Qwen/Qwen2.5-7B-Instruct",
        "revision": "a" * 40,
        "gpu": {"type": "nvidia-a100-80gb"},
        "scaling": {"max": 1, "queuePerReplica": 4},
    } | changed


def gpus(number: int, kind: str = "nvidia-a100-80gb") -> dict[str, Any]:
    return {"type": kind, "tensorParallel": number}


def problems(monkeypatch: pytest.MonkeyPatch, *models: dict[str, Any], **config: str) -> dict[str, Problem]:
    """What is wrong with prod, serving these models, by key; of each key one thing is said."""
    place = {"gcp:region": "us-central1", "models": json.dumps(models)}
    try:
        decided("prod", place | config, {}, monkeypatch)
    except Refusal as refusal:
        found = {problem.key: problem for problem in refusal.problems}
        once = len(found) == len(refusal.problems)
    else:
        return {}
    assert once, "one key has two problems"
    return found


def warnings(monkeypatch: pytest.MonkeyPatch, *models: dict[str, Any], **config: str) -> str:
    place = {"gcp:region": "us-central1", "models": json.dumps(models)}
    return "\n".join(decided("prod", place | config, {}, monkeypatch).warnings)


def test_a_model_that_is_right_has_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(monkeypatch, model()) == {}


# Memory and shards

LLAMA = "meta-llama/Llama-3.3-70B-Instruct"


@pytest.mark.parametrize("where", [gpus(4, "nvidia-tesla-a100"), gpus(2)], ids=["4 x 40 GB", "2 x 80 GB"])
def test_llama_70b_is_refused_where_it_does_not_fit(where: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    found = problems(monkeypatch, model(repository=LLAMA, dtype="bfloat16", gpu=where))
    problem = found.pop("llmserve:models[0].gpu")
    assert not found
    assert problem.value == f"{where['tensorParallel']} x {where['type']}"
    assert "less weights 141.1 GB" in problem.reason
    assert "leaves nothing" in problem.reason
    # Eight cards of 40 GB have as much memory, and cost more.
    assert problem.fix == "4 x nvidia-a100-80gb (a2-ultragpu-4g), or quantize"


def test_llama_70b_is_accepted_on_four_large_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(monkeypatch, model(repository=LLAMA, dtype="bfloat16", gpu=gpus(4))) == {}


@pytest.mark.parametrize(
    ("repository", "shards", "fix", "reason"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", 8, "one of 1, 2, 4", "28 attention heads"),
        ("microsoft/phi-4", 4, "one of 1, 2", "10 key-value heads"),
    ],
)
def test_heads_that_cannot_be_shared_out_are_refused(
    repository: str, shards: int, fix: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = problems(monkeypatch, model(repository=repository, gpu=gpus(shards)))
    assert list(found) == ["llmserve:models[0].gpu.tensorParallel"]
    [problem] = found.values()
    assert (problem.value, problem.fix) == (str(shards), fix)
    assert reason in problem.reason


def test_the_smallest_machine_elsewhere_is_named_where_the_region_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    found = problems(
        monkeypatch,
        model(repository=LLAMA, gpu=gpus(2)),
        **{"gcp:region": "us-east5"},
    )
    assert "4 x nvidia-a100-80gb (a2-ultragpu-4g)" in found["llmserve:models[0].gpu"].fix
    found = problems(
        monkeypatch,
        model(repository="mistralai/Mixtral-8x7B-Instruct-v0.1", gpu=gpus(1, "nvidia-tesla-a100")),
        **{"gcp:region": "us-west1"},
    )
    assert "a2-highgpu-4g" in found["llmserve:models[0].gpu"].fix


def test_requests_longer_than_the_cache_are_refused_with_the_most_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Qwen2.5-32B leaves 19 thousand tokens on one card of 80 GB."""
    tight = model(repository="Qwen/Qwen2.5-32B-Instruct")
    assert problems(monkeypatch, tight) == {}
    assert "fits tightly" in warnings(monkeypatch, tight)
    long = tight | {"batching": {"maxTotalTokens": 32768}}
    problem = problems(monkeypatch, long)["llmserve:models[0].gpu"]
    assert "its limits ask for 32,768 tokens" in problem.reason
    assert "or limits of at most 18," in problem.fix


def test_a_model_that_is_not_in_the_catalogue_is_said_to_be_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "whether nobody/knows fits a2-ultragpu-1g was not checked" in warnings(
        monkeypatch, model(repository="nobody/knows")
    )
    assert "not checked" not in warnings(monkeypatch, model())


def test_an_architecture_may_be_named_or_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours = model(repository="us/finetuned", gpu=gpus(2), architecture="llama-3.3-70b")
    assert "llama-3.3-70b does not fit" in problems(monkeypatch, ours)["llmserve:models[0].gpu"].reason
    monkeypatch.setattr(settings, "__file__", str(tmp_path / "settings.py"))
    shape = {
        "model_type": "llama",
        "num_hidden_layers": 80,
        "hidden_size": 8192,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "intermediate_size": 28672,
        "vocab_size": 128256,
        "max_position_embeddings": 8192,
    }
    (tmp_path / "shape.json").write_text(json.dumps(shape), encoding="utf-8")
    ours["architecture"] = "shape.json"
    assert "shape.json does not fit" in problems(monkeypatch, ours)["llmserve:models[0].gpu"].reason
    assert problems(monkeypatch, ours | {"gpu": gpus(4)}) == {}
    too_long = ours | {"gpu": gpus(4), "batching": {"maxTotalTokens": 8193}}
    assert (
        "knows 8,192 positions" in problems(monkeypatch, too_long)["llmserve:models[0].batching.maxTotalTokens"].reason
    )


@pytest.mark.parametrize(
    ("named", "content", "said"),
    [
        ("no-such-model", None, "neither in the catalogue nor the path of a config.json"),
        ("absent.json", None, "cannot be read: No such file"),
        ("broken.json", "{", "Expecting property name"),
        ("list.json", "[]", "not an object"),
        ("empty.json", "{}", "num_hidden_layers is missing"),
    ],
)
def test_an_architecture_that_is_none_is_refused_once(
    named: str, content: str | None, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(settings, "__file__", str(tmp_path / "settings.py"))
    if content is not None:
        (tmp_path / named).write_text(content, encoding="utf-8")
    found = problems(monkeypatch, model(architecture=named))
    assert list(found) == ["llmserve:models[0].architecture"]
    assert said in found["llmserve:models[0].architecture"].reason
    assert found["llmserve:models[0].architecture"].value == named


def test_weights_that_are_quantised_before_are_not_looked_for_in_a_repository_of_16_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = problems(monkeypatch, model(quantize="awq"))
    assert "weights of 16 bits" in found["llmserve:models[0].quantize"].reason
    assert problems(monkeypatch, model(quantize="eetq")) == {}
    elsewhere = model(quantize="awq", repository="us/awq", architecture="qwen2.5-7b")
    assert problems(monkeypatch, elsewhere) == {}


def test_a_small_model_may_be_too_large_to_download(monkeypatch: pytest.MonkeyPatch) -> None:
    """70 billion weights of 4 bits fit two cards of 40 GB, and the 141 GB that they are made from not their disk."""
    found = problems(
        monkeypatch, model(repository=LLAMA, quantize="bitsandbytes-nf4", gpu=gpus(2, "nvidia-tesla-a100"))
    )
    assert "131 GiB to download, and a2-highgpu-2g has 117 GiB of disk" in found["llmserve:models[0].gpu"].reason


def test_the_engines_variables_count(monkeypatch: pytest.MonkeyPatch) -> None:
    small = model(repository="Qwen/Qwen2.5-14B-Instruct")
    assert problems(monkeypatch, small) == {}
    half = small | {"environment": {"CUDA_MEMORY_FRACTION": "0.4"}}
    assert "80 GB x 0.36" in problems(monkeypatch, half)["llmserve:models[0].gpu"].reason
    wrong = small | {"environment": {"CUDA_MEMORY_FRACTION": "40 %", "KV_CACHE_DTYPE": "int8"}}
    assert set(problems(monkeypatch, wrong)) == {
        "llmserve:models[0].environment.CUDA_MEMORY_FRACTION",
        "llmserve:models[0].environment.KV_CACHE_DTYPE",
    }
    tight = model(repository="Qwen/Qwen2.5-32B-Instruct", batching={"maxTotalTokens": 30000})
    assert "llmserve:models[0].gpu" in problems(monkeypatch, tight)
    assert problems(monkeypatch, tight | {"environment": {"KV_CACHE_DTYPE": "fp8_e5m2"}}) == {}


OWN = {
    "name": "m",
    "engine": "custom",
    "image": "own:1",
    "healthPath": "/",
    "metrics": {"requests": "a", "latencySeconds": "b", "queue": "c", "inFlight": "d"},
    "gpu": {"type": "nvidia-a100-80gb"},
    "scaling": {"max": 1, "queuePerReplica": 4},
}


@pytest.mark.parametrize("engine", EngineName)
def test_variables_that_would_do_nothing_or_harm_are_refused(
    engine: EngineName, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = OWN if engine is EngineName.CUSTOM else model(engine=str(engine))
    every = {name for taken in TAKEN_VARIABLES.values() for name in taken} - {"CUDA_MEMORY_FRACTION", "TGI_WIGGLE_ROOM"}
    for name in sorted(every - {"KV_CACHE_DTYPE"}):
        written = {"environment": {name: "0.5"}}
        in_a_version = {"rollout": {"versions": [{"name": "stable", "weight": 100, **written}]}}
        for changed, place in ((written, ""), (in_a_version, "rollout.versions[0].")):
            found = problems(monkeypatch, base | changed)
            wanted = [f"llmserve:models[0].{place}environment.{name}"] if name in TAKEN_VARIABLES[engine] else []
            assert list(found) == wanted
            # A value may be a secret.
            assert all(problem.value is None for problem in found.values())


def test_tgi_needs_a_worker_to_validate(monkeypatch: pytest.MonkeyPatch) -> None:
    found = problems(monkeypatch, model(environment={"VALIDATION_WORKERS": "0"}))
    assert list(found) == ["llmserve:models[0].environment.VALIDATION_WORKERS"]


def test_a_gated_model_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    gated = model(repository=LLAMA, gpu=gpus(4))
    found = problems(monkeypatch, gated, huggingFaceTokenFrom="none")
    assert "is gated: without a token the hub answers 401" in found["llmserve:huggingFaceTokenFrom"].reason
    assert problems(monkeypatch, model(), huggingFaceTokenFrom="none") == {}


# Drain


def test_an_answer_longer_than_any_node_waits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unlimited, Qwen2.5-7B answers up to its context of 32,768 tokens."""
    found = problems(monkeypatch, model(millisecondsPerToken=150))
    problem = found["llmserve:models[0].millisecondsPerToken"]
    assert "32,767 tokens, which at 150 ms take 4,915 seconds, and GKE leaves 3565" in problem.reason
    assert problem.fix.startswith("maxTotalTokens at most 23766")
    assert problems(monkeypatch, model(millisecondsPerToken=150, drainSeconds=600)) == {}
    assert problems(monkeypatch, model(millisecondsPerToken=150, batching={"maxTotalTokens": 23766})) == {}


def test_the_two_budgets_are_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    written = model(millisecondsPerToken=50, batching={"maxTotalTokens": 4001})
    config = {"gcp:region": "us-central1", "models": json.dumps([written])}
    drain = decided("prod", config, {}, monkeypatch).models[0].drain
    assert drain == Drain(
        answer_tokens=4000, milliseconds_per_token=50, engine_seconds=200, spot_window_seconds=120 - 15
    )
    assert drain.longest_generation_seconds == 200
    assert drain.grace_seconds == 5 + 200 + 30
    assert drain.spot_generation_seconds == 100
    assert drain.spot_answer_tokens == 2000
    on_demand = decided("prod", config | {"capacity": "on-demand"}, {}, monkeypatch).models[0].drain
    assert on_demand.spot_generation_seconds is on_demand.spot_answer_tokens is None


def test_a_drain_shorter_than_the_longest_answer_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    limited = model(millisecondsPerToken=50, batching={"maxTotalTokens": 4001})
    assert "every rollout and scale-down cuts what is longer than 1,200 tokens" in warnings(
        monkeypatch, limited | {"drainSeconds": 60}
    )
    told = warnings(monkeypatch, limited)
    assert "every rollout" not in told
    assert "a spot node leaves a generation 100 seconds, and the longest may take 200" in told
    assert "a spot node" not in warnings(monkeypatch, limited, capacity="on-demand")


# Place


def test_nodes_have_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    found = problems(monkeypatch, model(scaling={"max": 10, "queuePerReplica": 1}), nodeRange="10.0.0.0/27")
    assert "29 nodes, the gateway and Google's own 4 addresses" in found["llmserve:nodeRange"].reason
    assert found["llmserve:nodeRange"].fix == "a /26 or larger"
    assert problems(monkeypatch, model(scaling={"max": 8, "queuePerReplica": 1}), nodeRange="10.0.0.0/27") == {}


def test_system_machines_take_the_disk_that_they_get(monkeypatch: pytest.MonkeyPatch) -> None:
    found = problems(monkeypatch, model(), systemMachineType="n4-standard-4")
    assert "take Hyperdisks only" in found["llmserve:systemMachineType"].reason


def test_system_nodes_hold_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three e2-standard-2 leave it 4.3 cores of the 6 that they have, and 12 GiB of 24."""
    assert problems(monkeypatch, model(), systemMachineType="e2-standard-2", systemMaxNodes="3") == {}
    found = problems(monkeypatch, model(), systemMachineType="e2-highcpu-2", systemMaxNodes="3")
    assert "beside GKE's own pods" in found["llmserve:systemMachineType"].reason
    assert "was not checked" in warnings(monkeypatch, model(), systemMachineType="z3-highmem-88")


@pytest.mark.parametrize(
    ("machine", "most", "said"),
    [
        ("a2-ultragpu-8g", "6", "machines have GPUs"),
        ("c4a-standard-4", "6", "take Hyperdisks only"),
        ("e2-highcpu-2", "20", "Prometheus asks for 2.1 in one"),
        ("e2-highmem-2", "1", "beside GKE's own pods"),
    ],
)
def test_system_machines_that_would_not_do_are_refused(
    machine: str, most: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = problems(monkeypatch, model(), systemMachineType=machine, systemMaxNodes=most, systemMinNodes="1")
    assert said in found["llmserve:systemMachineType"].reason


def test_a_region_is_proposed_that_has_the_machines_of_all_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """us-west1 has cards of 40 GB alone, us-east5 of 80 GB alone."""
    both = model(), model(name="n", gpu=gpus(1, "nvidia-tesla-a100"))
    found = problems(monkeypatch, *both, **{"gcp:region": "us-west1"})
    assert list(found) == ["gcp:region"]
    assert found["gcp:region"].fix == "one of asia-southeast1, europe-west4, us-central1"
    for proposed in ("asia-southeast1", "europe-west4", "us-central1"):
        assert problems(monkeypatch, *both, **{"gcp:region": proposed}) == {}
    sixteen = model(name="big", gpu=gpus(16, "nvidia-tesla-a100"), repository="us/it")
    assert problems(monkeypatch, sixteen, **{"gcp:region": "us-west1"})["gcp:region"].fix == (
        "one of asia-southeast1, europe-west4, us-central1"
    )


def test_ranges_are_those_of_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("127.0.0.0/20", "224.0.0.0/20", "169.254.0.0/20"):
        assert "no network of Google's" in problems(monkeypatch, model(), nodeRange=wrong)["llmserve:nodeRange"].reason
    assert (
        "too few addresses"
        in problems(monkeypatch, model(), serviceRange="10.80.0.0/27")["llmserve:serviceRange"].reason
    )


def test_two_registries_do_not_share_a_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = OWN | {"image": "a-b.io/x:1"}, OWN | {"name": "n", "image": "a.b.io/x:1"}
    assert problems(monkeypatch, one) == {}
    assert "would share the repository" in problems(monkeypatch, one, other)["llmserve:models[1].image"].reason
    long = OWN | {"image": f"{'a' * 60}.example.com/x:1"}
    assert "allows 63 characters" in problems(monkeypatch, long)["llmserve:models[0].image"].reason


# Contradictions


def test_a_question_fits_the_start_up_probe_the_context_and_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    for limits, field in (({"maxInputTokens": 3}, "maxInputTokens"), ({"maxTotalTokens": 4}, "maxTotalTokens")):
        found = problems(monkeypatch, model(batching=limits))
        assert list(found) == [f"llmserve:models[0].batching.{field}"]
        assert "is known to have started" in found[f"llmserve:models[0].batching.{field}"].reason
    assert problems(monkeypatch, model(batching={"maxInputTokens": 4, "maxTotalTokens": 5})) == {}
    found = problems(monkeypatch, model(batching={"maxInputTokens": 32768}))
    assert found["llmserve:models[0].batching.maxInputTokens"].fix == "at most 32767"
    tight = model(repository="Qwen/Qwen2.5-32B-Instruct", batching={"maxInputTokens": 32000})
    assert "its limits ask for 32,001 tokens" in problems(monkeypatch, tight)["llmserve:models[0].gpu"].reason


def test_a_versions_limit_is_named_where_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = [
        {"name": "a", "weight": 90},
        {"name": "b", "weight": 10, "batching": {"maxTotalTokens": 50000, "maxInputTokens": 60000}},
    ]
    found = problems(monkeypatch, model(batching={"maxTotalTokens": 1000}, rollout={"versions": versions}))
    place = "llmserve:models[0].rollout.versions[1].batching"
    assert {f"{place}.maxTotalTokens", f"{place}.maxInputTokens"} == set(found) - {"llmserve:models[0].gpu"}


def test_a_repository_is_the_same_in_whatever_case_and_whatever_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    for changed in ({"repository": LLAMA.lower()}, {"repository": LLAMA, "architecture": "llama-3.1-70b"}):
        gated = model(gpu=gpus(4), **changed)
        assert list(problems(monkeypatch, gated, huggingFaceTokenFrom="none")) == ["llmserve:huggingFaceTokenFrom"]
        assert list(problems(monkeypatch, gated | {"quantize": "awq"})) == ["llmserve:models[0].quantize"]


def test_weights_are_read_the_way_they_are_stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "__file__", str(tmp_path / "settings.py"))
    shape: dict[str, object] = {
        "model_type": "llama",
        "num_hidden_layers": 32,
        "hidden_size": 4096,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 14336,
        "vocab_size": 128256,
        "max_position_embeddings": 8192,
    }
    ours = model(repository="us/ours", architecture="shape.json")

    def stored(method: str | None) -> None:
        how = {} if method is None else {"quantization_config": {"quant_method": method, "bits": 4, "group_size": 128}}
        (tmp_path / "shape.json").write_text(json.dumps(shape | how), encoding="utf-8")

    stored("awq")
    assert problems(monkeypatch, ours) == problems(monkeypatch, ours | {"quantize": "awq"}) == {}
    for other in ("eetq", "gptq"):
        found = problems(monkeypatch, ours | {"quantize": other})
        assert "are quantised by awq" in found["llmserve:models[0].quantize"].reason
    stored(None)
    assert (
        "weights of 16 bits" in problems(monkeypatch, ours | {"quantize": "awq"})["llmserve:models[0].quantize"].reason
    )
    assert problems(monkeypatch, ours | {"quantize": "eetq"}) == {}
    (tmp_path / "shape.json").write_text("[" * 200_000, encoding="utf-8")
    assert list(problems(monkeypatch, ours)) == ["llmserve:models[0].architecture"]


def test_a_cache_of_8_bits_needs_heads_that_flashinfer_has(monkeypatch: pytest.MonkeyPatch) -> None:
    phi = model(repository="microsoft/Phi-3.5-mini-instruct", environment={"KV_CACHE_DTYPE": "fp8_e5m2"})
    assert "heads of 96" in problems(monkeypatch, phi)["llmserve:models[0].environment.KV_CACHE_DTYPE"].reason


def test_a_fix_is_no_stack_that_is_refused_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest machine by memory has no disk for the download."""
    nf4 = model(repository=LLAMA, quantize="bitsandbytes-nf4", gpu=gpus(1, "nvidia-tesla-a100"))
    fix = problems(monkeypatch, nf4)["llmserve:models[0].gpu"].fix
    assert fix.startswith("1 x nvidia-a100-80gb (a2-ultragpu-1g)")
    assert problems(monkeypatch, nf4 | {"gpu": gpus(1)}) == {}
    assert list(problems(monkeypatch, model(repository="microsoft/phi-4", gpu=gpus(3)))) == [
        "llmserve:models[0].gpu.tensorParallel"
    ]


def test_a_drain_and_what_is_around_it_last_an_hour_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(monkeypatch, model(drainSeconds=3565)) == {}
    assert list(problems(monkeypatch, model(drainSeconds=3566))) == ["llmserve:models[0].drainSeconds"]
    exactly = model(millisecondsPerToken=1000, batching={"maxTotalTokens": 3566})
    assert problems(monkeypatch, exactly) == {}
    assert problems(monkeypatch, exactly | {"batching": {"maxTotalTokens": 3567}})


def test_the_longest_version_decides_the_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = [
        {"name": name, "weight": 50, "batching": {"maxTotalTokens": tokens}}
        for name, tokens in (("a", 101), ("b", 201))
    ]
    both = model(millisecondsPerToken=1000, rollout={"versions": versions})
    config = {"gcp:region": "us-central1", "models": json.dumps([both])}
    assert decided("prod", config, {}, monkeypatch).models[0].drain.engine_seconds == 200


def test_what_secret_settings_say_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("settings.pulumi.runtime.get_config_secret_keys_env", lambda: ["llmserve:models"])
    found = problems(monkeypatch, model(environment={"CUDA_MEMORY_FRACTION": "S3CRET"}))
    assert [problem.value for problem in found.values()] == ["[secret]"]


def test_a_family_that_tgi_has_no_code_for_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no code of its own for qwen3" in warnings(monkeypatch, model(repository="Qwen/Qwen3-32B", gpu=gpus(2)))
    vllm = model(repository="Qwen/Qwen3-32B", gpu=gpus(2), engine="vllm")
    assert "no code of its own" not in warnings(monkeypatch, vllm)


def test_a_canary_needs_two_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    found = problems(monkeypatch, model(rollout={"mode": "canary"}))
    assert "a canary needs a second version" in found["llmserve:models[0].rollout.mode"].reason


def test_versions_that_are_the_same_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [{"name": "stable", "weight": 90}, {"name": "canary", "weight": 10}]
    assert "version canary differs in nothing from stable" in warnings(
        monkeypatch, model(rollout={"mode": "canary", "versions": both})
    )
    both[1]["revision"] = "b" * 40
    assert "differs in nothing" not in warnings(monkeypatch, model(rollout={"versions": both}))


def test_a_time_to_fall_asleep_of_a_model_that_never_does_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    awake = {"min": 1, "max": 1, "queuePerReplica": 4}
    assert "idleMinutes does nothing" in warnings(monkeypatch, model(scaling=awake | {"idleMinutes": 5}))
    assert "idleMinutes" not in warnings(monkeypatch, model(scaling=awake))


# All at once


def test_everything_is_told_at_once_whatever_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong types beside wrong places, in the same model and in others."""
    found = problems(
        monkeypatch,
        model(name="Wrong!", repository=LLAMA, gpu=gpus(1, "nvidia-tesla-a100"), quantize="awq", dtype="float16"),
        model(scaling={"min": 3, "max": 2}, port=15001, rollout={"versions": [{"name": "a", "weight": 99}]}),
        model(name="n", gpu=gpus(3), drainSeconds="long"),
        capacity="cheap",
        podRange="10.0.0.0/14",
        systemMinNodes="7",
    )
    assert set(found) == {
        "llmserve:capacity",
        "llmserve:nodeRange",
        "llmserve:systemMinNodes",
        "llmserve:models[0].name",
        "llmserve:models[0].gpu",
        "llmserve:models[0].quantize",
        "llmserve:models[0].dtype",
        "llmserve:models[1].scaling",
        "llmserve:models[1].scaling.min",
        "llmserve:models[1].port",
        "llmserve:models[1].rollout.versions",
        "llmserve:models[2].gpu.tensorParallel",
        "llmserve:models[2].drainSeconds",
    }


def test_what_could_not_be_read_is_not_taken_for_its_default() -> None:
    read = Model.model_validate(model(port="many"), context=WHAT_CAN_BE_READ)
    assert read.name == "m"
    with pytest.raises(NotRead, match="port"):
        _ = read.port
    with pytest.raises(AttributeError):
        _ = read.no_such_setting  # type: ignore[attr-defined]

"""vLLM as a model's engine: its container, its series, and what is refused before it would refuse it itself."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import versions
from catalog.architectures import Architecture, Quantization, architectures
from components.engines import EngineContainer, container_of
from monitoring.dashboard import serving_dashboard
from monitoring.engine_metrics import TGI, VLLM, EngineMetrics
from monitoring.queries import asked_for, queue
from monitoring.rules import rule_groups
from monitoring.served_model import ModelVersion, ServedModel
from planning.checks import engine, vllm
from planning.given import Given
from planning.observed import engine_metrics
from planning.plan import Plan
from planning.recording_rules import rests_on
from planning.refusal import Problem
from planning.schema import WHAT_CAN_BE_READ, EngineName, Metrics, Model, NotRead, Stack
from preview import Snapshot
from tests.recording import Record, decided, rules_in
from tests.scaling import scaling_rules
from tests.test_monitoring_dashboard import rules_of, series_of, without_macros
from tests.test_program import DEPLOYMENT, SCALED_OBJECT, environment, pods, spec

REPOSITORY = "Qwen/Qwen2.5-7B-Instruct"
MODEL: dict[str, Any] = {
    "name": "qwen",
    "engine": "vllm",
    "repository": REPOSITORY,
    "gpu": {"type": "nvidia-tesla-a100"},
    "scaling": {"max": 2, "queuePerReplica": 4},
}


def declared(**changes: Any) -> Model:
    return Model.model_validate(MODEL | changes)


def config(**changes: Any) -> dict[str, str]:
    return {"models": json.dumps([MODEL | changes])}


# The container

Container = Callable[..., EngineContainer]


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch) -> Container:
    """Describe the only version of a model that differs by these settings."""

    def of(token_secret: str | None = None, **changes: Any) -> EngineContainer:
        plan: Plan = decided("dev", config(**changes), {}, monkeypatch)
        [model] = plan.models
        return container_of(model, model.versions[0], token_secret)

    return of


def options(container: EngineContainer) -> dict[str, str]:
    return dict(argument[2:].split("=", 1) for argument in container.arguments if "=" in argument)


def variables(container: EngineContainer) -> dict[str, Any]:
    return {str(variable.name): variable.value for variable in container.environment}


def test_the_model_comes_first_and_its_names_last(container: Container) -> None:
    """`vllm serve` takes the model by its place, and everything after --served-model-name as a name."""
    arguments = container().arguments
    assert arguments[0] == REPOSITORY
    assert arguments[-3:] == ("--served-model-name", "qwen", REPOSITORY)
    assert all(argument.startswith("--") for argument in arguments[1:-2])


def test_what_nobody_set_is_left_to_vllm(container: Container) -> None:
    assert options(container(drainSeconds=70)) == {
        "port": "8080",
        "tensor-parallel-size": "1",
        "max-model-len": "auto",
        "shutdown-timeout": "70",
    }


@pytest.mark.parametrize(
    ("changes", "option", "value"),
    [
        ({"revision": "a" * 40}, "revision", "a" * 40),
        ({"port": 9000}, "port", "9000"),
        ({"gpu": {"type": "nvidia-tesla-a100", "tensorParallel": 4}}, "tensor-parallel-size", "4"),
        ({"quantize": "fp8"}, "quantization", "fp8"),
        ({"dtype": "float16"}, "dtype", "float16"),
        ({"batching": {"maxTotalTokens": 4096}}, "max-model-len", "4096"),
        ({"batching": {"maxBatchPrefillTokens": 1024}}, "max-num-batched-tokens", "1024"),
        ({"batching": {"maxBatchSize": 64}}, "max-num-seqs", "64"),
        ({"drainSeconds": 0}, "shutdown-timeout", "0"),
    ],
)
def test_a_setting_becomes_an_option(container: Container, changes: dict[str, Any], option: str, value: str) -> None:
    assert options(container(**changes))[option] == value


def test_it_is_ready_when_it_answers_and_nothing_has_to_prime_it(container: Container) -> None:
    startup: Any = container(startupMinutes=45).startup
    assert (startup.http_get.path, startup.http_get.port) == ("/health", "http")
    assert startup.exec_ is None
    assert startup.failure_threshold * startup.period_seconds == 45 * 60


def test_it_is_nobody_special_and_writes_where_that_user_may(container: Container) -> None:
    made = container()
    security: Any = made.security
    assert (security.run_as_non_root, security.run_as_user, security.run_as_group) == (True, 2000, 0)
    assert security.allow_privilege_escalation is False
    assert security.capabilities.drop == ["ALL"]
    assert security.seccomp_profile.type == "RuntimeDefault"
    assert made.cache_path == f"{variables(made)['HOME']}/.cache"


def test_it_reports_nothing_to_its_makers_and_gets_the_token_by_reference(container: Container) -> None:
    assert variables(container())["VLLM_NO_USAGE_STATS"] == "1"
    assert "HF_TOKEN" not in variables(container())
    [token] = [variable for variable in container("the-secret").environment if variable.name == "HF_TOKEN"]
    reference: Any = token.value_from
    assert token.value is None
    assert (reference.secret_key_ref.name, reference.secret_key_ref.key) == ("the-secret", "HF_TOKEN")


def test_variables_of_the_model_reach_it(container: Container) -> None:
    assert variables(container(environment={"VLLM_LOGGING_LEVEL": "DEBUG"}))["VLLM_LOGGING_LEVEL"] == "DEBUG"


# The series

SERVED = ServedModel(
    name="qwen",
    versions=(ModelVersion(name="stable", share=0.9), ModelVersion(name="canary", share=0.1)),
    engine=VLLM,
    p95_seconds=12,
    availability=99.9,
)
# As /metrics shows them: https://github.com/vllm-project/vllm/blob/v0.31.0/vllm/v1/metrics/loggers.py gives the names,
# and the client library adds `_total` to counters and `_bucket` to the parts of histograms.
COUNTERS = {"vllm:prompt_tokens", "vllm:generation_tokens", "vllm:request_success"}
GAUGES = {"vllm:num_requests_running", "vllm:num_requests_waiting"}
HISTOGRAMS = {
    "vllm:e2e_request_latency_seconds",
    "vllm:request_queue_time_seconds",
    "vllm:request_time_per_output_token_seconds",
}
OFFERED = {f"{name}_total" for name in COUNTERS} | GAUGES | {f"{name}_bucket" for name in HISTOGRAMS}


def test_rules_read_what_vllm_offers_and_all_of_it() -> None:
    read = set().union(*(series_of(rule["expr"]) for rule in rules_of(SERVED)))
    assert read == OFFERED


def test_rules_call_it_what_they_call_tgi() -> None:
    """Whoever changes the engine changes no dashboard and no alert; failures are no series of their own in vLLM."""
    of_tgi = {rule["record"] for rule in rules_of(replace(SERVED, engine=TGI))}
    assert of_tgi - {rule["record"] for rule in rules_of(SERVED)} == {"llm:request_failures_total"}


def test_no_panel_is_without_its_series() -> None:
    recorded = {rule["record"] for rule in rules_of(SERVED)}
    board = json.loads(serving_dashboard([SERVED]))
    assert board == json.loads(serving_dashboard([replace(SERVED, engine=TGI)]))
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    read = set().union(*(series_of(without_macros(query)) for query in queries))
    # What it costs is the same for every engine: tests/test_monitoring_spend.py has it.
    assert {name for name in read if name.startswith("llm:") and "usd" not in name and "priced" not in name} <= recorded
    assert not [name for name in read if name.startswith("vllm:")]


def test_what_scales_it_asks_for_its_queue_and_its_batch() -> None:
    assert series_of(queue("qwen", "stable", VLLM)) == {"vllm:num_requests_waiting", "up"}
    assert series_of(asked_for("qwen", VLLM)) == {*GAUGES, "istio_requests_total", "up"}
    made = scaling_rules(model="qwen", engine=VLLM)
    assert set().union(*(series_of(rule.expression) for rule in made)) >= {*GAUGES, "kube_deployment_spec_replicas"}


@pytest.mark.parametrize("name", ["llm:requests_total", "vllm:a-b", "vllm:x{", "vllm:x y", "", "INF", "on"])
def test_a_colon_opens_no_other_door(name: str) -> None:
    """`llm:` is for what the rules record: one that read itself would never be anything."""
    with pytest.raises(ValueError, match="not the name of a Prometheus metric"):
        EngineMetrics(queue=name)


@given(st.text(max_size=12) | st.from_regex("[A-Za-z_:]{1,4}", fullmatch=True))
def test_whatever_is_let_in_is_one_series(name: str) -> None:
    try:
        engine = EngineMetrics(queue=name)
    except ValueError:
        return
    assert series_of(queue("qwen", "stable", engine)) == {name, "up"}


def test_nobody_writes_a_colon_into_a_stack() -> None:
    with pytest.raises(ValidationError, match="requests"):
        Metrics.model_validate({"requests": "vllm:requests_total", "latencySeconds": "took_seconds"})


def test_the_engine_decides_the_series() -> None:
    own = {"requests": "asked_total", "latencySeconds": "took_seconds"}
    assert engine_metrics(declared()) is VLLM
    assert engine_metrics(declared(engine="tgi")) is TGI
    assert engine_metrics(declared(engine="custom", metrics=own)).latency_bucket == "took_seconds_bucket"
    with pytest.raises(ValueError, match="qwen"):
        engine_metrics(declared(engine="custom"))


# What is refused

[KNOWN] = [known for known in architectures() if known.name == "llama-3.1-8b"]
CONFIG = "config.json"
WAYS = ("awq", "compressed-tensors", "fp8", "gptq")


def found(
    changes: Mapping[str, Any] | None = None, stored: Quantization | None = None, shape: Architecture = KNOWN
) -> list[Problem]:
    """Judge a model whose `config.json` says that its weights are stored so."""
    judged = Given(
        stack=Stack.model_construct(), images={}, architectures={CONFIG: replace(shape, quantization=stored)}
    )
    return judge(judged, declared(architecture=CONFIG, **(changes or {})))


def judge(judged: Given, model: Model) -> list[Problem]:
    """Every check that knows vLLM, each as far as it can read."""
    problems: list[Problem] = []
    for check in (engine.variables, engine.weights, vllm.limits, vllm.quantised, vllm.groups, vllm.batch):
        with suppress(NotRead):
            problems += check(judged, model, "llmserve:models[0]")
    return problems


def keys(problems: list[Problem]) -> list[str]:
    return [problem.key.removeprefix("llmserve:models[0].") for problem in problems]


def stored(method: str, group_size: int | None = None) -> Quantization:
    return Quantization(method=method, bits=4, group_size=group_size)


def version(name: str, weight: int, **fields: Any) -> dict[str, Any]:
    return {"name": name, "weight": weight, **fields}


def test_an_ordinary_model_is_let_through() -> None:
    limits = {"maxTotalTokens": 8192, "maxBatchPrefillTokens": 2048, "maxBatchSize": 256}
    assert found({"batching": limits, "dtype": "bfloat16", "quantize": "fp8"}) == []


def test_other_engines_are_not_judged() -> None:
    bad = {"quantize": "eetq", "batching": {"maxInputTokens": 1, "maxBatchSize": 9999}}
    assert found(bad)
    assert found(bad | {"engine": "tgi"}) == []


def test_limits_without_a_counterpart_are_refused_wherever_they_stand() -> None:
    canary = version("canary", 10, batching={"maxConcurrentRequests": 9})
    rollout = {"versions": [version("stable", 90), canary]}
    assert keys(found({"batching": {"maxInputTokens": 5}, "rollout": rollout})) == [
        "batching.maxInputTokens",
        "rollout.versions[1].batching.maxConcurrentRequests",
    ]


@pytest.mark.parametrize("name", ["CUDA_MEMORY_FRACTION", "KV_CACHE_DTYPE", "HF_HOME", "HOME", "VLLM_API_KEY"])
def test_variables_that_do_nothing_or_harm_are_refused(name: str) -> None:
    [problem] = found({"environment": {name: "hush", "VLLM_LOGGING_LEVEL": "DEBUG"}})
    assert problem.key == f"llmserve:models[0].environment.{name}"
    assert "hush" not in str(problem)


@pytest.mark.parametrize("way", ["bitsandbytes-fp4", "bitsandbytes-nf4", "eetq", "exl2", "marlin"])
def test_ways_to_quantise_of_tgi_alone_are_refused(way: str) -> None:
    [problem] = found({"quantize": way})
    assert (problem.key, problem.value) == ("llmserve:models[0].quantize", way)


@pytest.mark.parametrize("method", ["bitsandbytes", "eetq", "exl2", "marlin"])
def test_weights_that_the_image_cannot_read_are_refused(method: str) -> None:
    [problem] = found(stored=stored(method))
    assert method in problem.reason


@pytest.mark.parametrize("method", WAYS)
@pytest.mark.parametrize("way", [*WAYS, None])
def test_weights_are_read_as_they_are_stored(method: str, way: str | None) -> None:
    problems = found({"quantize": way} if way else {}, stored=stored(method))
    assert keys(problems) == ([] if way in (method, None) else ["quantize"])


def test_a_way_that_only_vllm_has_a_name_for_is_left_to_it() -> None:
    assert found(stored=stored("auto-round", 128)) == []


@given(shards=st.sampled_from([1, 2, 4, 8, 16]), blocks=st.integers(1, 64), heads=st.sampled_from([16, 32, 48]))
def test_shards_never_cut_through_a_group_of_awq_weights(shards: int, blocks: int, heads: int) -> None:
    shape = replace(KNOWN, intermediate_size=blocks * 128 * 16 // 8, attention_heads=heads, head_dim=128)
    gpu = {"gpu": {"type": "nvidia-tesla-a100", "tensorParallel": shards}}
    problems = found(gpu, stored=stored("awq", 128), shape=shape)
    cut = any(size // shards % 128 for size in (shape.intermediate_size, heads * 128))
    assert keys(problems) == (["gpu.tensorParallel"] if cut else [])
    assert found(gpu, stored=stored("gptq", 128), shape=shape) == []
    assert found(gpu, stored=stored("awq"), shape=shape) == []
    # A mixture of experts has kernels of its own, which are not judged here.
    assert found(gpu, stored=stored("awq", 128), shape=replace(shape, experts=8)) == []


def test_the_way_out_of_a_cut_group_is_one() -> None:
    """Rows of 29,568, as Qwen2.5-72B has them, are 231 groups of 128: an odd number."""
    shape = replace(KNOWN, intermediate_size=29568, attention_heads=64, head_dim=128)
    eight = {"gpu": {"type": "nvidia-tesla-a100", "tensorParallel": 8}}
    [problem] = found(eight, stored=stored("awq", 128), shape=shape)
    assert problem.fix == "tensorParallel 1"


@given(requests=st.integers(1, 5000), tokens=st.one_of(st.none(), st.integers(1, 5000)), whole=st.integers(1, 10**6))
def test_a_batch_has_a_token_for_each_of_its_requests(requests: int, tokens: int | None, whole: int) -> None:
    limits = {"maxBatchSize": requests, "maxTotalTokens": whole}
    problems = found({"batching": limits | ({} if tokens is None else {"maxBatchPrefillTokens": tokens})})
    # EngineArgs._set_default_max_num_seqs_and_batched_tokens_args, then SchedulerConfig.verify_max_model_len
    refused = (min(requests * whole, 2048) if tokens is None else tokens) < requests
    assert keys(problems) == (["batching.maxBatchSize"] if refused else [])


def test_a_version_is_judged_by_what_it_adds_up_to_and_all_alike_once() -> None:
    versions_ = [
        version("stable", 80),
        version("same", 10),
        version("canary", 10, batching={"maxBatchPrefillTokens": 8}),
    ]
    problems = found({"batching": {"maxBatchSize": 4096}, "rollout": {"versions": versions_}})
    assert keys(problems) == ["batching.maxBatchSize"] * 2
    assert "canary" in problems[1].reason
    assert "canary" not in problems[0].reason


def test_one_setting_that_cannot_be_read_hides_no_other_mistake() -> None:
    written = MODEL | {"quantize": "nonsense", "batching": {"maxBatchSize": 4096}, "environment": {"HOME": "/"}}
    readable = Model.model_validate(written, context=WHAT_CAN_BE_READ)
    judged = Given(stack=Stack.model_construct(), images={})
    assert keys(judge(judged, readable)) == [
        "environment.HOME",
        "batching.maxBatchSize",
    ]


# The whole graph


@pytest.fixture
def program(record: Record) -> Snapshot:
    rollout = {"versions": [version("stable", 90), version("canary", 10, batching={"maxTotalTokens": 4096})]}
    return record("dev", config=config(rollout=rollout, drainSeconds=200))


def engines(program: Snapshot) -> dict[str, dict[str, Any]]:
    return {name: pod["spec"]["containers"][0] for name, pod in pods(program).items() if name.startswith("qwen-")}


def test_the_graph_runs_vllm_from_the_stacks_own_mirror_of_docker_hub(program: Snapshot) -> None:
    [path] = {engine["image"].split("/", 3)[3] for engine in engines(program).values()}
    assert f"docker.io/{path}" == versions.VLLM_IMAGE.reference
    remote = program.named("images-docker-io").inputs
    assert remote["remoteRepositoryConfig"]["commonRepository"] == {"uri": "https://registry-1.docker.io"}
    assert versions.ENGINE_IMAGES[EngineName.VLLM] == versions.IMAGES["VLLM_IMAGE"] == versions.VLLM_IMAGE.reference


def test_each_version_gets_its_own_arguments(program: Snapshot) -> None:
    arguments = {name: engine["args"] for name, engine in engines(program).items()}
    assert "--max-model-len=auto" in arguments["qwen-stable"]
    assert "--max-model-len=4096" in arguments["qwen-canary"]
    for made in engines(program).values():
        # The image's own entry point is `vllm serve`.
        assert "command" not in made


def test_no_pod_is_killed_while_vllm_may_still_answer(program: Snapshot) -> None:
    for name, pod in pods(program).items():
        if name.startswith("qwen-"):
            assert "--shutdown-timeout=200" in pod["spec"]["containers"][0]["args"]
            assert pod["spec"]["terminationGracePeriodSeconds"] > 200


def test_the_cache_is_the_disk_that_was_set_aside(program: Snapshot) -> None:
    for name, pod in pods(program).items():
        if name.startswith("qwen-"):
            mounts = {m["name"]: m["mountPath"] for m in pod["spec"]["containers"][0]["volumeMounts"]}
            assert mounts["model-cache"] == f"{environment(pod)['HOME']}/.cache"


def test_keda_and_the_rules_ask_for_vllms_series(program: Snapshot) -> None:
    asked = {
        name
        for scaled in program.of_type(SCALED_OBJECT)
        for trigger in spec(scaled)["triggers"]
        for rule in rests_on(trigger["metadata"]["query"], rules_in(program))
        for name in series_of(rule.expression)
    }
    assert asked >= GAUGES
    assert not [name for name in asked if name.startswith("tgi_")]
    [rules] = [r for r in program.resources if r.name == "models-rules"]
    assert spec(rules)["groups"][:1] == rule_groups([replace(SERVED, p95_seconds=None, availability=None)])


def test_tgi_gets_no_arguments(prod: Snapshot) -> None:
    for deployment in prod.of_type(DEPLOYMENT):
        assert "args" not in spec(deployment)["template"]["spec"]["containers"][0], deployment.name

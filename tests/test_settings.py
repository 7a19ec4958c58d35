"""Every setting does something, and says no to what it cannot do."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import preview
from monitoring.scaling import ASKED, LOAD
from planning.recording_rules import look_back_seconds
from planning.refusal import Refusal
from planning.schema import Batching, Declared, Gpu, Metrics, Model, Objective, Rollout, Scaling, Stack, Version
from preview import Refused, Secret, Snapshot, policies
from settings import KEYS, NAMESPACE, TOKEN_KEY
from tests.recording import ROOT, Record, decided, rule_in, rules_in

POOL = "gcp:container/nodePool:NodePool"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
Reader = Callable[[Snapshot], Any]


def at(name: str, path: str, type_token: str | None = None) -> Reader:
    """Read one input of one resource, by a dotted path with list positions."""

    def read(program: Snapshot) -> Any:
        value: Any = program.named(name, type_token).inputs
        for part in path.split("."):
            value = value[int(part)] if part.isdigit() else value.get(part)
            if value is None:
                return None
        return value

    return read


def env(deployment: str, variable: str) -> Reader:
    def read(program: Snapshot) -> Any:
        container = program.named(deployment, DEPLOYMENT).inputs["spec"]["template"]["spec"]["containers"][0]
        return {v["name"]: v.get("value") for v in container["env"]}.get(variable)

    return read


def dashboard(program: Snapshot) -> str:
    [text] = program.named("models-dashboard").inputs["data"].values()
    return str(text)


def shown(pattern: str) -> Reader:
    return lambda program: bool(re.search(pattern, dashboard(program)))


def expected_usd(program: Snapshot) -> int:
    """Whole US dollars an hour that the alert compares with."""
    groups = program.named("models-rules").inputs["spec"]["groups"]
    [found] = [rule["expr"] for group in groups for rule in group["rules"] if "gpu_expected" in rule.get("record", "")]
    return round(float(found.removeprefix("vector(").removesuffix(")")))


CLUSTER, SYSTEM, STABLE = "cluster-control-plane", "cluster-system", "llama-3-3-70b-stable"


def asleep_seconds(program: Snapshot) -> float:
    """How long nobody asks until arr-coc-0-1 sleeps: what its wake-up remembers, and KEDA's cooldown."""
    spec = program.named("arr-coc-0-1-stable-scaling").inputs["spec"]
    return look_back_seconds(spec["triggers"][0]["metadata"]["query"], rules_in(program)) + float(
        spec["cooldownPeriod"]
    )


def scaling(name: str, model: str) -> Reader:
    """Read the query of a version's recorded series."""
    return lambda program: rule_in(program, name, model)


ARR, POD = "arr-coc-0-1-stable", "spec.template.spec"
TEMPLATE = "spec.template.metadata"
ENGINE = f"{POD}.containers.0"
MACHINE = "a2-ultragpu-1g-spot"

# (key, value, where it shows, what shows there); on the prod stack
STACK_EFFECTS: list[tuple[str, str, Reader, Any]] = [
    (
        "gcp:project",
        "another-project",
        at(CLUSTER, "workloadIdentityConfig.workloadPool"),
        "another-project.svc.id.goog",
    ),
    ("gcp:region", "us-central1", at(CLUSTER, "location"), "us-central1"),
    ("name", "shop", at(CLUSTER, "name"), "shop"),
    ("capacity", "spot", lambda p: len(at("compute-class-a2-ultragpu-1g", "spec.priorities")(p)), 1),
    ("migrate", "rolling", at(STABLE, f"{TEMPLATE}.annotations.llmserve/capacity"), "spot"),
    ("flexStart", "true", at("a2-ultragpu-1g-flex-start", "nodeConfig.flexStart", POOL), True),
    (
        "reservations",
        '{"a2-ultragpu-4g": "ours"}',
        at("a2-ultragpu-4g-reserved", "nodeConfig.reservationAffinity.values", POOL),
        ["ours"],
    ),
    ("zones", '["us-east5-b"]', at(MACHINE, "nodeLocations", POOL), ["us-east5-b"]),
    ("deletionProtection", "false", at(CLUSTER, "deletionProtection"), False),
    ("clusterGeneration", "2", at("kubernetes", "clusterIdentifier"), "example-project/us-east5/llmserve-prod#2"),
    ("releaseChannel", "STABLE", at(CLUSTER, "releaseChannel.channel"), "STABLE"),
    ("gpuDriverVersion", "default", lambda p: "--version=latest" in str(p.named("gpu-driver-installer").inputs), False),
    ("spotShutdownGraceSeconds", "30", at(MACHINE, "nodeConfig.kubeletConfig.shutdownGracePeriodSeconds", POOL), 30),
    ("nodeRange", "10.1.0.0/20", at("network-nodes", "ipCidrRange"), "10.1.0.0/20"),
    ("podRange", "10.128.0.0/14", at("network-nodes", "secondaryIpRanges.0.ipCidrRange"), "10.128.0.0/14"),
    ("serviceRange", "10.81.0.0/20", at("network-nodes", "secondaryIpRanges.1.ipCidrRange"), "10.81.0.0/20"),
    ("controlPlaneRange", "10.91.0.0/28", at("network-webhooks", "sourceRanges"), ["10.91.0.0/28"]),
    ("systemMachineType", "n2-standard-8", at(SYSTEM, "nodeConfig.machineType"), "n2-standard-8"),
    ("systemMinNodes", "3", at(SYSTEM, "autoscaling.totalMinNodeCount"), 3),
    ("systemMaxNodes", "9", at(SYSTEM, "autoscaling.totalMaxNodeCount"), 9),
    ("domain", "models.example.com", at("gateway-listener", "spec.servers.0.hosts"), ["models/*.models.example.com"]),
    ("weightsFrom", "bucket", at(CLUSTER, "addonsConfig.gcsFuseCsiDriverConfig.enabled"), True),
    (
        "budget",
        '{"billingAccount": "012345-6789AB-CDEF01", "monthlyUsd": 25000}',
        at("budget-month", "amount.specifiedAmount"),
        {"currencyCode": "USD", "units": "25000"},
    ),
    ("policies", '{"images-pinned": "mandatory"}', lambda p: policies.is_stopped(policies.judge(ROOT, p)), True),
    ("maxUsdPerHour", "1", lambda p: "1 is the most" in str(policies.judge(ROOT, p)), True),
    ("usage", '{"hoursADay": 0, "onDemandShare": 0}', expected_usd, 30),
    ("huggingFaceTokenSecret", "ours", at("hugging-face-token-access", "secretId"), "ours"),
]

# (path in models[], value, where it shows, what shows there); arr-coc-0-1 is 0, Llama is 1
MODEL_EFFECTS: list[tuple[str, str, Reader, Any]] = [
    ("[0].name", "renamed", lambda p: "renamed" in p.outputs["models"], True),
    ("[1].repository", "Qwen/Qwen2.5-72B-Instruct", env(STABLE, "MODEL_ID"), "Qwen/Qwen2.5-72B-Instruct"),
    ("[1].revision", "a" * 40, env(STABLE, "REVISION"), "a" * 40),
    ("[1].quantize", "eetq", env(STABLE, "QUANTIZE"), "eetq"),
    ("[1].dtype", "bfloat16", env(STABLE, "DTYPE"), "bfloat16"),
    ("[1].batching.maxConcurrentRequests", "7", env(STABLE, "MAX_CONCURRENT_REQUESTS"), "7"),
    ("[1].batching.maxInputTokens", "6", env(STABLE, "MAX_INPUT_TOKENS"), "6"),
    ("[1].batching.maxTotalTokens", "7", env(STABLE, "MAX_TOTAL_TOKENS"), "7"),
    ("[1].batching.maxBatchPrefillTokens", "7", env(STABLE, "MAX_BATCH_PREFILL_TOKENS"), "7"),
    ("[1].batching.maxBatchSize", "7", env(STABLE, "MAX_BATCH_SIZE"), "7"),
    ("[0].image", "quay.io/ours/engine:1", at("images-quay-io", "mode"), "REMOTE_REPOSITORY"),
    ("[0].port", "9000", at(ARR, f"{ENGINE}.ports.0.containerPort"), 9000),
    ("[0].healthPath", "/ready", at(ARR, f"{ENGINE}.readinessProbe.httpGet.path"), "/ready"),
    ("[0].runAsRoot", "true", at(ARR, f"{ENGINE}.securityContext.runAsNonRoot"), None),
    ("[0].metrics.path", "/stats", at("arr-coc-0-1-traffic-routes", "spec.http.0.match.0.uri.exact"), "/stats"),
    ("[0].metrics.requests", "asked_total", shown(r"rate\(asked_total\[5m\]\)"), True),
    ("[0].metrics.latencySeconds", "took_seconds", shown(r"rate\(took_seconds_bucket\[5m\]\)"), True),
    ("[0].metrics.inFlight", "running", lambda p: "running" in scaling(ASKED, "arr-coc-0-1")(p), True),
    ("[0].metrics.averages.relevance", "patch_type", shown(r"avg\(relevance\) by \(patch_type\)"), True),
    ("[1].environment.LOG_LEVEL", "debug", env(STABLE, "LOG_LEVEL"), "debug"),
    (
        "[0].gpu.tensorParallel",
        "2",
        at(ARR, f"{POD}.nodeSelector", None),
        {"cloud.google.com/compute-class": "a2-ultragpu-2g"},
    ),
    ("[0].scaling.min", "2", at(f"{ARR}-scaling", "spec.minReplicaCount"), 2),
    ("[0].scaling.max", "5", at(f"{ARR}-scaling", "spec.maxReplicaCount"), 5),
    ("[0].scaling.idleMinutes", "30", asleep_seconds, 1800),
    ("[1].scaling.baseOnDemandReplicas", "0", lambda p: f"{STABLE}-floor" in {r.name for r in p.resources}, False),
    (
        "[0].scaling.dynamicOnDemandFallback",
        "false",
        lambda p: len(at("compute-class-a2-ultragpu-1g", "spec.priorities")(p)),
        1,
    ),
    ("[0].batchTolerant", "false", lambda p: "arr-coc-0-1 lives on spot" in str(p.diagnostics), True),
    ("[0].scaling.requestsPerSecondPerReplica", "4", lambda p: scaling(LOAD, "arr-coc-0-1")(p)[-5:], ") / 4"),
    (
        "[0].scaling.normalRequestsPerSecond",
        "12",
        lambda p: p.outputs["models"]["arr-coc-0-1"]["replicas"]["normal"],
        6,
    ),
    ("[1].scaling.queuePerReplica", "9", lambda p: scaling(LOAD, "llama-3-3-70b")(p)[-5:], ") / 9"),
    ("[1].rollout.versions[1].name", "trial", at("llama-3-3-70b-traffic-rule", "spec.subsets.1.name"), "trial"),
    ("[1].rollout.versions[1].revision", "b" * 40, env("llama-3-3-70b-canary", "REVISION"), "b" * 40),
    (
        "[1].rollout.versions[1].image",
        "own:2",
        lambda p: at("llama-3-3-70b-canary", f"{ENGINE}.image")(p)[-6:],
        "/own:2",
    ),
    ("[1].rollout.versions[1].batching.maxBatchSize", "3", env("llama-3-3-70b-canary", "MAX_BATCH_SIZE"), "3"),
    ("[1].rollout.versions[1].environment.LOG_LEVEL", "debug", env("llama-3-3-70b-canary", "LOG_LEVEL"), "debug"),
    ("[1].startupMinutes", "45", at(STABLE, f"{ENGINE}.startupProbe.failureThreshold"), 270),
    ("[1].millisecondsPerToken", "50", env(STABLE, "GRACEFUL_TERMINATION_TIMEOUT"), "410"),
    ("[1].drainSeconds", "200", env(STABLE, "GRACEFUL_TERMINATION_TIMEOUT"), "200"),
    ("[1].slo.p95Seconds", "33.25", shown(r"\b33\.25\b"), True),
    ("[1].slo.availability", "99.77", shown(r"99\.77|0\.9977"), True),
]


# Each changes what another one shows, so they cannot be tried together with the rest.
ALONE = {
    "flexStart",
    "gcp:region",
    "gcp:project",
    "name",
    "weightsFrom",
    "[0].name",
    "[0].image",
    "[1].dtype",
    "[1].millisecondsPerToken",
    "[0].gpu.tensorParallel",
    "[0].scaling.min",
    "[0].scaling.normalRequestsPerSecond",
    "[1].rollout.versions[1].name",
    "[1].rollout.versions[1].image",
}
TOGETHER_ON_STACK = {e[0]: e[1] for e in STACK_EFFECTS if e[0] not in ALONE}
TOGETHER_IN_MODELS = {f"models{e[0]}": e[1] for e in MODEL_EFFECTS if e[0] not in ALONE}


def before(read: Reader, program: Snapshot) -> Any:
    try:
        return read(program)
    except LookupError:
        return None  # the resource that shows it exists only with the value


@pytest.mark.parametrize(("key", "value", "read", "expected"), STACK_EFFECTS, ids=[e[0] for e in STACK_EFFECTS])
def test_a_setting_of_the_stack_does_something(
    record: Record, key: str, value: str, read: Reader, expected: Any
) -> None:
    assert before(read, record("prod")) != expected, "the value is the one that stands there anyway"
    assert read(record("prod", config={key: value} if key in ALONE else TOGETHER_ON_STACK)) == expected


@pytest.mark.parametrize(("path", "value", "read", "expected"), MODEL_EFFECTS, ids=[e[0] for e in MODEL_EFFECTS])
def test_a_setting_of_a_model_does_something(
    record: Record, path: str, value: str, read: Reader, expected: Any
) -> None:
    assert before(read, record("prod")) != expected, "the value is the one that stands there anyway"
    changed = record("prod", paths={f"models{path}": value} if path in ALONE else TOGETHER_IN_MODELS)
    assert read(changed) == expected


# What needs two changes at once, or can only be refused: each is tested by name elsewhere.
ELSEWHERE = {
    "architecture",
    "gatewayExposure",
    "huggingFaceTokenFrom",
    "models",
    "driver",
    "mode",
    "weight",
    "type",
    "engine",
    "queue",
}


def test_every_setting_has_a_test_of_its_effect() -> None:
    tested = {effect[0].rpartition(":")[2] for effect in STACK_EFFECTS}
    assert {key.rpartition(":")[2] for key in KEYS} - tested <= ELSEWHERE
    inside = {part for effect in MODEL_EFFECTS for part in re.split(r"\.|\[\d+\]", effect[0]) if part}
    for model in (Model, Gpu, Objective, Scaling, Batching, Metrics, Rollout, Version):
        names = {field.alias for field in model.model_fields.values()}
        assert names - inside <= ELSEWHERE, model.__name__


def test_where_the_token_is_from_decides_whether_the_engine_gets_one(record: Record) -> None:
    def has_token(program: Snapshot) -> bool:
        return "HF_TOKEN" in str(program.named("qwen2-5-7b-stable", DEPLOYMENT).inputs)

    assert not has_token(record("dev"))
    assert has_token(record("dev", config={"huggingFaceTokenFrom": "secret-manager"}))


def test_the_engine_decides_how_a_model_is_started(record: Record) -> None:
    program = record("prod")
    assert env(ARR, "MODEL_ID")(program) is None
    assert env(ARR, "PORT")(program) == "8080"
    assert env(STABLE, "MODEL_ID")(program) == "meta-llama/Llama-3.3-70B-Instruct"


def test_the_card_decides_the_machine(record: Record) -> None:
    program = record("prod", config={"gcp:region": "us-central1"}, paths={"models[0].gpu.type": "nvidia-tesla-a100"})
    assert program.named("a2-highgpu-1g-spot", POOL).inputs["nodeConfig"]["machineType"] == "a2-highgpu-1g"


def own_model(**metrics: str) -> str:
    return json.dumps(
        [
            {
                "name": "own",
                "engine": "custom",
                "image": "own:1",
                "healthPath": "/health",
                "metrics": {"requests": "r_total", "latencySeconds": "l_seconds"} | metrics,
                "gpu": {"type": "nvidia-a100-80gb"},
                "scaling": {"max": 2, "queuePerReplica": 3},
            }
        ]
    )


def test_a_custom_engine_may_scale_on_its_own_queue(record: Record) -> None:
    program = record("prod", config={"models": own_model(queue="waiting", inFlight="running")})
    assert "waiting" in scaling(LOAD, "own")(program)


NEWEST = {
    "name": "newest",
    "repository": "Qwen/Qwen2.5-7B-Instruct",
    "gpu": {"type": "nvidia-a100-80gb"},
    "scaling": {"max": 2, "queuePerReplica": 3},
}

# Refusals: (stack settings, settings inside models, texts that must be in the message)
REFUSALS: dict[str, tuple[dict[str, str], dict[str, str], list[str]]] = {
    "a misspelt key": (
        {"capasity": "spot"},
        {},
        ["llmserve:capasity", "nothing reads it", "did you mean llmserve:capacity?"],
    ),
    "a key of gcp that does nothing": ({"gcp:zone": "us-east5-a"}, {}, ["gcp:zone", "nothing reads it"]),
    "a misspelt key inside a model": (
        {},
        {"models[0].scaling.idleMinuts": "5"},
        ["models[0].scaling.idleMinuts", "did you mean idleMinutes?"],
    ),
    "an unknown capacity": (
        {"capacity": "cheap"},
        {},
        ["llmserve:capacity", '"cheap"', "'spot', 'on-demand' or 'spot-with-fallback'"],
    ),
    "a project that cannot be": ({"gcp:project": "X"}, {}, ["gcp:project", "must match"]),
    "a name too long": ({"name": "a" * 21}, {}, ["llmserve:name", "at most 20"]),
    "a range that is none": ({"podRange": "10.0.0.0/99"}, {}, ["llmserve:podRange", "is not an IPv4 range"]),
    "ranges that overlap": ({"podRange": "10.0.0.0/14"}, {}, ["llmserve:nodeRange", "overlaps with llmserve:podRange"]),
    "a control plane range of the wrong size": ({"controlPlaneRange": "10.90.0.0/24"}, {}, ["takes a /28"]),
    "more system nodes than the most": (
        {"systemMinNodes": "7"},
        {},
        ["llmserve:systemMinNodes = 7", "above llmserve:systemMaxNodes, 6"],
    ),
    "a public gateway": ({"gatewayExposure": "external"}, {}, ["needs TLS and authentication"]),
    "no model": ({"models": "[]"}, {}, ["llmserve:models", "nothing to serve"]),
    "a region without the card": (
        {"gcp:region": "us-west1"},
        {},
        ["gcp:region = us-west1", "us-central1", "models[0]"],
    ),
    "a region that is none": ({"gcp:region": "moon"}, {}, ["gcp:region", "must match"]),
    "a zone without the card": (
        {"zones": '["us-east5-c"]'},
        {},
        ["llmserve:zones = us-east5-c", "some of us-east5-a, us-east5-b"],
    ),
    "shards that no machine has": (
        {},
        {"models[1].gpu.tensorParallel": "3"},
        ["models[1].gpu.tensorParallel = 3", "one of 1, 2, 4, 8"],
    ),
    "an unknown card": (
        {},
        {"models[0].gpu.type": "nvidia-b200"},
        ["models[0].gpu.type", "'nvidia-tesla-a100' or 'nvidia-a100-80gb'"],
    ),
    "weights that miss a request": (
        {},
        {"models[1].rollout.versions[1].weight": "5"},
        ["models[1].rollout", "add up to 95"],
    ),
    "two versions of one name": (
        {},
        {"models[1].rollout.versions[1].name": "stable"},
        ["stable is named more than once"],
    ),
    "two models of one name": (
        {},
        {"models[1].name": "arr-coc-0-1"},
        ["llmserve:models", "arr-coc-0-1 stands there 2 times"],
    ),
    "a floor above the ceiling": ({}, {"models[0].scaling.min": "11"}, ["models[0].scaling", "min 11 is above max 10"]),
    "two signals": ({}, {"models[0].scaling.queuePerReplica": "4"}, ["models[0].scaling", "exactly one of"]),
    "a rate without the normal load": ({}, {"models[1].scaling.normalRequestsPerSecond": "4"}, ["go together"]),
    "a name that is no host": ({}, {"models[0].name": "Arr_Coc"}, ["models[0].name", "must match"]),
    "a wrong type": ({}, {"models[0].scaling.max": "many"}, ["models[0].scaling.max", '"many"', "integer"]),
    "an image that runs whatever is newest": (
        {},
        {"models[0].image": "arr-coc"},
        ["models[0].image = arr-coc", "neither a tag nor a digest"],
    ),
    "an image of a version": ({}, {"models[1].rollout.versions[1].image": "a b"}, ["versions[1].image"]),
    "a branch for a revision": ({}, {"models[1].revision": "main"}, ["models[1].revision", "must match"]),
    "what only another engine reads": (
        {},
        {"models[0].quantize": "awq"},
        ["models[0]", "engine custom does not read quantize"],
    ),
    "an engine without its needs": (
        {},
        {"models[1].engine": "custom"},
        ["engine custom needs image and healthPath and metrics"],
    ),
    "a queue that the engine does not show": (
        {"models": own_model()},
        {},
        ["models[0]", "queuePerReplica needs metrics.queue"],
    ),
    "weights in a bucket without a commit": (
        {"weightsFrom": "bucket", "models": json.dumps([NEWEST])},
        {},
        ["models[0].revision", "for version stable", "git ls-remote https://huggingface.co/Qwen/Qwen2.5-7B-Instruct"],
    ),
    "a token in clear": (
        {"huggingFaceTokenFrom": "config", "huggingFaceToken": "hf_x"},
        {},
        ["is in clear", "config set --secret"],
    ),
    "a token that is missing": (
        {"huggingFaceTokenFrom": "config"},
        {},
        [TOKEN_KEY, "is missing", "config set --secret"],
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_mistake_is_refused_with_its_key_and_the_fix(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config, paths, texts = REFUSALS[name]
    with pytest.raises((Refusal, Refused)) as refused:
        decided("prod", config, paths, monkeypatch)
    message = str(refused.value)
    assert "Pulumi.prod.yaml" in message
    assert "fix: " in message
    for text in texts:
        assert text in message, message


def test_all_mistakes_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refusal) as refused:
        decided("prod", {"capacity": "cheap", "gcp:zone": "us-east5-a"}, {"models[0].scaling.min": "11"}, monkeypatch)
    assert [problem.key for problem in refused.value.problems] == [
        "gcp:zone",
        "llmserve:capacity",
        "llmserve:models[0].scaling.min",
    ]


def test_a_token_in_clear_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refusal) as refused:
        decided("prod", {"huggingFaceToken": "hf_abcdefgh"}, {}, monkeypatch)
    assert "hf_abcdefgh" not in str(refused.value)


def test_a_stack_may_hold_its_token_and_what_pulumi_writes_is_accepted(tmp_path: Path) -> None:
    for item in ("Pulumi.yaml", "__main__.py", "cost_stack.py", "settings.py", "versions.py"):
        shutil.copy(ROOT / item, tmp_path / item)
    for folder in ("catalog", "components", "monitoring", "planning"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    written = (
        (ROOT / "Pulumi.dev.yaml")
        .read_text(encoding="utf-8")
        .replace("huggingFaceTokenFrom: none", "huggingFaceTokenFrom: config")
    )
    (tmp_path / "Pulumi.dev.yaml").write_text(
        "encryptionsalt: v1:abc\nsecretsprovider: gcpkms://key\nencryptedkey: abc\n"
        f"{written}  llmserve:huggingFaceToken: {{secure: v1:abc}}\n",
        encoding="utf-8",
    )
    program = preview.record(tmp_path, "dev")
    data = program.named("hugging-face-token-secret").inputs["stringData"]
    assert isinstance(data, Secret) or isinstance(data["HF_TOKEN"], Secret)
    assert "valueFrom" in str(program.named("qwen2-5-7b-stable", DEPLOYMENT).inputs)
    assert not [r for r in program.resources if r.type.endswith("SecretSync")]


def test_nothing_declared_takes_a_key_that_it_does_not_know() -> None:
    declarations: list[type[Declared]] = [Stack, *Declared.__subclasses__()]
    for declared in declarations:
        assert declared.model_config["extra"] == "forbid"
        assert declared.model_config["frozen"] is True


def test_the_namespace_is_the_projects_name() -> None:
    assert f"name: {NAMESPACE}\n" in (ROOT / "Pulumi.yaml").read_text(encoding="utf-8")

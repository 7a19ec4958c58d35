"""The limits of what a stack may say, key by key."""

import json

import pytest

from catalog.gpu_machines import GpuMachine, gpu_machines
from planning.images import resolve
from planning.observed import engine_metrics, served_model
from planning.refusal import Refusal
from planning.schema import Model
from planning.serving import boot_disk_gib, disk_for_pods_gib
from preview import Refused, Snapshot
from settings import KEYS
from tests.recording import decided
from tests.test_settings import own_model

# One wrong value for every key of a stack: what is not refused here is not checked at all.
WRONG: dict[str, tuple[str, str]] = {
    "gcp:project": ("X", "must match"),
    "gcp:region": ("moon", "must match"),
    "name": ("Shop", "must match"),
    "capacity": ("cheap", "not one of the allowed values"),
    "migrate": ("at-once", "not one of the allowed values"),
    "flexStart": ("maybe", "true or false"),
    "reservations": ('{"a2-ultragpu-1g": "No Name"}', "must match"),
    "zones": ('["us-east5-z"]', "is not in us-east5-z"),
    "deletionProtection": ("perhaps", "true or false"),
    "clusterGeneration": ("0", "greater than or equal to 1"),
    "releaseChannel": ("NONE", "not one of the allowed values"),
    "gpuDriverVersion": ("535", "not one of the allowed values"),
    "spotShutdownGraceSeconds": ("60", "not one of the allowed values"),
    "nodeRange": ("10.0.0.1/20", "is not an IPv4 range"),
    "podRange": ("10.64.0.0/33", "is not an IPv4 range"),
    "serviceRange": ("moon", "is not an IPv4 range"),
    "controlPlaneRange": ("10.90.0.0/29", "takes a /28"),
    "systemMachineType": ("E2", "must match"),
    "systemMinNodes": ("0", "greater than or equal to 1"),
    "systemMaxNodes": ("0", "greater than or equal to 1"),
    "gatewayExposure": ("public", "not one of the allowed values"),
    "domain": ("llm", "must match"),
    "huggingFaceTokenFrom": ("vault", "not one of the allowed values"),
    "weightsFrom": ("disk", "not one of the allowed values"),
    "huggingFaceTokenSecret": ("a/b", "must match"),
    "usage": ('{"hoursADay": 25}', "less than or equal to 24"),
    "budget": ('{"billingAccount": "ours", "monthlyUsd": 25000}', "must match"),
    "policies": ('{"default": "maybe"}', "not one of the allowed values"),
    "maxUsdPerHour": ("-1", "greater than or equal to 0"),
    "models": ("{}", "a list"),
}


def test_every_key_of_a_stack_has_a_wrong_value() -> None:
    assert {key.removeprefix("llmserve:") for key in KEYS} == set(WRONG)


@pytest.mark.parametrize("key", WRONG)
def test_every_key_of_a_stack_says_no(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value, text = WRONG[key]
    with pytest.raises((Refusal, Refused)) as refused:
        decided("prod", {key: value}, {}, monkeypatch)
    assert text in str(refused.value)
    assert key in str(refused.value)


WRONG_IN_A_BUDGET: dict[str, tuple[dict[str, object], str, str]] = {
    "a lower-case account": ({"billingAccount": "012345-6789ab-cdef01"}, "budget.billingAccount", "must match"),
    "an account by its resource name": (
        {"billingAccount": "billingAccounts/012345-6789AB-CDEF01"},
        "budget.billingAccount",
        "must match",
    ),
    "no account": ({"billingAccount": None}, "budget.billingAccount", "required and missing"),
    "no amount": ({"monthlyUsd": None}, "budget.monthlyUsd", "required and missing"),
    "an amount of nothing": ({"monthlyUsd": 0}, "budget.monthlyUsd", "greater than 0"),
    "cents": ({"monthlyUsd": 2.5}, "budget.monthlyUsd", "valid integer"),
    "an amount as text": ({"monthlyUsd": "25000"}, "budget.monthlyUsd", "valid integer"),
    "no threshold": ({"thresholds": []}, "budget.thresholds", "at least 1"),
    "a threshold of nothing": ({"thresholds": [0, 1]}, "budget.thresholds[0]", "greater than 0"),
    "a threshold that is true": ({"thresholds": [True]}, "budget.thresholds[0]", "is true or false"),
    "thresholds that fall": ({"thresholds": [1, 0.5]}, "budget.thresholds", "not in ascending order"),
    "a threshold twice": ({"thresholds": [0.5, 0.5]}, "budget.thresholds", "not in ascending order"),
    "a misspelt key": ({"monthlyUSD": 1}, "budget.monthlyUSD", "did you mean monthlyUsd?"),
}


@pytest.mark.parametrize("name", WRONG_IN_A_BUDGET)
def test_every_key_of_a_budget_says_no(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changed, key, text = WRONG_IN_A_BUDGET[name]
    whole = {"billingAccount": "012345-6789AB-CDEF01", "monthlyUsd": 25000} | changed
    budget = {key: value for key, value in whole.items() if value is not None}
    with pytest.raises(Refusal) as refused:
        decided("prod", {"budget": json.dumps(budget)}, {}, monkeypatch)
    assert f"llmserve:{key}" in str(refused.value)
    assert text in str(refused.value)


WRONG_IN_MODELS = {
    "models[0].port": "80",
    "models[0].startupMinutes": "0",
    "models[0].drainSeconds": "-1",
    "models[0].healthPath": "health",
    "models[0].runAsRoot": "maybe",
    "models[0].slo.availability": "100",
    "models[0].slo.p95Seconds": "0",
    "models[0].gpu.tensorParallel": "0",
    "models[0].scaling.min": "-1",
    "models[0].scaling.max": "0",
    "models[0].scaling.idleMinutes": "0",
    "models[0].scaling.requestsPerSecondPerReplica": "0",
    "models[0].scaling.normalRequestsPerSecond": "-1",
    "models[0].scaling.driver": "hpa",
    "models[1].scaling.baseOnDemandReplicas": "2",
    "models[0].scaling.dynamicOnDemandFallback": "sometimes",
    "models[0].batchTolerant": "maybe",
    "models[0].metrics.requests": "a-b",
    "models[1].scaling.queuePerReplica": "0",
    "models[1].repository": "llama",
    "models[1].quantize": "int3",
    "models[1].dtype": "float8",
    "models[1].runAsRoot": "true",
    "models[1].batching.maxBatchSize": "0",
    "models[1].rollout.mode": "blue-green",
    "models[1].rollout.versions[0].weight": "101",
    "models[1].rollout.versions[1].name": "averyveryverylongname",
    "models[1].name": "a" * 31,
}


@pytest.mark.parametrize("path", WRONG_IN_MODELS)
def test_every_key_of_a_model_says_no(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises((Refusal, Refused)) as refused:
        decided("prod", {}, {path: WRONG_IN_MODELS[path]}, monkeypatch)
    assert path.partition(".")[0] in str(refused.value)


def test_a_custom_engine_has_no_settings_of_tgi_in_a_version_either(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {
        "models[0].rollout.versions[0].name": "stable",
        "models[0].rollout.versions[0].weight": "100",
        "models[0].rollout.versions[0].batching.maxBatchSize": "3",
    }
    with pytest.raises(Refusal, match=r"engine custom does not read rollout\.versions\[0\]\.batching"):
        decided("prod", {}, paths, monkeypatch)


def test_tgi_needs_a_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refusal, match="engine tgi needs repository"):
        decided(
            "prod",
            {
                "models": json.dumps(
                    [{"name": "m", "gpu": {"type": "nvidia-a100-80gb"}, "scaling": {"max": 1, "queuePerReplica": 1}}]
                )
            },
            {},
            monkeypatch,
        )


def test_the_defaults_inside_a_model_are_the_documented_ones() -> None:
    model = Model.model_validate(
        {
            "name": "m",
            "repository": "a/b",
            "gpu": {"type": "nvidia-a100-80gb"},
            "scaling": {"max": 4, "queuePerReplica": 4},
        }
    )
    assert (model.port, model.startup_minutes, model.drain_seconds) == (8080, 30, None)
    assert (model.scaling.min, model.scaling.idle_minutes, model.scaling.driver) == (0, 15, "keda")
    assert [(v.name, v.weight) for v in model.rollout.versions] == [("stable", 100)]


def test_a_token_that_nobody_reads_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("settings.pulumi.runtime.get_config_secret_keys_env", lambda: ["llmserve:huggingFaceToken"])
    with pytest.raises(Refusal, match=r"huggingFaceTokenFrom is secret-manager: nothing reads it"):
        decided("prod", {"huggingFaceToken": "hf_x"}, {}, monkeypatch)


# Planning


def test_all_four_ranges_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refusal, match=r"llmserve:serviceRange = 10\.90\.0\.0/20"):
        decided("prod", {"serviceRange": "10.90.0.0/20"}, {}, monkeypatch)


def test_one_size_of_system_pool_is_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decided("prod", {"systemMinNodes": "3", "systemMaxNodes": "3"}, {}, monkeypatch).stack.system_min_nodes == 3


@pytest.mark.parametrize(("channel", "warned"), [("REGULAR", False), ("STABLE", True), ("EXTENDED", True)])
def test_a_channel_that_may_be_too_old_is_warned_of(
    channel: str,
    warned: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warnings = decided("prod", {"releaseChannel": channel}, {}, monkeypatch).warnings
    assert any("spotShutdownGraceSeconds" in warning for warning in warnings) is warned


def test_a_version_says_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {
        "models[1].environment.LOG_LEVEL": "info",
        "models[1].image": "ghcr.io/ours/tgi:1",
        "models[1].batching.maxBatchSize": "8",
        "models[1].rollout.versions[1].environment.LOG_LEVEL": "debug",
        "models[1].rollout.versions[1].image": "ghcr.io/ours/tgi:2",
        "models[1].rollout.versions[1].revision": "b" * 40,
        "models[1].rollout.versions[1].batching.maxBatchSize": "16",
    }
    stable, canary = decided("prod", {}, paths, monkeypatch).models[1].versions
    assert [dict(v.environment)["LOG_LEVEL"] for v in (stable, canary)] == ["info", "debug"]
    assert [v.image.reference[-1] for v in (stable, canary)] == ["1", "2"]
    assert [v.batching.max_batch_size for v in (stable, canary)] == [8, 16]
    assert canary.revision == "b" * 40 != stable.revision


def test_a_version_asleep_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {
        "models[0].rollout.versions[0].name": "stable",
        "models[0].rollout.versions[0].weight": "100",
        "models[0].rollout.versions[1].name": "next",
        "models[0].rollout.versions[1].weight": "0",
    }
    model = decided("prod", {}, paths, monkeypatch).models[0]
    assert model.summary["replicas"] == {"minimum": 0, "normal": 3, "maximum": 10}


def test_a_model_without_a_revision_in_any_version_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    model = {
        "name": "m",
        "repository": "a/b",
        "gpu": {"type": "nvidia-a100-80gb"},
        "scaling": {"max": 1, "queuePerReplica": 1},
        "rollout": {"versions": [{"name": "a", "weight": 50, "revision": "a" * 40}, {"name": "b", "weight": 50}]},
    }
    warnings = decided("prod", {"models": json.dumps([model])}, {}, monkeypatch).warnings
    assert any("git ls-remote https://huggingface.co/a/b HEAD" in warning for warning in warnings)


def test_a_replica_leaves_room_on_its_node_(monkeypatch: pytest.MonkeyPatch) -> None:
    for model in decided("prod", {}, {}, monkeypatch).models:
        assert model.resources.cpus <= 0.9 * model.machine.vcpus
        assert model.resources.memory_gib <= 0.85 * model.machine.memory_gib


def test_a_custom_engines_series_reach_rules_and_objectives(monkeypatch: pytest.MonkeyPatch) -> None:
    arr_coc = served_model(decided("prod", {}, {}, monkeypatch).models[0])
    assert (arr_coc.availability, arr_coc.p95_seconds) == (99.9, 2)
    assert arr_coc.engine.latency_bucket == "arr_coc_inference_latency_seconds_bucket"
    [model] = json.loads(own_model(queue="waiting"))
    assert engine_metrics(Model.model_validate(model)).queue == "waiting"


def test_a_registry_of_google_is_one_by_its_whole_name() -> None:
    assert resolve("notgcr.io/a/b:1", name="shop", project="acme", region="us-east5").upstream == "notgcr.io"
    assert resolve("eu.gcr.io/a/b:1", name="shop", project="acme", region="us-east5").upstream is None


def test_labels_and_the_order_of_providers(prod: Snapshot) -> None:
    assert prod.named("google").inputs["defaultLabels"] in (
        {"platform": "llmserve-prod"},
        '{"platform": "llmserve-prod"}',
    )


NO_START = {
    "a variable that a setting stands for": (
        {"models[1].environment.NUM_SHARD": "two"},
        "is set by gpu.tensorParallel",
    ),
    "a token in clear": ({"models[0].environment.HF_TOKEN": "hf_x"}, "huggingFaceTokenFrom says where"),
    "a port of TGI's own": ({"models[1].port": "9000"}, "port 9000 is one that TGI opens for itself"),
    "a port of the sidecar": ({"models[0].port": "15020"}, "port 15020 is one of the sidecar's"),
    "a question as long as the whole": (
        {"models[1].batching.maxInputTokens": "100", "models[1].batching.maxTotalTokens": "100"},
        "leaves nothing of maxTotalTokens 100",
    ),
    "two ways to store a weight": ({"models[1].quantize": "awq", "models[1].dtype": "float16"}, "exclude each other"),
    "shards of what cannot be sharded": ({"models[1].quantize": "exl2"}, "exl2 cannot be sharded"),
    "a rate that KEDA reads as none": ({"models[0].scaling.requestsPerSecondPerReplica": "0.0005"}, "0.001"),
    "an endless rate": ({"models[0].scaling.normalRequestsPerSecond": "inf"}, "finite number"),
    "an availability that is true": ({"models[0].slo.availability": "true"}, "is true or false"),
    "a recording rule for a metric": ({"models[0].metrics.requests": "job:requests:sum"}, "must match"),
    "the name of the token's own account": ({"models[0].name": "hugging-face-token"}, "is the platform's own"),
}


@pytest.mark.parametrize("name", NO_START)
def test_what_would_not_start_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, text = NO_START[name]
    with pytest.raises(Refusal) as refused:
        decided("prod", {}, paths, monkeypatch)
    assert text in str(refused.value)


def test_pods_of_every_node_have_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refusal, match="has no room for 43 nodes"):
        decided("prod", {"podRange": "10.64.0.0/19"}, {}, monkeypatch)
    assert decided("prod", {"podRange": "10.64.0.0/18"}, {}, monkeypatch).pools


def test_two_pairs_that_make_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [
        {
            "name": name,
            "repository": "a/b",
            "gpu": {"type": "nvidia-a100-80gb"},
            "scaling": {"max": 1, "queuePerReplica": 1},
            "rollout": {"versions": [{"name": version, "weight": 100}]},
        }
        for name, version in (("a", "b-c"), ("a-b", "c"))
    ]
    with pytest.raises(Refusal, match="make the name a-b-c"):
        decided("prod", {"models": json.dumps(models)}, {}, monkeypatch)


def test_a_gateway_is_as_patient_as_the_most_patient_model(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decided("dev", {}, {}, monkeypatch).gateway_drain_seconds == 300
    patient = decided("prod", {}, {"models[1].drainSeconds": "900"}, monkeypatch)
    assert patient.gateway_drain_seconds == 900 + 5 + 30


def test_a_spot_window_shorter_than_the_drain_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def warned(**config: str) -> bool:
        return any("a spot node leaves a generation" in w for w in decided("dev", config, {}, monkeypatch).warnings)

    assert not warned()
    assert warned(spotShutdownGraceSeconds="30")
    assert not warned(spotShutdownGraceSeconds="30", capacity="on-demand")


def test_a_repository_that_nodes_may_not_read_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {"models[0].image": "us-docker.pkg.dev/other/images/arr:1"}
    assert any("may not read yet" in warning for warning in decided("prod", {}, paths, monkeypatch).warnings)


@pytest.mark.parametrize("machine", {m.machine_type: m for m in gpu_machines()}.values(), ids=lambda m: m.machine_type)
def test_a_machines_disk_holds_what_its_gpus_hold(machine: GpuMachine) -> None:
    assert disk_for_pods_gib(machine) >= machine.gpus * machine.gpu_memory_gib


def test_gke_leaves_a_pod_less_than_the_disk() -> None:
    """Google's own example: of a boot disk of 100 GB a node has 43.8 GiB to give."""
    [one] = [m for m in gpu_machines() if (m.machine_type, m.region) == ("a2-ultragpu-1g", "us-east5")]
    assert disk_for_pods_gib(one) == 267
    [small] = [m for m in gpu_machines() if (m.machine_type, m.region) == ("a2-highgpu-1g", "us-central1")]
    assert disk_for_pods_gib(small) < boot_disk_gib(small) * 0.6

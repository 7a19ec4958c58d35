"""Weights from the stack's bucket: who fills it, who reads it, and the two scripts as they run in a pod."""

import importlib.util
import ipaddress
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import kubernetes_validate
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.gpu_machines import gpu_machines
from components.model_weights import job_name, job_spec
from components.weights_mount import SCRIPTS, SIDECAR_DISK_MIB
from planning.cold_start import cold_start_of, weights_part
from planning.explanation import explanation
from planning.images import resolve
from planning.nodes import LOCAL_SSD_GIB, allocatable_disk_gib
from planning.quotas import DISKS, quotas
from planning.schema import Stack, WeightsFrom
from planning.serving import boot_disk_gib, disk_for_pods_gib
from planning.simulate.platform import simulate
from planning.simulate.report import document
from planning.simulate.scenario import Options, Pattern, scenario
from planning.weights import Fill, StoredWeights, first_of_each, scratch_gib, stored_weights
from preview import Resource, Snapshot
from tests.recording import PROJECT_NUMBER, Record, decided, resources_of
from tests.test_manifests import VERSIONS, objects
from tests.test_program import DEPLOYMENT, environment, pods, spec

JOB = "kubernetes:batch/v1:Job"
GRANT = "gcp:storage/bucketIAMMember:BucketIAMMember"
FROM_BUCKET = {"weightsFrom": "bucket"}
LLAMA, QWEN = "meta-llama/Llama-3.3-70B-Instruct", "Qwen/Qwen2.5-7B-Instruct"
ONE, OTHER = "a" * 40, "b" * 40
# Two revisions of one repository under TGI, one of them under vLLM as well, and an engine that is nobody's business.
MIXED = [
    {
        "name": "qwen",
        "repository": QWEN,
        "revision": ONE,
        "gpu": {"type": "nvidia-a100-80gb"},
        "scaling": {"max": 2, "queuePerReplica": 4},
        "rollout": {
            "versions": [
                {"name": "stable", "weight": 90},
                {"name": "canary", "weight": 10, "revision": OTHER},
                {"name": "next", "weight": 0, "batching": {"maxBatchSize": 8}},
            ]
        },
    },
    {
        "name": "by-vllm",
        "engine": "vllm",
        "repository": QWEN,
        "revision": OTHER,
        "gpu": {"type": "nvidia-a100-80gb"},
        "scaling": {"max": 2, "queuePerReplica": 4},
    },
    {
        "name": "own",
        "engine": "custom",
        "image": "own:1",
        "healthPath": "/health",
        "metrics": {"requests": "r_total", "latencySeconds": "l_seconds", "queue": "waiting", "inFlight": "running"},
        "gpu": {"type": "nvidia-a100-80gb"},
        "scaling": {"max": 2, "queuePerReplica": 3},
    },
]


@pytest.fixture(params=["prod", "dev", "mixed"])
def stored(request: pytest.FixtureRequest, record: Record) -> Snapshot:
    """Programs that have their weights from a bucket."""
    return recorded_from_bucket(record, request.param)


def recorded_from_bucket(record: Record, which: str, **more: str) -> Snapshot:
    models = {"models": json.dumps(MIXED)} if which == "mixed" else {}
    return record("dev" if which == "dev" else "prod", config=FROM_BUCKET | models | more, up=True)


def engine_of(pod: Mapping[str, Any]) -> dict[str, Any]:
    return dict(pod["spec"]["containers"][0])


def reading(program: Snapshot) -> dict[str, dict[str, Any]]:
    """The pods that mount the bucket, by their Deployment."""
    return {name: pod for name, pod in pods(program).items() if "initContainers" in pod["spec"]}


def folder(pod: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The volume that is the bucket, and its options."""
    [volume] = [volume["csi"] for volume in pod["spec"]["volumes"] if "csi" in volume]
    options = volume["volumeAttributes"]["mountOptions"]
    assert " " not in options
    return volume, dict(re.split(r"[=]", option, maxsplit=1) for option in options.split(",") if "=" in option)


def mounted(container: Mapping[str, Any]) -> str:
    [path] = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "weights"]
    return str(path)


def jobs(program: Snapshot) -> dict[str, Resource]:
    """The Jobs by the revision that each brings."""
    return {job.inputs["metadata"]["annotations"]["llmserve/weights"]: job for job in program.of_type(JOB)}


def template(job: Resource) -> dict[str, Any]:
    return dict(spec(job)["template"])


# The bucket


def test_the_bucket_is_private_near_and_kept_as_long_as_the_stack_is_protected(record: Record) -> None:
    for which, kept in (("prod", True), ("dev", False)):
        program = recorded_from_bucket(record, which)
        [bucket] = program.of_type("gcp:storage/bucket:Bucket")
        assert bucket.inputs["uniformBucketLevelAccess"] is True
        assert bucket.inputs["publicAccessPrevention"] == "enforced"
        assert bucket.inputs["location"] == program.named("cluster-control-plane").inputs["location"]
        assert bucket.inputs["forceDestroy"] is not kept
        assert bucket.inputs["softDeletePolicy"] == {"retentionDurationSeconds": 0}
        assert 3 <= len(bucket.inputs["name"]) <= 63
        assert "lifecycleRules" not in bucket.inputs, "what is old may still be served"


def test_one_account_writes_models_read_and_nobody_may_more(stored: Snapshot) -> None:
    [bucket] = stored.of_type("gcp:storage/bucket:Bucket")
    project = "example-project"
    pool = f"principal://iam.googleapis.com/projects/{PROJECT_NUMBER}/locations/global/workloadIdentityPools/"
    readers = {pod["spec"]["serviceAccountName"] for pod in reading(stored).values()}
    wanted = {
        (f"{pool}{project}.svc.id.goog/subject/ns/models/sa/{name}", "roles/storage.objectViewer") for name in readers
    }
    wanted.add((f"{pool}{project}.svc.id.goog/subject/ns/models/sa/model-weights", "roles/storage.objectUser"))
    grants = stored.of_type(GRANT)
    assert {(grant.inputs["member"], grant.inputs["role"]) for grant in grants} == wanted
    assert len(grants) == len(wanted)
    assert {grant.inputs["bucket"] for grant in grants} == {bucket.inputs["name"]}
    for other in ("bucketIAMBinding:BucketIAMBinding", "bucketIAMPolicy:BucketIAMPolicy"):
        assert not stored.of_type(f"gcp:storage/{other}")
    accounts = {a.inputs["metadata"]["name"] for a in stored.of_type("kubernetes:core/v1:ServiceAccount")}
    assert readers | {"model-weights"} <= accounts
    for pod in [template(job) for job in jobs(stored).values()]:
        assert pod["spec"]["serviceAccountName"] == "model-weights"


def test_readers_come_after_their_right_and_the_bucket(stored: Snapshot) -> None:
    urns = {resource.name: resource.urn for resource in stored.resources}
    for deployment in stored.of_type(DEPLOYMENT):
        pod = spec(deployment)["template"]
        if "initContainers" in pod["spec"]:
            right = urns[f"models-weights-read-{pod['spec']['serviceAccountName']}"]
            assert {right, urns["weights-bucket"], urns["weights-host"]} <= set(deployment.dependencies)
    for job in stored.of_type(JOB):
        assert {urns["models-weights-write"], urns["models-weights-writer"], urns["weights-bucket"]} <= set(
            job.dependencies
        )


# Who has what from where


def test_a_job_and_its_readers_mean_the_same_folder_and_marker(stored: Snapshot) -> None:
    brought = {revision: template(job) for revision, job in jobs(stored).items()}
    seen = set()
    for name, pod in reading(stored).items():
        [wait] = pod["spec"]["initContainers"]
        volume, options = folder(pod)
        repository, _, commit = options["only-dir"].rpartition("/")
        writer = brought[f"{repository}@{commit}"]
        written, write_options = folder(writer)
        *_, job_repository, job_revision, scratch, target, job_marker = engine_of(writer)["command"]
        assert (job_repository, job_revision) == (repository, commit), name
        assert write_options["only-dir"] == options["only-dir"], name
        assert written["volumeAttributes"]["bucketName"] == volume["volumeAttributes"]["bucketName"], name
        # The same name in a folder of the same name, in the mount of each.
        path = mounted(engine_of(pod))
        assert path == mounted(wait) == mounted(engine_of(writer)) == target, name
        assert wait["command"][-2] == job_marker == f"{path}/.complete", name
        assert not scratch.startswith(target)
        assert not target.startswith(scratch)
        assert (volume["readOnly"], written["readOnly"]) == (True, False)
        seen.add(f"{repository}@{commit}")
    assert seen == set(brought), "a revision that nobody reads, or that nobody brings"


def test_engines_start_from_the_folder_and_ask_the_hub_for_nothing(record: Record) -> None:
    program = recorded_from_bucket(record, "mixed")
    for name, pod in reading(program).items():
        engine = engine_of(pod)
        variables = environment(pod)
        assert variables["HF_HUB_OFFLINE"] == "1", name
        assert "REVISION" not in variables, "TGI would ask the hub"
        if name.startswith("by-vllm"):
            assert engine["args"][0] == mounted(engine)
            assert engine["args"][-3:] == ["--served-model-name", "by-vllm", QWEN], "as clients know it"
            assert not [argument for argument in engine["args"] if argument.startswith("--revision")]
            assert {"uid=2000", "gid=0", "file-mode=444", "dir-mode=555"} <= set(
                folder(pod)[0]["volumeAttributes"]["mountOptions"].split(",")
            )
        else:
            assert variables["MODEL_ID"] == mounted(engine) == f"/weights/{QWEN}"
    assert set(pods(program)) - set(reading(program)) == {"own-stable"}


def test_what_versions_share_is_brought_once(record: Record) -> None:
    program = recorded_from_bucket(record, "mixed")
    assert set(jobs(program)) == {f"{QWEN}@{ONE}", f"{QWEN}@{OTHER}"}
    assert len(program.of_type(JOB)) == 2
    assert list(jobs(recorded_from_bucket(record, "prod"))) == [f"{LLAMA}@6f6073b423013f6a7d4d9f39144961bfbfbc386b"]


def test_the_token_is_in_the_job_and_in_no_pod_that_reads(stored: Snapshot, record: Record) -> None:
    for name, pod in pods(stored).items():
        assert "HF_TOKEN" not in str(pod), name
    prod = recorded_from_bucket(record, "prod")
    [job] = jobs(prod).values()
    assert environment(template(job))["HF_TOKEN"] == {"secretKeyRef": {"name": "hugging-face-token", "key": "HF_TOKEN"}}
    assert prod.named("hugging-face-token-sync").urn in job.dependencies
    [open_weights] = jobs(recorded_from_bucket(record, "dev")).values()
    assert "HF_TOKEN" not in str(open_weights.inputs)


def test_a_job_is_waited_for_by_nobody_and_lasts(stored: Snapshot) -> None:
    for job in stored.of_type(JOB):
        assert job.inputs["metadata"]["annotations"]["pulumi.com/skipAwait"] == "true"
        assert "ttlSecondsAfterFinished" not in spec(job), "Pulumi would make it again"
        assert "activeDeadlineSeconds" not in spec(job)
        pod = template(job)
        assert "nvidia.com/gpu" not in str(pod)
        assert "tolerations" not in pod["spec"], "GPU nodes are tainted"
        assert pod["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
        assert pod["spec"]["automountServiceAccountToken"] is False
        security = engine_of(pod)["securityContext"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["allowPrivilegeEscalation"] is False
        # No pod of a Job is taken for a model's.
        assert "app" not in pod["metadata"]["labels"]
        assert pod["metadata"]["labels"]["app.kubernetes.io/component"] != "model-server"


def test_what_is_fetched_has_a_disk_of_its_size(record: Record) -> None:
    [job] = jobs(recorded_from_bucket(record, "prod")).values()
    [scratch] = [v["ephemeral"] for v in template(job)["spec"]["volumes"] if "ephemeral" in v]
    wanted = scratch["volumeClaimTemplate"]["spec"]["resources"]["requests"]["storage"]
    assert int(wanted.removesuffix("Gi")) * 2**30 > 141.1e9 * 1.2


def test_a_disk_on_the_way_counts_to_its_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    amounts = [
        next(quota for quota in quotas(decided("prod", {"weightsFrom": place}, {}, monkeypatch)) if quota.name == DISKS)
        for place in ("hub", "bucket")
    ]
    [fill] = decided("prod", FROM_BUCKET, {}, monkeypatch).fills
    assert amounts[1].amount - amounts[0].amount == fill.scratch_gib
    assert amounts[1].amount_without_rollout == amounts[0].amount_without_rollout


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("models", [None, MIXED], ids=["prod", "mixed"])
def test_what_is_made_for_it_is_what_kubernetes_takes(record: Record, version: str, models: Any) -> None:
    config = FROM_BUCKET if models is None else FROM_BUCKET | {"models": json.dumps(models)}
    manifests = objects(record("prod", config=config, placeholders=True)).values()
    wanted = [m for m in manifests if m["kind"] in {"Job", "Deployment", "NetworkPolicy", "ServiceAccount"}]
    assert {"Job", "Deployment", "NetworkPolicy", "ServiceAccount"} == {m["kind"] for m in wanted}
    for manifest in wanted:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_from_the_hub_nothing_is_different(record: Record) -> None:
    assert record("prod", config={"weightsFrom": "hub"}).resources == record("prod").resources
    told = str([resource.inputs for resource in record("prod", up=True).resources])
    for word in (
        "gcsfuse",
        "storage.googleapis.com.",
        "addonsConfig",
        "llmserve/egress",
        "HF_HUB_OFFLINE",
    ):
        assert word not in told, word
    assert not reading(record("prod"))
    assert not record("prod").of_type(JOB)
    assert environment(pods(record("prod"))["llama-3-3-70b-stable"])["MODEL_ID"] == LLAMA


def test_for_custom_engines_alone_there_is_no_bucket(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    config = FROM_BUCKET | {"models": json.dumps(MIXED[2:])}
    assert not record("prod", config=config).of_type("gcp:storage/bucket:Bucket")
    assert any("weightsFrom does nothing" in w for w in decided("prod", config, {}, monkeypatch).warnings)


def test_a_channel_that_may_be_older_than_the_driver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for channel, place, told in (
        ("EXTENDED", "bucket", True),
        ("REGULAR", "bucket", False),
        ("EXTENDED", "hub", False),
    ):
        config = {"releaseChannel": channel, "weightsFrom": place}
        assert any("streaming writes" in w for w in decided("prod", config, {}, monkeypatch).warnings) is told


# The name of a Job says what it runs

FILLS = st.builds(
    Fill,
    weights=st.builds(
        StoredWeights,
        bucket=st.sampled_from(["one", "other"]),
        repository=st.sampled_from(["a/b", "a/c"]),
        revision=st.sampled_from([ONE, OTHER]),
    ),
    image=st.sampled_from(["own:1", "own:2"]).map(lambda i: resolve(i, name="n", project="p", region="r")),
    scratch_gib=st.integers(10, 12),
)
TOKENS = st.sampled_from([None, "hugging-face-token"])


@given(one=FILLS, other=FILLS, tokens=st.tuples(TOKENS, TOKENS))
def test_jobs_have_one_name_if_and_only_if_they_run_the_same(
    one: Fill, other: Fill, tokens: tuple[str | None, str | None]
) -> None:
    names = [job_name(job_spec(fill, token)) for fill, token in zip((one, other), tokens, strict=True)]
    assert (names[0] == names[1]) is ((one, tokens[0]) == (other, tokens[1]))
    assert all(re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name) and len(name) <= 57 for name in names)


def test_the_name_holds_every_part_of_the_template() -> None:
    fill = Fill(
        weights=StoredWeights(bucket="b", repository="a/b", revision=ONE),
        image=resolve("own:1", name="n", project="p", region="r"),
        scratch_gib=10,
    )
    made: Any = job_spec(fill, None)
    before = job_name(made)
    container = made.template.spec.containers[0]
    container.command = [*container.command[:2], "print()", *container.command[3:]]
    changed = job_name(made)
    made.template.spec.containers[0].resources.limits["memory"] = "8Gi"
    assert len({before, changed, job_name(made)}) == 3


def test_what_changes_nothing_of_a_job_leaves_it_alone(record: Record) -> None:
    [before] = jobs(recorded_from_bucket(record, "prod")).values()
    [after] = jobs(recorded_from_bucket(record, "prod", capacity="on-demand", systemMaxNodes="9")).values()
    assert before.inputs == after.inputs
    [renamed] = jobs(recorded_from_bucket(record, "prod", name="shop")).values()
    assert renamed.inputs["metadata"]["name"] != before.inputs["metadata"]["name"]
    assert renamed.name == before.name, "the one takes the other's place"


@given(fills=st.lists(FILLS, max_size=8))
def test_each_revision_is_brought_exactly_once(fills: list[Fill]) -> None:
    found = first_of_each(fills)
    assert {fill.weights for fill in found} == {fill.weights for fill in fills}
    assert len({fill.weights for fill in found}) == len(found)
    assert all(fill in fills for fill in found)


@given(size=st.none() | st.integers(0, 10**12), memory=st.integers(1, 1280))
def test_the_way_is_never_smaller_than_what_passes_over_it(size: int | None, memory: int) -> None:
    room = scratch_gib(size, gpu_memory_gib=memory)
    assert room >= 10
    assert room * 2**30 >= (memory * 2**30 if size is None else size) * 1.25


def test_without_a_commit_there_is_no_place() -> None:
    stack = Stack.model_construct(weights_from=WeightsFrom.BUCKET, project="p", name="n")
    with pytest.raises(ValueError, match="commit"):
        stored_weights(stack, "a/b", None)
    hub = Stack.model_construct(weights_from=WeightsFrom.HUB, project="p", name="n")
    assert stored_weights(hub, "a/b", None) is None


# What pods may reach


def test_who_reads_the_bucket_reaches_no_internet_and_whoever_fills_it_does(stored: Snapshot) -> None:
    policy = spec(stored.named("model-namespace-without-internet"))
    assert policy["policyTypes"] == ["Egress"]
    chosen = policy["podSelector"]["matchLabels"]
    for name, pod in pods(stored).items():
        assert (chosen.items() <= pod["metadata"]["labels"].items()) is (name in reading(stored)), name
    for job in stored.of_type(JOB):
        assert not chosen.items() <= template(job)["metadata"]["labels"].items()
    # A Deployment's selector cannot be changed, so what may come and go is not in it.
    assert not [
        d.name for d in stored.of_type(DEPLOYMENT) if chosen.items() & spec(d)["selector"]["matchLabels"].items()
    ]


def test_the_way_out_is_as_narrow_as_it_can_be(stored: Snapshot) -> None:
    rules = spec(stored.named("model-namespace-without-internet"))["egress"]
    ports = {(port["protocol"], port["port"]) for rule in rules for port in rule["ports"]}
    assert ports == {("UDP", 53), ("TCP", 53), ("TCP", 15012), ("TCP", 80), ("TCP", 988), ("TCP", 443)}
    assert all(rule["to"] and rule["ports"] for rule in rules), "an empty list means everything"
    blocks = [(ipaddress.ip_network(to["ipBlock"]["cidr"]), r) for r in rules for to in r["to"] if "ipBlock" in to]
    for block, _ in blocks:
        assert block.is_link_local or block == ipaddress.ip_network("199.36.153.8/30")
    [storage] = [block for block, rule in blocks if rule["ports"] == [{"protocol": "TCP", "port": 443}]]
    records = [
        r for r in stored.of_type("gcp:dns/recordSet:RecordSet") if "storage.googleapis.com." in r.inputs["name"]
    ]
    assert {record.inputs["name"] for record in records} == {"storage.googleapis.com.", "*.storage.googleapis.com."}
    for record in records:
        assert {ipaddress.ip_address(address) for address in record.inputs["rrdatas"]} == set(storage)
    zone = stored.named("weights-zone").inputs
    assert (zone["visibility"], zone["dnsName"]) == ("private", "storage.googleapis.com.")
    assert stored.named("network-nodes").inputs["privateIpGoogleAccess"] is True


def test_the_driver_is_there_and_the_mesh_lets_it_ask_who_it_is(stored: Snapshot) -> None:
    cluster = stored.named("cluster-control-plane").inputs
    assert cluster["addonsConfig"] == {"gcsFuseCsiDriverConfig": {"enabled": True}}
    for pod in reading(stored).values():
        annotations = pod["metadata"]["annotations"]
        assert annotations["gke-gcsfuse/volumes"] == "true"
        assert annotations["traffic.sidecar.istio.io/excludeOutboundIPRanges"] == "169.254.169.254/32"
    for pod in (template(job) for job in stored.of_type(JOB)):
        assert pod["metadata"]["annotations"]["gke-gcsfuse/volumes"] == "true"


def test_files_are_cached_on_the_nodes_disk_and_a_missing_marker_is_not(stored: Snapshot) -> None:
    for name, pod in reading(stored).items():
        [cache] = [v for v in pod["spec"]["volumes"] if v["name"] == "gke-gcsfuse-cache"]
        asked = engine_of(pod)["resources"]["limits"]["ephemeral-storage"]
        assert cache["emptyDir"] == {"sizeLimit": asked}, name
        options = folder(pod)[0]["volumeAttributes"]["mountOptions"].split(",")
        assert "file-cache:enable-parallel-downloads:true" in options
        assert "file-cache:max-size-mb:-1" in options
        assert "metadata-cache:negative-ttl-secs:0" in options, "or a pod that waits never sees the marker"
        # Nobody else's option, and none that the driver refuses.
        assert not [o for o in options if re.match(r"(app-name|temp-dir|log-file|key-file|token-url)\b", o)]


def test_the_drivers_sidecar_has_room_beside_a_replica_on_every_machine() -> None:
    too_small_for_its_default = 0
    for machine in gpu_machines():
        ssds = machine.local_ssd_gib // LOCAL_SSD_GIB
        whole = allocatable_disk_gib(0 if ssds else boot_disk_gib(machine), ssds) * 1024
        left = whole - disk_for_pods_gib(machine) * 1024
        assert left > SIDECAR_DISK_MIB, machine.machine_type
        too_small_for_its_default += left < 5 * 1024
    assert too_small_for_its_default, "then the annotation is not needed"


# The scripts


@pytest.mark.parametrize("name", ["fill_weights.py", "wait_for_weights.sh"])
def test_kubernetes_leaves_a_script_as_it_is(name: str) -> None:
    """It replaces `$(NAME)` in a command, and takes `$$` for one dollar."""
    text = (SCRIPTS / name).read_text(encoding="utf-8")
    assert "$(" not in text
    assert "$$" not in text


STAND_IN = """
import json, os, pathlib, shutil, types
HUB = pathlib.Path(os.environ["STAND_IN_HUB"])
class HfApi:
    def model_info(self, repository, revision, files_metadata):
        assert (repository, revision, files_metadata) == ("a/b", "COMMIT", True)
        names = sorted(p.relative_to(HUB).as_posix() for p in HUB.rglob("*") if p.is_file())
        return types.SimpleNamespace(
            siblings=[types.SimpleNamespace(rfilename=n, size=(HUB / n).stat().st_size) for n in names]
        )
def hf_hub_download(repository, name, revision, local_dir):
    log = pathlib.Path(os.environ["STAND_IN_LOG"])
    with log.open("a") as file:
        file.write(name + "\\n")
    if name == os.environ.get("STAND_IN_KILLED_AT"):
        os._exit(137)
    to = pathlib.Path(local_dir, name)
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(HUB / name, to)
    if name == os.environ.get("STAND_IN_CUT"):
        to.write_bytes(to.read_bytes()[:-1])
    return str(to)
""".replace("COMMIT", ONE)


class Pod:
    """Folders and a hub for one Job, and the command of a recorded Job to run in them."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        self.hub, self.scratch, self.bucket, self.log = (folder / n for n in ("hub", "scratch", "bucket", "log"))
        for made in (self.hub, self.scratch, self.bucket, folder / "modules"):
            made.mkdir()
        (folder / "modules" / "huggingface_hub.py").write_text(STAND_IN, encoding="utf-8")
        self._modules, self._command = folder / "modules", command
        self.marker = self.bucket / ".complete"

    def put(self, **files: int) -> None:
        for name, size in files.items():
            path = self.hub / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(os.urandom(size))

    def run(self, **variables: str) -> subprocess.CompletedProcess[str]:
        python, dash_c, script, *_ = self._command
        assert (python, dash_c) == ("python3", "-c")
        of_hub = {"PYTHONPATH": str(self._modules), "STAND_IN_HUB": str(self.hub), "STAND_IN_LOG": str(self.log)}
        arguments = ["a/b", ONE, str(self.scratch), str(self.bucket), str(self.marker)]
        return subprocess.run(
            [sys.executable, "-c", script, *arguments],
            env={**os.environ, **of_hub, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def there(self) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in self.bucket.iterdir() if p != self.marker}

    def fetched(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").split() if self.log.exists() else []


@pytest.fixture
def pod(tmp_path: Path, record: Record) -> Pod:
    [job] = jobs(recorded_from_bucket(record, "prod")).values()
    made = Pod(tmp_path, engine_of(template(job))["command"])
    made.put(
        **{
            "config.json": 30,
            "model-1.safetensors": 5000,
            "model-2.safetensors": 40_000_000,
            "tokenizer.model": 10,
            "README.md": 5,
            "original__consolidated.safetensors": 9000,
            "pytorch_model.bin": 7000,
        }
    )
    return made


KEPT = ["config.json", "model-1.safetensors", "model-2.safetensors", "tokenizer.model"]


def whole(pod: Pod) -> dict[str, bytes]:
    return {name: (pod.hub / name).read_bytes() for name in KEPT}


def test_a_revision_is_brought_whole_and_marked_at_the_end(pod: Pod) -> None:
    done = pod.run()
    assert done.returncode == 0, done.stderr
    assert pod.there() == whole(pod)
    marked = json.loads(pod.marker.read_text(encoding="utf-8"))
    assert marked["bytes"] == {name: len(content) for name, content in whole(pod).items()}
    assert (marked["repository"], marked["revision"]) == ("a/b", ONE)
    assert not [path for path in pod.scratch.rglob("*") if path.is_file()], "the way is empty again"


def test_a_marker_ends_it_at_once_without_the_hub(pod: Pod) -> None:
    pod.marker.write_text("{}", encoding="utf-8")
    shutil.rmtree(pod.hub.parent / "modules")
    done = pod.run()
    assert done.returncode == 0, done.stderr
    assert pod.there() == {}


@pytest.mark.parametrize("name", KEPT)
def test_one_that_was_killed_halfway_goes_on_where_it_was(pod: Pod, name: str) -> None:
    assert pod.run(STAND_IN_KILLED_AT=name).returncode == 137
    assert not pod.marker.exists()
    for path in pod.bucket.iterdir():  # cut off by the same stop, as one that the driver closes with what it has
        path.write_bytes(path.read_bytes()[:-1])
    again = pod.run()
    assert again.returncode == 0, again.stderr
    assert pod.there() == whole(pod)
    assert pod.marker.exists()


def test_what_is_there_is_not_fetched_again(pod: Pod) -> None:
    assert pod.run(STAND_IN_CUT="tokenizer.model").returncode == 1
    assert not pod.marker.exists(), "a file that came in another size is not whole"
    before = set(pod.fetched())
    there = {name for name, content in pod.there().items() if content == whole(pod)[name]}
    assert there == set(KEPT) - {"tokenizer.model"}
    pod.log.unlink()
    assert pod.run().returncode == 0
    assert pod.fetched() == ["tokenizer.model"]
    assert before == set(KEPT)


def test_a_repository_without_such_weights_is_told_and_not_marked(pod: Pod) -> None:
    for path in pod.hub.glob("*.safetensors"):
        path.unlink()
    done = pod.run()
    assert done.returncode == 1
    assert "has no *.safetensors: set weightsFrom to hub" in done.stderr
    assert not pod.marker.exists()


def load_script() -> ModuleType:
    found = importlib.util.spec_from_file_location("fill_weights", SCRIPTS / "fill_weights.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def hub_of(files: Mapping[str, bytes], failing: Iterator[bool], *, sizes: bool) -> ModuleType:
    """A hub that fails when told to, and perhaps does not know how large a file is."""

    def download(_repository: str, name: str, *, revision: str, local_dir: str) -> str:  # noqa: ARG001
        if next(failing, False):
            raise ConnectionError(name)
        path = Path(local_dir, name)
        path.write_bytes(files[name])
        return str(path)

    siblings = [SimpleNamespace(rfilename=n, size=len(c) if sizes else None) for n, c in files.items()]
    module = ModuleType("huggingface_hub")
    info = SimpleNamespace(siblings=siblings)
    vars(module).update(HfApi=lambda: SimpleNamespace(model_info=lambda *_, **__: info), hf_hub_download=download)
    return module


@given(
    files=st.dictionaries(st.sampled_from([f"{n}.safetensors" for n in "abcd"]), st.binary(max_size=9), min_size=1),
    left=st.dictionaries(st.sampled_from([f"{n}.safetensors" for n in "abcd"]), st.binary(max_size=9)),
    failing=st.lists(st.booleans(), max_size=12),
    sizes=st.booleans(),
)
def test_a_marker_means_that_all_is_there_however_often_it_failed(
    files: dict[str, bytes],
    left: dict[str, bytes],
    failing: list[bool],
    sizes: bool,  # noqa: FBT001  (hypothesis names it)
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder, script = tmp_path_factory.mktemp("fill"), load_script()
    scratch, target = folder / "scratch", folder / "bucket"
    scratch.mkdir()
    target.mkdir()
    for name, content in left.items():  # of an earlier run: perhaps cut off, never other bytes of the same length
        if name in files and content != files[name] and len(content) != len(files[name]):
            (target / name).write_bytes(content)
    marker, failures = target / ".complete", iter(failing)
    arguments = ("a/b", ONE, str(scratch), str(target), str(marker))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "huggingface_hub", hub_of(files, failures, sizes=sizes))
        for _ in range(len(failing) + 1):
            try:
                script.main(*arguments)
            except ConnectionError:
                assert not marker.exists()
            else:
                break
    assert marker.exists()
    assert {path.name: path.read_bytes() for path in target.iterdir() if path != marker} == files


# Waiting


@pytest.fixture
def waiting(record: Record) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the wait of a recorded pod for a marker."""
    [wait] = pods(recorded_from_bucket(record, "dev"))["qwen2-5-7b-stable"]["spec"]["initContainers"]
    shell, dash_c, script, name, _, seconds = wait["command"]
    assert (shell, dash_c, seconds) == ("/bin/sh", "-c", "10")
    started: list[subprocess.Popen[str]] = []

    def start(marker: Path, seconds: str, *before: str) -> subprocess.Popen[str]:
        command = [*before, shell, dash_c, script, name, str(marker), seconds]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


Wait = Callable[..., "subprocess.Popen[str]"]


def test_a_marker_that_is_there_is_not_waited_for(waiting: Wait, tmp_path: Path) -> None:
    (tmp_path / ".complete").touch()
    process = waiting(tmp_path / ".complete", "10")
    said, _ = process.communicate(timeout=5)
    assert (said, process.returncode) == ("", 0)


def test_a_pod_waits_until_the_marker_comes_and_says_for_what(waiting: Wait, tmp_path: Path) -> None:
    marker = tmp_path / "later" / ".complete"
    process = waiting(marker, "0.1")
    time.sleep(0.5)
    assert process.poll() is None
    marker.parent.mkdir()
    (marker.parent / "model.safetensors").touch()
    time.sleep(0.5)
    assert process.poll() is None, "weights without a marker are not whole"
    marker.touch()
    told, _ = process.communicate(timeout=5)
    assert process.returncode == 0
    assert f"waiting for {marker}" in told.splitlines()[0]


def test_a_pod_that_waits_is_stopped_at_once(waiting: Wait, tmp_path: Path) -> None:
    """As the first process of a container, which has to ask for the signal."""
    own = [] if os.geteuid() or shutil.which("unshare") is None else ["unshare", "--pid", "--fork", "--kill-child"]
    probe = subprocess.run([*own, "true"], check=False, capture_output=True)
    process = waiting(tmp_path / ".complete", "30", *(own if probe.returncode == 0 else []))
    assert process.stdout is not None
    assert "waiting" in process.stdout.readline()
    begun = time.monotonic()
    [shell] = children(process.pid) if own and probe.returncode == 0 else [process.pid]
    os.kill(shell, signal.SIGTERM)
    process.wait(timeout=10)
    assert time.monotonic() - begun < 5
    assert process.returncode in (143, -signal.SIGTERM)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]


# How long a start takes


def test_the_arithmetic_of_a_start_is_told_with_its_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {place: explanation(decided("prod", {"weightsFrom": place}, {}, monkeypatch)) for place in ("hub", "bucket")}
    assert "node 210 + driver 30 + image 60 + weights 282 + warm-up 60" in told["hub"]
    assert "node 210 + driver 30 + image 60 + weights 248 + warm-up 60" in told["bucket"]
    for word in ("cluster-autoscaler/FAQ.md", "ai-on-gke", "bentoml.com"):
        assert all(word in text for text in told.values()), word
    assert "huggingface_hub #2989" in told["hub"]
    assert "Cloud Storage FUSE" in told["bucket"]
    assert f"gs://example-project-llmserve-prod-weights/{LLAMA}/6f6073b4" in told["bucket"]
    assert "gs://" not in told["hub"]


def test_an_unknown_size_is_told_as_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = decided("dev", {}, {"models[0].repository": "nobody/nothing"}, monkeypatch)
    assert "without the weights" in explanation(plan)
    assert "weights" not in {part.name for part in cold_start_of(plan.models[0]).parts}


@given(gigabytes=st.floats(0, 2000), place=st.sampled_from(WeightsFrom))
def test_more_weights_never_take_less(gigabytes: float, place: WeightsFrom) -> None:
    part, larger = weights_part(gigabytes, place), weights_part(gigabytes + 1, place)
    assert part.least <= part.likely <= part.most
    assert (larger.least, larger.likely, larger.most) > (part.least, part.likely, part.most)


def test_a_start_from_the_bucket_pays_no_nat(monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(days=0.02, pattern=Pattern.CONSTANT, requests_per_second=0.1)
    for place, paid in (("hub", True), ("bucket", False)):
        plan = decided("dev", {"weightsFrom": place}, {}, monkeypatch)
        made = scenario(plan, plan.models[0], options, resources_of("dev", {"weightsFrom": place}))
        cost = document(made, simulate(made.platform, made.requests(), seconds=made.seconds, seed=0))["cost"]
        assert ("weights through the NAT" in [line["part"] for line in cost["lines"]]) is paid
        assert ("what the bucket keeps" in cost["unpriced"]) is not paid


def test_versions_that_pass_by_the_bucket_are_those_of_custom_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = decided("prod", FROM_BUCKET | {"models": json.dumps(MIXED)}, {}, monkeypatch)
    places = {(m.name, v.name): v.weights for m in plan.models for v in m.versions}
    assert places.pop(("own", "stable")) is None
    assert all(place is not None for place in places.values())
    assert places["qwen", "stable"] == places["qwen", "next"]
    assert places["qwen", "canary"] == places["by-vllm", "stable"]
    first = places["qwen", "stable"]
    assert first is not None
    assert replace(first, revision=OTHER) == places["qwen", "canary"]

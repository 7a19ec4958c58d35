import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPMessage, IncompleteRead
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import HTTPError, URLError

import pulumi
import pytest
import yaml

import versions
from scripts import asking, registries
from scripts.bootstrap import SERVICES
from scripts.doctor import allows, main
from tests.operations_fakes import REPOSITORY, SENTINEL, Answer, Fakes, Finished, Shell

LLAMA = "meta-llama/Llama-3.3-70B-Instruct"
COMMIT = "6f6073b423013f6a7d4d9f39144961bfbfbc386b"
CONFIG = f"/{LLAMA}/resolve/{COMMIT}/config.json"
MACHINES = {"a2-ultragpu-1g": 1, "a2-ultragpu-4g": 4}
ZONES = ("us-east5-a", "us-east5-b")

LIMITS = {
    "PREEMPTIBLE_NVIDIA_A100_80GB_GPUS": (43, 0),
    "NVIDIA_A100_80GB_GPUS": (43, 0),
    "A2_CPUS": (516, 0),
    "CPUS": (28, 0),
    "SSD_TOTAL_GB": (2652, 0),
    "INSTANCES": (26, 0),
}
GLOBAL_LIMITS = {"GPUS_ALL_REGIONS": (43, 0), "CPUS_ALL_REGIONS": (544, 0)}


def quotas(limits: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    # Compute Engine writes both as numbers with a point.
    return {"quotas": [{"metric": name, "limit": float(a), "usage": float(b)} for name, (a, b) in limits.items()]}


def machine_type(name: str, zone: str) -> dict[str, Any]:
    return {"name": name, "zone": zone, "guestCpus": 12 * MACHINES[name]}


def channels(version: str) -> dict[str, Any]:
    return {"channels": [{"channel": name, "defaultVersion": version} for name in ("RAPID", "REGULAR", "STABLE")]}


VERSION = "projects/123/secrets/hugging-face-token/versions"
# By a part of the command; the first that fits answers, so `billing projects` stands before `projects`.
ALL_WELL: dict[str, object] = {
    "version --format": {"Google Cloud SDK": "528.0.0"},
    "auth list": [{"account": "ada@acme.example", "status": "ACTIVE"}],
    "print-access-token": SENTINEL,
    "billing projects describe acme-llm": {"billingEnabled": True},
    "projects describe acme-llm": {"lifecycleState": "ACTIVE"},
    "services list --enabled": [{"config": {"name": f"{service}.googleapis.com"}} for service in SERVICES],
    "regions describe us-east5": quotas(LIMITS),
    "project-info describe": quotas(GLOBAL_LIMITS),
    "instances list": [],
    "machine-types list": [machine_type(name, zone) for name in MACHINES for zone in ZONES],
    "accelerator-types list": [
        {"name": "nvidia-a100-80gb", "zone": f"https://www.googleapis.com/compute/v1/projects/acme-llm/zones/{zone}"}
        for zone in ZONES
    ],
    "clusters list": [],
    "get-server-config": channels("1.35.5-gke.1163012"),
    "managed-zones list": [],
    "versions list hugging-face-token": [{"name": f"{VERSION}/1", "state": "ENABLED"}],
    "versions access latest": SENTINEL,
}


def complaint(text: str) -> Answer:
    return Answer(stderr=f"ERROR: (gcloud.some.command) {text}\nmore words\n", code=1)


NOBODY = complaint("PERMISSION_DENIED: ask your administrator")


class Hub(BaseHTTPRequestHandler):
    """Answers for every file as it was told, and notes what it was asked with."""

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))  # type: ignore[attr-defined]
        status, headers = self.server.answer(self.path, self.headers.get("Authorization"))  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


HubAnswer = Callable[[str, str | None], tuple[int, dict[str, str]]]


class Server:
    """A hub on this machine."""

    def __init__(self) -> None:
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
        self.asked: list[tuple[str, str | None]] = []
        self.http.asked = self.asked  # type: ignore[attr-defined]
        self.says(200)
        Thread(target=self.http.serve_forever, args=[0.01], daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def says(self, status: int, **headers: str) -> None:
        self.answers(lambda *_: (status, {name.replace("_", "-"): value for name, value in headers.items()}))

    def answers(self, answer: HubAnswer) -> None:
        self.http.answer = answer  # type: ignore[attr-defined]

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


Refusal = int | Exception


class Registries:
    """Chart repositories and image registries as they answer, each that was asked noted; `refuses` says what does not.

    Registries want an anonymous token first, as Docker Hub's and GitHub's do; Google's give what is public at once.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refuses: dict[str, Refusal] = {}
        self.charts: dict[str, dict[str, list[str]]] = {}
        for chart in versions.CHARTS.values():
            self.charts.setdefault(chart.repository, {}).setdefault(chart.name, ["0.1.0", chart.version])

    def request(self, url: str, headers: Mapping[str, str], method: str = "GET") -> tuple[HTTPMessage, bytes]:
        self.asked.append(url)
        for part, refusal in self.refuses.items():
            if part in url:
                raise HTTPError(url, refusal, "no", HTTPMessage(), None) if isinstance(refusal, int) else refusal
        if url.endswith("/index.yaml"):
            entries = self.charts[url.removesuffix("/index.yaml")]
            listed = {name: [{"name": name, "version": one} for one in found] for name, found in entries.items()}
            return HTTPMessage(), yaml.safe_dump({"apiVersion": "v1", "entries": listed}).encode()
        answered = HTTPMessage()
        if method == "GET":
            assert url.startswith("https://auth.example/token?service=")
            return answered, b'{"token": "anonymous"}'
        assert "application/vnd.oci.image.index.v1+json" in headers["Accept"]
        if "gcr.io" not in url and headers.get("Authorization") != "Bearer anonymous":
            answered["WWW-Authenticate"] = 'Bearer realm="https://auth.example/token",service="it",scope="pull"'
            raise HTTPError(url, 401, "no", answered, None)
        return answered, b""


@pytest.fixture(autouse=True)
def registries_there(monkeypatch: pytest.MonkeyPatch) -> Registries:
    """None is really asked."""
    there = Registries()
    monkeypatch.setattr(registries, "request", there.request)
    return there


@pytest.fixture
def hub() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def other_host() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


class Doctor:
    """Runs `make doctor` on prod, in a project of our own, with gcloud and the hub as told."""

    def __init__(self, shell: Shell, hub: Server) -> None:
        self.shell, self.hub = shell, hub
        self.gcloud()
        shell.fakes.add("pulumi", Answer(to="version", stdout="v3.260.0\n"))
        shell.fakes.add("gke-gcloud-auth-plugin", Answer(to="--version", stdout="Kubernetes v1.30.0\n"))
        shell.fakes.add("kubectl")
        shutil.copy(REPOSITORY / "Pulumi.yaml", shell.project)
        for stack in ("prod", "dev"):
            self.declare(stack, {"gcp:project: example-project": "gcp:project: acme-llm"})

    def declare(self, stack: str, changes: Mapping[str, str]) -> None:
        """Write a stack's file as it is in the repository, but for these texts."""
        text = (REPOSITORY / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8")
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        (self.shell.project / f"Pulumi.{stack}.yaml").write_text(text, encoding="utf-8")

    def also(self, setting: str) -> None:
        """Add a line of configuration to prod."""
        self.declare("prod", {"gcp:project: example-project": f"gcp:project: acme-llm\n  {setting}"})

    def gcloud(self, changes: Mapping[str, object] | None = None) -> None:
        """Answer as all is well, but for the changes."""
        assert set(changes or {}) <= set(ALL_WELL)
        answers = []
        for to, answer in (ALL_WELL | dict(changes or {})).items():
            if isinstance(answer, Answer):
                answers.append(
                    Answer(to=to, stdout=answer.stdout, stderr=answer.stderr, code=answer.code, stays=answer.stays)
                )
            else:
                answers.append(Answer(to=to, stdout=answer if isinstance(answer, str) else json.dumps(answer)))
        self.shell.fakes.add("gcloud", *answers, complaint("the fake was not told of this"))

    def run(self, stack: str = "prod", **environment: str) -> Finished:
        return self.shell.run(main, stack, HF_ENDPOINT=self.hub.url, **environment)


@pytest.fixture
def doctor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], hub: Server
) -> Iterator[Doctor]:
    fakes = Fakes(tmp_path / "fakes")
    names = pulumi.get_project(), pulumi.get_stack()
    yield Doctor(Shell(fakes, monkeypatch, capfd), hub)
    # What the command leaves in its own process.
    pulumi.runtime.configure(pulumi.runtime.Settings(*names))


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PULUMI_CONFIG", "PULUMI_CONFIG_SECRET_KEYS"):
        monkeypatch.setenv(name, "{}")


def lines(finished: Finished, verdict: str) -> list[str]:
    return [line.removeprefix(verdict).strip() for line in finished.out.splitlines() if line.startswith(verdict)]


def test_the_api_of_budgets_is_wanted_where_there_is_a_budget(doctor: Doctor) -> None:
    doctor.also("llmserve:budget: {billingAccount: 012345-6789AB-CDEF01, monthlyUsd: 1}")
    finished = doctor.run()
    assert finished.code == 1
    assert "APIs: off: billingbudgets.googleapis.com" in finished.out


def test_all_is_well(doctor: Doctor) -> None:
    finished = doctor.run()
    assert (finished.code, lines(finished, "problem")) == (0, []), finished.out
    # Google shows no quotas of machine families here.
    (unknown,) = lines(finished, "could not ask")
    assert unknown.startswith("quotas: LOCAL_SSD_TOTAL_GB_PER_VM_FAMILY")
    assert "16,125" in unknown
    fine = lines(finished, "ok")
    titles = {line.partition(":")[0] for line in fine}
    assert titles == {
        *("tools", "login", "project", "APIs", "quotas", "zones", "GKE", "DNS", "certificate", "token", "models"),
        *("charts", "images"),
    }
    assert finished.out.endswith(f"prod: {len(fine)} ok, 0 problems, 1 not asked\n")
    assert "asking:" not in finished.out


def test_it_asks_for_nothing_and_changes_nothing(doctor: Doctor) -> None:
    doctor.run()
    calls = [call[1:] for call in doctor.shell.fakes.calls() if call[0] == "gcloud"]
    reading = {"describe", "list", "access", "get-server-config", "print-access-token", "version"}
    for call in calls:
        assert reading & set(call), call
        assert call[0] == "version" or "--quiet" in call
        assert call[0] in ("version", "auth") or "--project=acme-llm" in call
    environment = doctor.shell.fakes.environment_of("gcloud")
    assert environment["CLOUDSDK_CORE_DISABLE_PROMPTS"] == "1"
    assert environment["CLOUDSDK_CORE_DISABLE_FILE_LOGGING"] == "1"


Wrong = tuple[str, object, str, str]
"""A question, its answer, the problem, and its fix."""

# Each set at once: no check looks at another's answers.
WRONG: list[list[Wrong]] = [
    [
        ("auth list", [], "login: nobody is logged in", "gcloud auth login"),
        (
            "print-access-token",
            complaint("Your default credentials were not found."),
            "login: there are no application default credentials",
            "gcloud auth application-default login",
        ),
        (
            "projects describe acme-llm",
            complaint("[ada] does not have permission to access projects instance [acme-llm] (or it may not exist)"),
            "project: acme-llm is not there, or you may not see it",
            "gcloud projects list",
        ),
        (
            "services list --enabled",
            [{"config": {"name": "compute.googleapis.com"}}],
            "APIs: off: artifactregistry.googleapis.com",
            "gcloud services enable artifactregistry.googleapis.com",
        ),
        (
            "machine-types list",
            [machine_type("a2-ultragpu-1g", "us-east5-a"), *(machine_type("a2-ultragpu-4g", zone) for zone in ZONES)],
            "zones: a2-ultragpu-1g with nvidia-a100-80gb is not in us-east5-b",
            "llmserve:zones: [us-east5-a]",
        ),
        (
            "get-server-config",
            channels("1.35.0-gke.998000"),
            "GKE: a new cluster in the channel REGULAR gets 1.35.0-gke.998000",
            "spotShutdownGraceSeconds 30",
        ),
        (
            "versions list hugging-face-token",
            complaint("NOT_FOUND: Secret [projects/123/secrets/hugging-face-token] not found or has no versions."),
            "token: there is no secret hugging-face-token",
            "make bootstrap STACK=prod",
        ),
        (
            "versions access latest",
            f"{SENTINEL}\n",
            "models: the secret holds more than a token",
            "gcloud secrets versions add hugging-face-token",
        ),
    ],
    [
        ("projects describe acme-llm", {"lifecycleState": "DELETE_REQUESTED"}, "DELETE_REQUESTED", "undelete acme-llm"),
        ("billing projects describe acme-llm", {}, "project: billing is off", "gcloud billing projects link acme-llm"),
        (
            "accelerator-types list",
            [],
            "a2-ultragpu-1g with nvidia-a100-80gb is not in us-east5-a, us-east5-b",
            "region",
        ),
        (
            "accelerator-types list",
            [],
            "a2-ultragpu-4g with nvidia-a100-80gb is not in us-east5-a, us-east5-b",
            "region",
        ),
        (
            "clusters list",
            [{"name": "llmserve-prod", "currentMasterVersion": "1.35.0-gke.1170999", "network": "n"}],
            "GKE: the cluster llmserve-prod has 1.35.0-gke.1170999",
            "spotShutdownGraceSeconds 30",
        ),
        (
            "versions list hugging-face-token",
            [{"name": f"{VERSION}/{number}", "state": state} for number, state in ((9, "ENABLED"), (10, "DISABLED"))],
            "token: the newest version of hugging-face-token, 10, is disabled",
            "gcloud secrets versions add hugging-face-token",
        ),
        ("versions access latest", "", "models: the secret holds more than a token, or none", "read -rs HF_TOKEN"),
    ],
    [
        (
            "versions list hugging-face-token",
            [],
            "token: hugging-face-token is empty",
            "gcloud secrets versions add hugging-face-token",
        )
    ],
]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_has_a_fix(doctor: Doctor, wrong: list[Wrong]) -> None:
    doctor.gcloud({asked: answer for asked, answer, _, _ in wrong})
    finished = doctor.run()
    assert finished.code == 1
    told = finished.out.splitlines()
    assert len(lines(finished, "problem")) == len(wrong), finished.out
    for _, _, problem, fix in wrong:
        (place,) = [number for number, line in enumerate(told) if line.startswith("problem") and problem in line]
        assert told[place + 1].strip().startswith("fix: ")
        assert fix in told[place + 1]


QUESTIONS = {
    "version --format": "tools",
    "auth list": "login",
    "projects describe acme-llm": "project",
    "services list --enabled": "APIs",
    "regions describe us-east5": "quotas",
    "project-info describe": "quotas",
    "machine-types list": "zones",
    "get-server-config": "GKE",
    "managed-zones list": "DNS",
    "versions list hugging-face-token": "token",
}


@pytest.mark.parametrize("answer", [complaint("ask again tomorrow"), "no JSON", '{"an": "odd answer"}', "[3]", "7"])
@pytest.mark.parametrize("first", [True, False])
def test_what_could_not_be_asked_is_told(doctor: Doctor, answer: Answer | str, *, first: bool) -> None:
    """Every question at once, and the second of those checks that ask two."""
    second = {
        "billing projects describe acme-llm": "project",
        "accelerator-types list": "zones",
        "clusters list": "GKE",
    }
    if answer == '{"an": "odd answer"}':
        del second["billing projects describe acme-llm"]
    questions = QUESTIONS if first else second
    doctor.gcloud(dict.fromkeys(questions, answer))
    finished = doctor.run()
    unknown = lines(finished, "could not ask")
    for title in questions.values():
        told = [line for line in unknown if line.startswith(f"{title}: ")]
        assert told, finished.out
        if isinstance(answer, Answer):
            assert any("ask again tomorrow" in line for line in told)
    assert (finished.code, lines(finished, "problem")) == (0, [])
    assert f"{len(unknown)} not asked" in finished.out


def test_half_of_the_quotas_is_better_than_none(doctor: Doctor) -> None:
    doctor.gcloud({"regions describe us-east5": NOBODY})
    finished = doctor.run()
    assert any(line.startswith("quotas: GPUS_ALL_REGIONS") for line in lines(finished, "ok"))
    assert any("those in us-east5" in line for line in lines(finished, "could not ask"))


def test_a_gcloud_that_does_not_answer(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "TIMEOUT_SECONDS", 0.5)
    doctor.gcloud({"managed-zones list": Answer(stays=True)})
    finished = doctor.run()
    assert "DNS: gcloud gave no answer within 0.5 seconds" in lines(finished, "could not ask")


def test_without_gcloud_everything_else_is_asked_and_the_rest_told(doctor: Doctor) -> None:
    (doctor.shell.fakes.path / "gcloud").unlink()
    doctor.hub.says(401, X_Error_Code="GatedRepo")
    finished = doctor.run()
    assert finished.code == 1
    assert any(line.startswith("tools: gcloud is not on PATH") for line in lines(finished, "problem"))
    told = {line.partition(":")[0] for line in lines(finished, "could not ask")}
    assert told == {"login", "project", "APIs", "quotas", "zones", "GKE", "DNS", "token", "models"}
    assert doctor.hub.asked == [(CONFIG, None)]


def test_the_example_project_is_asked_nothing(doctor: Doctor) -> None:
    doctor.declare("prod", {})
    finished = doctor.run()
    assert finished.code == 1
    (example,) = lines(finished, "problem")
    assert example.startswith("project: gcp:project is example-project")
    assert not [call for call in doctor.shell.fakes.calls() if "example-project" in " ".join(call)]
    assert any(line.startswith("APIs: gcp:project is example-project") for line in lines(finished, "could not ask"))


def test_a_terminal_shows_what_is_waited_for(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    told = doctor.run().out
    assert "\r\x1b[Kasking: quotas ...\r\x1b[K" in told


def test_a_refused_stack_is_shown_as_refused_and_nothing_is_asked(doctor: Doctor) -> None:
    doctor.also("llmserve:capacity: sometimes")
    finished = doctor.run()
    assert (finished.code, doctor.shell.fakes.calls(), doctor.hub.asked) == (2, [], [])
    assert "llmserve:capacity" in finished.err
    assert doctor.run("nowhere").code == 2


def test_tools_that_are_missing_or_of_another_version(doctor: Doctor) -> None:
    doctor.shell.fakes.add("pulumi", Answer(to="version", stdout="v3.99.0\n"))
    for name in ("gke-gcloud-auth-plugin", "kubectl"):
        (doctor.shell.fakes.path / name).unlink()
    finished = doctor.run()
    wrong = lines(finished, "problem")
    assert [line.split()[1] for line in wrong] == ["gke-gcloud-auth-plugin", "pulumi"]
    assert "v3.99.0" in wrong[1]
    assert any("kubectl is not on PATH" in line for line in lines(finished, "ok"))
    (doctor.shell.fakes.path / "pulumi").unlink()
    assert any("`make up` installs" in line for line in lines(doctor.run(), "ok"))


@pytest.mark.parametrize(
    ("wanted", "version", "fits"),
    [
        (">=3.200.0 <4.0.0", "v3.200.0", True),
        (">=3.200.0 <4.0.0", "v3.199.9", False),
        (">=3.200.0 <4.0.0", "v4.0.0", False),
        (">=3.9.0", "3.10.0", True),
        ("3.2.1", "3.2.1", True),
        ("!=3.2.1", "3.2.1", False),
        ("<3.0.0 || >=3.5.0", "3.6.0", True),
        ("<3.0.0 || >=3.5.0", "3.4.0", False),
        ("", "3.4.0", True),
    ],
)
def test_ranges_of_versions(wanted: str, version: str, *, fits: bool) -> None:
    assert allows(wanted, version) is fits


def test_credentials_by_a_file(doctor: Doctor, tmp_path: Path) -> None:
    finished = doctor.run(GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "none"))
    assert any("which is no file" in line for line in lines(finished, "problem"))
    assert not [call for call in doctor.shell.fakes.calls() if "print-access-token" in call]
    (tmp_path / "some").touch()
    assert doctor.run(GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "some")).code == 0


def quota(finished: Finished, name: str) -> tuple[str, str]:
    """The verdict of one quota, and the words."""
    found = [
        (verdict, line)
        for verdict in ("ok", "problem", "could not ask")
        for line in lines(finished, verdict)
        if line.startswith(f"quotas: {name}:")
    ]
    assert len(found) == 1, finished.out
    return found[0]


def test_a_missing_quota_is_told_with_the_amount_and_the_command(doctor: Doctor) -> None:
    used = {"NVIDIA_A100_80GB_GPUS": (16, 4), "PREEMPTIBLE_NVIDIA_A100_80GB_GPUS": (31, 0)}
    doctor.gcloud({"regions describe us-east5": quotas(LIMITS | used)})
    finished = doctor.run()
    verdict, text = quota(finished, "NVIDIA_A100_80GB_GPUS")
    # 43 and the 4 of others, of 16.
    assert verdict == "problem"
    assert "31 GPUs too few: limit 16, 4 in use" in text
    assert "11 x 1 (a2-ultragpu-1g) + 6 x 4 (a2-ultragpu-4g) + 2 x 4 (a2-ultragpu-4g floor) = 43" in text
    assert (
        "gcloud beta quotas preferences create --service=compute.googleapis.com "
        "--quota-id=NVIDIA-A100-80GB-GPUS-per-project-region --dimensions=region=us-east5 --preferred-value=47"
        in finished.out
    )
    assert "https://console.cloud.google.com/iam-admin/quotas?project=acme-llm" in finished.out
    assert "4 GPUs too few, enough without rollouts" in quota(finished, "PREEMPTIBLE_NVIDIA_A100_80GB_GPUS")[1]


def test_a_missing_quota_of_all_regions_names_none(doctor: Doctor) -> None:
    doctor.gcloud({"project-info describe": quotas(GLOBAL_LIMITS | {"GPUS_ALL_REGIONS": (0, 0)})})
    finished = doctor.run()
    assert "--quota-id=GPUS-ALL-REGIONS-per-project --preferred-value=43" in finished.out


def node(machine_type: str, *, spot: bool, disk: str = "100") -> dict[str, Any]:
    prefix = "https://www.googleapis.com/compute/v1/projects/acme-llm/zones/us-east5-a"
    return {
        "machineType": f"{prefix}/machineTypes/{machine_type}",
        "zone": prefix,
        "scheduling": {"provisioningModel": "SPOT" if spot else "STANDARD"},
        "disks": [{"type": "PERSISTENT", "diskSizeGb": disk}, {"type": "SCRATCH", "diskSizeGb": "375"}],
    }


def test_what_runs_of_the_stack_is_not_counted_twice(doctor: Doctor) -> None:
    own = [node("a2-ultragpu-4g", spot=True), node("a2-ultragpu-1g", spot=False), node("e2-standard-4", spot=False)]
    used = {
        "PREEMPTIBLE_NVIDIA_A100_80GB_GPUS": (35, 4),
        "NVIDIA_A100_80GB_GPUS": (43, 1),
        "A2_CPUS": (516, 60),
        "CPUS": (28, 4),
        "SSD_TOTAL_GB": (2652, 300),
        "INSTANCES": (26, 3),
    }
    full = {
        "regions describe us-east5": quotas(used),
        "project-info describe": quotas({"GPUS_ALL_REGIONS": (43, 5), "CPUS_ALL_REGIONS": (544, 64)}),
    }
    doctor.gcloud(full | {"instances list": own})
    finished = doctor.run()
    assert (finished.code, lines(finished, "problem")) == (0, []), finished.out
    filtered = next(call for call in doctor.shell.fakes.calls() if "instances" in call)
    assert (
        "--filter=labels.goog-k8s-cluster-name=llmserve-prod AND labels.goog-k8s-cluster-location=us-east5" in filtered
    )
    others = quotas(used | {"SSD_TOTAL_GB": (2652, 310)})
    doctor.gcloud({"regions describe us-east5": others, "instances list": own})
    assert "10 GB of pd-balanced disks too few" in quota(doctor.run(), "SSD_TOTAL_GB")[1]
    doctor.gcloud(full)
    assert len(lines(doctor.run(), "problem")) == 6
    doctor.gcloud(full | {"instances list": NOBODY})
    finished = doctor.run()
    assert len(lines(finished, "problem")) == 6
    assert any("how much of what is in use is this stack's own" in line for line in lines(finished, "could not ask"))


def test_cores_that_may_not_be_counted_are_no_problem(doctor: Doctor) -> None:
    doctor.gcloud(
        {
            "regions describe us-east5": quotas(LIMITS | {"A2_CPUS": (0, 0)}),
            "project-info describe": quotas(GLOBAL_LIMITS | {"CPUS_ALL_REGIONS": (32, 0)}),
        }
    )
    finished = doctor.run()
    assert finished.code == 0, finished.out
    assert quota(finished, "A2_CPUS")[0] == quota(finished, "CPUS_ALL_REGIONS")[0] == "could not ask"
    # Those of the system nodes are counted for certain.
    doctor.gcloud({"project-info describe": quotas(GLOBAL_LIMITS | {"CPUS_ALL_REGIONS": (27, 0)})})
    assert quota(doctor.run(), "CPUS_ALL_REGIONS")[0] == "problem"


@pytest.mark.parametrize(
    ("capacity", "counted"),
    [
        # Llama's floor is on demand.
        ("spot", {"PREEMPTIBLE_LOCAL_SSD_GB", "LOCAL_SSD_TOTAL_GB_PER_VM_FAMILY"}),
        ("on-demand", {"LOCAL_SSD_TOTAL_GB_PER_VM_FAMILY"}),
        ("spot-with-fallback", {"PREEMPTIBLE_LOCAL_SSD_GB", "LOCAL_SSD_TOTAL_GB_PER_VM_FAMILY"}),
    ],
)
def test_spot_machines_count_to_quotas_of_their_own_where_there_are_such(
    doctor: Doctor, capacity: str, counted: set[str]
) -> None:
    doctor.also(f"llmserve:capacity: {capacity}")
    doctor.gcloud({"regions describe us-east5": quotas(LIMITS | {"PREEMPTIBLE_LOCAL_SSD_GB": (1, 0)})})
    finished = doctor.run()
    told = {word for word in finished.out.replace(":", " ").split() if "LOCAL_SSD" in word}
    assert told == counted
    if "PREEMPTIBLE_LOCAL_SSD_GB" in counted:
        assert quota(finished, "PREEMPTIBLE_LOCAL_SSD_GB")[0] == "problem"


def zone(name: str, network: str, **labels: str) -> dict[str, Any]:
    networks = [{"networkUrl": f"https://www.googleapis.com/compute/v1/projects/acme-llm/global/networks/{network}"}]
    return {
        "name": name,
        "dnsName": "llm.internal.",
        "visibility": "private",
        "labels": labels,
        "privateVisibilityConfig": {"networks": networks},
    }


def test_names(doctor: Doctor) -> None:
    elsewhere, own = zone("theirs", "default"), zone("ours", "vpc-1", platform="llmserve-prod")
    for found in ([elsewhere], [own], [elsewhere, own], [{"name": "public", "dnsName": "llm.internal."}]):
        doctor.gcloud({"managed-zones list": found})
        assert doctor.run().code == 0
    cluster = {"name": "llmserve-prod", "currentMasterVersion": "1.36.0-gke.1", "network": "vpc-1"}
    for known in ({"managed-zones list": [own, zone("old", "vpc-1")]}, {"managed-zones list": [zone("old", "vpc-1")]}):
        doctor.gcloud({"clusters list": [cluster], **known})
        finished = doctor.run()
        assert finished.code == 1
        assert "DNS: old has llm.internal in this stack's network already" in lines(finished, "problem")


def test_a_short_grace_needs_no_version(doctor: Doctor) -> None:
    doctor.also("llmserve:spotShutdownGraceSeconds: 30")
    doctor.gcloud({"get-server-config": channels("1.30.0-gke.1")})
    assert doctor.run().code == 0


def test_the_token_goes_to_the_hub_and_nowhere_else(doctor: Doctor, other_host: Server) -> None:
    """`run` and `calls` look for it in every output and in every command."""
    doctor.hub.says(302, Location=f"{other_host.url}/file")
    finished = doctor.run()
    assert (finished.code, other_host.asked) == (0, [])
    assert doctor.hub.asked == [(CONFIG, f"Bearer {SENTINEL}")]
    assert doctor.shell.fakes.calls()


def test_a_redirect_on_the_hub_itself_is_followed(doctor: Doctor) -> None:
    doctor.hub.answers(lambda path, _: (307, {"Location": "/elsewhere/config.json"}) if path == CONFIG else (403, {}))
    finished = doctor.run()
    assert finished.code == 1
    assert [path for path, _ in doctor.hub.asked] == [CONFIG, "/elsewhere/config.json"]
    doctor.hub.says(302, Location=CONFIG)
    assert doctor.run().code == 0
    assert any("redirects without end" in line for line in lines(doctor.run(), "could not ask"))


@pytest.mark.parametrize(
    ("status", "error", "told", "fix"),
    [
        (401, "", "the hub refuses the token itself", "gcloud secrets versions add"),
        (403, "GatedRepo", "the token may not read it", f"ask for access at HUB/{LLAMA}"),
        (404, "RepoNotFound", "there is no such repository", "git ls-remote"),
        (404, "RevisionNotFound", "it has no such revision", "git ls-remote"),
        (404, "EntryNotFound", "it has no config.json", "git ls-remote"),
    ],
)
def test_what_the_hub_refuses_is_explained(doctor: Doctor, status: int, error: str, told: str, fix: str) -> None:
    doctor.hub.says(status, X_Error_Code=error)
    finished = doctor.run()
    (wrong,) = lines(finished, "problem")
    assert wrong.startswith(f"models: {LLAMA} at {COMMIT}: {told}")
    assert fix.replace("HUB", doctor.hub.url) in finished.out


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_in_trouble_says_nothing_about_the_model(doctor: Doctor, status: int) -> None:
    doctor.hub.says(status)
    finished = doctor.run()
    assert finished.code == 0
    assert any(f"the hub answers {status}" in line for line in lines(finished, "could not ask"))


def test_a_hub_that_is_not_there(doctor: Doctor) -> None:
    doctor.hub.close()
    finished = doctor.run()
    assert finished.code == 0
    assert any("cannot be reached" in line for line in lines(finished, "could not ask"))


@pytest.mark.parametrize("token", [NOBODY, f"{SENTINEL} two", "\N{SNOWMAN}"])
def test_without_a_token_an_open_model_can_be_asked_for_all_the_same(doctor: Doctor, token: Answer | str) -> None:
    doctor.gcloud({"versions access latest": token})
    finished = doctor.run()
    assert doctor.hub.asked == [(CONFIG, None)]
    assert any("can be read without a token" in line for line in lines(finished, "ok"))
    doctor.hub.says(401, X_Error_Code="GatedRepo")
    assert any("the hub wants a token" in line for line in lines(doctor.run(), "could not ask"))


def test_a_stack_without_a_token(doctor: Doctor) -> None:
    """Dev has an open model and wants no token."""
    doctor.hub.says(401, X_Error_Code="RepoNotFound")
    finished = doctor.run("dev")
    assert finished.code == 1
    assert "pulumi config set --stack dev huggingFaceTokenFrom secret-manager" in finished.out
    ((path, authorization),) = doctor.hub.asked
    assert path.startswith("/Qwen/Qwen2.5-7B-Instruct/resolve/a09a3545")
    assert authorization is None
    assert not [call for call in doctor.shell.fakes.calls() if "secrets" in call]


def test_a_token_in_the_stack_stays_encrypted(doctor: Doctor) -> None:
    doctor.also("llmserve:huggingFaceTokenFrom: config\n  llmserve:huggingFaceToken: {secure: v1:abc}")
    doctor.hub.says(401)
    finished = doctor.run()
    assert finished.code == 0, finished.out
    assert any("the stack's is encrypted" in line for line in lines(finished, "could not ask"))
    assert doctor.hub.asked == [(CONFIG, None)]


KEDA = f"keda {versions.KEDA.version}"
PROXY = f"docker.io/istio/proxyv2:{versions.ISTIOD.version}"


def test_every_chart_and_every_public_image_is_asked_for(doctor: Doctor, registries_there: Registries) -> None:
    fine = lines(doctor.run(), "ok")
    for chart in versions.CHARTS.values():
        assert f"charts: {chart.name} {chart.version} is at {chart.repository}" in fine
    wanted = {*versions.IMAGES.values(), *versions.ISTIO_IMAGES} - {versions.VLLM_IMAGE.reference}
    assert {line.removeprefix("images: ").removesuffix(" is there") for line in fine if "images: " in line} == wanted
    # By the digest, where there is one; Docker Hub answers at another host than its images name.
    assert (
        f"https://registry-1.docker.io/v2/istio/proxyv2/manifests/{versions.ISTIOD.version}" in registries_there.asked
    )
    digest = versions.PAUSE_IMAGE.reference.partition("@")[2]
    assert f"https://gke.gcr.io/v2/pause/manifests/{digest}" in registries_there.asked


def test_an_own_image_of_a_model_is_asked_for_where_it_is_public(doctor: Doctor) -> None:
    doctor.declare("prod", {"gcp:project: example-project": "gcp:project: acme-llm", "arr-coc-0-1:0.1.0": OWN})
    assert f"images: {OWN} is there" in lines(doctor.run(), "ok")


OWN = "quay.io/ours/arr-coc:0.1.0"


@pytest.mark.parametrize(
    ("part", "told", "fix"),
    [
        ("blob.istio.io", "charts: https://blob.istio.io/istio-release/charts is no chart repository", "ISTIO_BASE, "),
        ("kedacore.github.io", "charts: https://kedacore.github.io/charts is no chart repository", "move KEDA in"),
        ("istio/proxyv2", f"images: {PROXY} is not there, or not public", "move ISTIOD in versions.py"),
        ("text-generation-inference", "images: ghcr.io/huggingface/text-generation-inference", "Pulumi.STACK.yaml"),
        ("kubectl", "images: registry.k8s.io/kubectl", "move KUBECTL_IMAGE in versions.py"),
    ],
)
def test_what_is_not_there_any_more_is_told_with_what_to_move(
    doctor: Doctor, registries_there: Registries, part: str, told: str, fix: str
) -> None:
    registries_there.refuses[part] = 404
    finished = doctor.run()
    assert finished.code == 1
    (wrong,) = lines(finished, "problem")
    assert wrong.startswith(told)
    assert fix in finished.out
    assert "catalog/retired_hosts.csv" in finished.out


def test_a_repository_that_has_the_chart_but_not_the_version(doctor: Doctor, registries_there: Registries) -> None:
    registries_there.charts[versions.KEDA.repository] = {"keda": ["9.9.9", "9.9.8"]}
    del registries_there.charts[versions.ISTIOD.repository]["istiod"]
    finished = doctor.run()
    assert finished.code == 1
    assert lines(finished, "problem") == [
        f"charts: {versions.ISTIOD.repository} has no istiod {versions.ISTIOD.version}, but no version of it",
        f"charts: {versions.KEDA.repository} has no {KEDA}, but 9.9.9, 9.9.8",
    ]


@pytest.mark.parametrize("refusal", [429, 403, 503, URLError("no route"), TimeoutError(), IncompleteRead(b"")])
def test_a_registry_that_cannot_be_asked_says_nothing(
    doctor: Doctor, registries_there: Registries, refusal: Refusal
) -> None:
    registries_there.refuses |= {"blob.istio.io": refusal, "registry-1.docker.io": refusal}
    finished = doctor.run()
    assert (finished.code, lines(finished, "problem")) == (0, [])
    unknown = lines(finished, "could not ask")
    assert len([line for line in unknown if line.startswith("charts: https://blob.istio.io")]) == 1
    assert len([line for line in unknown if line.startswith("images: docker.io/istio/")]) == 2


@pytest.mark.parametrize("page", [b"<html>log in</html>", b"entries: [1]", b"{", b"- a"])
def test_a_repository_that_answers_something_else(doctor: Doctor, monkeypatch: pytest.MonkeyPatch, page: bytes) -> None:
    monkeypatch.setattr(registries, "request", lambda *_, **__: (HTTPMessage(), page))
    finished = doctor.run()
    assert (finished.code, lines(finished, "problem")) == (0, [])
    told = [line for line in lines(finished, "could not ask") if line.startswith("charts: ")]
    assert len(told) == 3
    assert all("the answer has another form than expected" in line for line in told)

"""Values that are encrypted although the program has to know them: the offline preview says what is the matter."""

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import preview
from planning.refusal import Refusal
from preview.errors import InvalidFile, Refused
from scripts.stack_plan import read_plan
from settings import KEYS
from tests.recording import ROOT

FULL: dict[str, Any] = {
    "gcp:project": "example-project",
    "gcp:region": "us-central1",
    "llmserve:name": "ours",
    "llmserve:capacity": "spot",
    "llmserve:migrate": "none",
    "llmserve:flexStart": False,
    "llmserve:reservations": {"a2-highgpu-1g": "ours"},
    "llmserve:zones": ["us-central1-a", "us-central1-b"],
    "llmserve:deletionProtection": False,
    "llmserve:clusterGeneration": 1,
    "llmserve:releaseChannel": "REGULAR",
    "llmserve:gpuDriverVersion": "latest",
    "llmserve:spotShutdownGraceSeconds": 120,
    "llmserve:nodeRange": "10.0.0.0/20",
    "llmserve:podRange": "10.64.0.0/14",
    "llmserve:serviceRange": "10.80.0.0/20",
    "llmserve:controlPlaneRange": "10.90.0.0/28",
    "llmserve:systemMachineType": "e2-standard-4",
    "llmserve:systemMinNodes": 2,
    "llmserve:systemMaxNodes": 6,
    "llmserve:gatewayExposure": "internal",
    "llmserve:domain": "llm.internal",
    "llmserve:huggingFaceTokenFrom": "none",
    "llmserve:huggingFaceTokenSecret": "token",
    "llmserve:weightsFrom": "hub",
    "llmserve:usage": {"hoursADay": 8.0, "daysAMonth": 25.0, "onDemandShare": 0.1, "lossesPerDay": 1.0},
    "llmserve:budget": {"billingAccount": "012345-6789AB-CDEF01", "monthlyUsd": 100, "thresholds": [0.5, 1.0]},
    "llmserve:policies": {"protected-data": "disabled", "default": "advisory"},
    "llmserve:maxUsdPerHour": 10,
    "llmserve:models": [
        {
            "name": "small",
            "engine": "tgi",
            "repository": "Qwen/Qwen2.5-7B-Instruct",
            "revision": "a" * 40,
            "architecture": "Qwen/Qwen2.5-7B-Instruct",
            "dtype": "bfloat16",
            "image": "ghcr.io/us/tgi:1",
            "port": 8080,
            "runAsRoot": False,
            "environment": {"LOG_LEVEL": "debug"},
            "gpu": {"type": "nvidia-tesla-a100", "tensorParallel": 1},
            "batchTolerant": True,
            "slo": {"availability": 99.9, "p95Seconds": 2},
            "scaling": {"min": 0, "max": 2, "idleMinutes": 15, "queuePerReplica": 4, "baseOnDemandReplicas": 0},
            "rollout": {"versions": [{"name": "stable", "weight": 100, "revision": "b" * 40}]},
            "batching": {"maxTotalTokens": 4096, "maxInputTokens": 2048},
            "startupMinutes": 15,
            "millisecondsPerToken": 40,
            "drainSeconds": 300,
        }
    ],
}
"""A stack that says of nearly everything what holds anyway."""
SECRET = {"secure": "v1:abc"}


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every text, number and truth of a stack."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if pairs is None:
        yield path
    for key, inner in pairs or ():
        yield from places(inner, (*path, key))


def label(path: tuple[str | int, ...]) -> str:
    return str(path[0]) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path[1:])


def encrypted(path: tuple[str | int, ...]) -> dict[str, Any]:
    stack = copy.deepcopy(FULL)
    place: Any = stack
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = SECRET
    return stack


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    (tmp_path / "__main__.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PULUMI_CONFIG", "")
    monkeypatch.setenv("PULUMI_CONFIG_SECRET_KEYS", "")
    return tmp_path


def plan(folder: Path, stack: dict[str, Any]) -> None:
    (folder / "Pulumi.dev.yaml").write_text(yaml.safe_dump({"config": stack}), encoding="utf-8")
    read_plan("dev")


def test_the_stack_says_everything_and_is_right(folder: Path) -> None:
    assert FULL.keys() == KEYS.keys()
    plan(folder, FULL)


NEVER_REFUSED = {
    # What stands for them is a value that they may have.
    "llmserve:flexStart",
    "llmserve:deletionProtection",
    "llmserve:maxUsdPerHour",
    # Any text.
    "llmserve:models[0].environment.LOG_LEVEL",
}


REFUSED = [path for path in places(FULL) if label(path) not in NEVER_REFUSED]


@pytest.mark.parametrize("path", REFUSED, ids=label)
def test_a_stand_in_that_is_not_accepted_is_told_as_what_it_is(folder: Path, path: tuple[str | int, ...]) -> None:
    with pytest.raises(Refusal) as caught:
        plan(folder, encrypted(path))
    first, *others = caught.value.problems
    assert "is encrypted, so the offline preview cannot read it" in first.reason
    assert "keep it in clear, it is no secret: pulumi config set --stack dev" in first.fix
    # What follows is not about its form.
    assert not any("is encrypted" in problem.reason for problem in others)
    assert "[secret" not in str(caught.value)


def test_a_stand_in_that_is_accepted_is_used(folder: Path) -> None:
    paths = [path for path in places(FULL) if label(path) in NEVER_REFUSED]
    assert len(paths) == len(NEVER_REFUSED)
    for path in paths:
        plan(folder, encrypted(path))


def test_the_message_names_the_key_and_two_ways_out(folder: Path) -> None:
    stack = FULL | {"llmserve:domain": SECRET, "llmserve:budget": FULL["llmserve:budget"] | {"billingAccount": SECRET}}
    with pytest.raises(Refusal) as caught:
        plan(folder, stack)
    reason = "is encrypted, so the offline preview cannot read it, and what stands for it is not accepted here"
    assert str(caught.value) == (
        "Pulumi.dev.yaml: 2 problems\n"
        "  llmserve:domain\n"
        f"      {reason}\n"
        "      fix: keep it in clear, it is no secret: pulumi config set --stack dev domain VALUE,"
        " or for this run only -c domain=VALUE\n"
        "  llmserve:budget.billingAccount\n"
        f"      {reason}\n"
        "      fix: keep it in clear, it is no secret: pulumi config set --stack dev --path 'budget.billingAccount'"
        " VALUE, or for this run only --config-path -c 'budget.billingAccount=VALUE'"
    )


def test_the_command_says_the_same(tmp_path: Path) -> None:
    for item in ("Pulumi.yaml", "__main__.py", "cost_stack.py", "settings.py", "versions.py"):
        shutil.copy(ROOT / item, tmp_path / item)
    for folder in ("catalog", "components", "monitoring", "planning"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    written = yaml.safe_dump({"config": FULL | {"llmserve:domain": SECRET}})
    (tmp_path / "Pulumi.dev.yaml").write_text(written, encoding="utf-8")
    with pytest.raises(Refused, match=r"llmserve:domain\n +is encrypted, so the offline preview cannot read it"):
        preview.record(tmp_path, "dev")
    assert preview.record(tmp_path, "dev", config={"domain": "llm.internal"}).resources


@pytest.mark.parametrize("key", ["budget", "models", "usage", "policies", "reservations", "zones"])
def test_what_cannot_be_encrypted_as_a_whole_is_refused_as_the_engine_does(folder: Path, key: str) -> None:
    with pytest.raises(InvalidFile, match="what is encrypted as a whole is text"):
        plan(folder, FULL | {f"llmserve:{key}": SECRET})

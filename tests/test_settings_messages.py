"""What is said when a stack is refused, and how it reaches a person."""

import json
import os
import runpy

import pulumi
import pytest

import settings
from planning.pools import DRIVER_AFFINITY
from planning.refusal import Problem, Refusal
from tests.recording import ROOT, decided


def given(monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], secret: tuple[str, ...] = ()) -> None:
    """The configuration as the engine hands it over, with no check before the program's own."""
    decided("prod", {}, {}, monkeypatch)
    config = json.loads(os.environ["PULUMI_CONFIG"]) | changed
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps(config))
    monkeypatch.setenv("PULUMI_CONFIG_SECRET_KEYS", json.dumps(secret))


def test_a_value_of_another_shape_is_one_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, {"llmserve:zones": "us-east5-a", "llmserve:systemMinNodes": "many"})
    assert [(p.key, p.fix) for p in settings.load().problems] == [
        ("llmserve:zones", "write a list"),
        ("llmserve:systemMinNodes", "write a whole number"),
    ]


def test_a_number_in_quotes_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [
        {
            "name": "m",
            "repository": "a/b",
            "gpu": {"type": "nvidia-a100-80gb"},
            "scaling": {"max": "4", "queuePerReplica": 1},
        }
    ]
    with pytest.raises(Refusal, match=r'models\[0\]\.scaling\.max = "4"'):
        decided("prod", {"models": json.dumps(models)}, {}, monkeypatch)


def test_a_wrong_value_that_is_secret_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, {"llmserve:domain": "hf_hidden!"}, ("llmserve:domain",))
    told = "".join(map(str, settings.load().problems))
    given(monkeypatch, {"llmserve:systemMinNodes": "hf_hidden"}, ("llmserve:systemMinNodes",))
    told += "".join(map(str, settings.load().problems))
    assert "llmserve:systemMinNodes = [secret]" in told
    assert "llmserve:domain = [secret]" in told
    assert "hf_hidden" not in told


def test_a_refusal_reaches_the_real_engine_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise Refusal("Pulumi.prod.yaml", [Problem(key="a", reason="b", fix="c")])

    given(monkeypatch, {})
    monkeypatch.setattr("planning.plan.problems", refuse)
    with pytest.raises(pulumi.RunError, match=r"Pulumi\.prod\.yaml: 1 problem"):
        runpy.run_path(str(ROOT / "__main__.py"))


def test_the_driver_avoids_what_googles_manifest_avoids() -> None:
    assert {key: str(operator) for key, operator in DRIVER_AFFINITY.items()} == {
        "cloud.google.com/gke-accelerator": "Exists",
        "cloud.google.com/gke-gpu-driver-version": "DoesNotExist",
        "cloud.google.com/gke-confidential-nodes-instance-type": "DoesNotExist",
    }

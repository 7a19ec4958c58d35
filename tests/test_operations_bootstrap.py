import re
import subprocess
from pathlib import Path

import pytest

from scripts.bootstrap import SERVICES, main, services, state_key
from tests.operations_fakes import REPOSITORY, Answer, Fakes, Shell, tool, write_project


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    fakes = Fakes(tmp_path / "fakes")
    fakes.add("gcloud")
    return Shell(fakes, monkeypatch, capfd)


@pytest.fixture
def fakes(shell: Shell) -> Fakes:
    return shell.fakes


def made(fakes: Fakes) -> list[str]:
    """What was called, but for the questions whether something is there, without gcloud's own options."""
    calls = (" ".join(word for word in call if word not in ("gcloud", "--quiet")) for call in fakes.calls())
    return [call.removeprefix("--project=acme-llm ") for call in calls if "describe" not in call]


EVERYTHING = [
    "services enable " + " ".join(f"{service}.googleapis.com" for service in SERVICES),
    "storage buckets create gs://acme-llm-llmserve-state --location=us-central1"
    " --uniform-bucket-level-access --public-access-prevention",
    "storage buckets update gs://acme-llm-llmserve-state --versioning",
    "kms keyrings create llmserve --location=us-central1",
    "kms keys create state --keyring=llmserve --location=us-central1 --purpose=encryption",
    "secrets create hugging-face-token --replication-policy=automatic",
]


def test_a_new_project_gets_everything_and_each_step_is_shown(shell: Shell, fakes: Fakes) -> None:
    fakes.add("gcloud", Answer(to="describe", code=1))
    finished = shell.run(main, "prod")
    assert finished.code == 0, finished.err
    assert made(fakes) == EVERYTHING
    assert all(line in finished.out for line in EVERYTHING)


def test_a_second_run_makes_nothing_again(shell: Shell, fakes: Fakes) -> None:
    finished = shell.run(main, "prod")
    assert finished.code == 0, finished.err
    assert not [call for call in made(fakes) if " create " in call]
    assert finished.out.count("is there") == 4


def test_a_step_that_fails_stops_the_rest(shell: Shell, fakes: Fakes) -> None:
    fakes.add("gcloud", Answer(to="describe", code=1), Answer(to="keyrings create", code=1))
    finished = shell.run(main, "prod")
    assert finished.code == 2
    assert "a key ring" in finished.err
    assert made(fakes) == EVERYTHING[:4]


@pytest.mark.parametrize(("there", "expected"), [(0, [EVERYTHING[0], EVERYTHING[2]]), (1, EVERYTHING)])
def test_a_dry_run_calls_nothing_and_its_lines_do_the_same(
    shell: Shell, fakes: Fakes, there: int, expected: list[str]
) -> None:
    finished = shell.run(main, "prod", "--dry-run")
    assert (finished.code, fakes.calls()) == (0, [])
    lines = finished.out.partition("\n\n")[0]
    fakes.add("gcloud", Answer(to="describe", code=there))
    subprocess.run(["/bin/sh", "-e", "-c", lines], check=True)
    assert made(fakes) == expected


def test_the_token_goes_in_from_standard_input(shell: Shell, fakes: Fakes) -> None:
    fakes.add("gcloud", Answer(to="describe", code=0))
    shown = shell.run(main, "prod", "--dry-run").out
    line = next(line for line in shown.splitlines() if "versions add" in line).strip()
    bash = tool("bash")
    if bash is None:
        pytest.skip("bash is absent; the line is for bash and zsh: install bash")
    subprocess.run([bash, "-c", line], input="hf_example\n", text=True, check=True)
    # The token is in no argument; `-` reads it.
    assert fakes.calls() == [
        ["gcloud", "secrets", "versions", "add", "hugging-face-token", "--project=acme-llm", "--data-file=-"]
    ]


def test_login_and_init_lines_name_bucket_and_key(shell: Shell) -> None:
    shown = shell.run(main, "prod", "--dry-run").out
    assert "pulumi login gs://acme-llm-llmserve-state\n" in shown
    assert f"pulumi stack init prod --secrets-provider=gcpkms://{state_key('acme-llm', 'us-central1')}\n" in shown


def test_a_stack_without_that_token_gets_no_secret(shell: Shell) -> None:
    write_project(shell.project, more="  llmserve:huggingFaceTokenFrom: none\n")
    shown = shell.run(main, "prod", "--dry-run").out
    assert "secrets" not in shown.replace("--secrets-provider", "").replace("encrypts the secrets", "")


def test_a_stack_with_a_budget_gets_its_api_and_is_told_the_role(shell: Shell) -> None:
    api, role = "billingbudgets.googleapis.com", "roles/billing.costsManager on the billing account"
    without = shell.run(main, "prod", "--dry-run").out
    assert api not in without
    assert role not in without
    account = "{billingAccount: 012345-6789AB-CDEF01, monthlyUsd: 1}"
    write_project(shell.project, more=f"  llmserve:budget: {account}\n")
    shown = shell.run(main, "prod", "--dry-run").out
    assert api in shown
    assert role in shown


def test_the_example_project_is_refused(shell: Shell) -> None:
    write_project(shell.project, project="example-project")
    finished = shell.run(main, "prod", "--dry-run")
    assert (finished.code, finished.out) == (2, "")
    assert "gcp:project = example-project" in finished.err


def test_without_gcloud_the_commands_are_printed(shell: Shell, fakes: Fakes) -> None:
    (fakes.path / "gcloud").unlink()
    finished = shell.run(main, "prod")
    assert finished.code == 2
    assert all(line in finished.out for line in EVERYTHING)
    assert "https://cloud.google.com/sdk/docs/install" in finished.err


def test_every_api_that_is_called_is_enabled() -> None:
    source = "".join(file.read_text(encoding="utf-8") for file in REPOSITORY.glob("components/**/*.py"))
    used = set(re.findall(r"\bgcp\.([a-z]+)\.[A-Z]", source))
    assert "container" in used
    used |= {command.split()[0] for command in EVERYTHING} - {"services"}
    other_names = {
        "projects": "cloudresourcemanager",
        "serviceaccount": "iam",
        "kms": "cloudkms",
        "secrets": "secretmanager",
    }
    other_names["billing"] = "billingbudgets"
    assert {other_names.get(name, name) for name in used} <= set(services(budget=True))
    assert set(services(budget=True)) - set(services(budget=False)) == {"billingbudgets"}

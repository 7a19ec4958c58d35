import json
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts.up import main
from tests.operations_fakes import SENTINEL, Answer, Fakes, Shell, write_project

LOGGED_IN = Answer(to="whoami", stdout=json.dumps({"user": "ada", "url": "gs://acme-llm-llmserve-state"}))
LOGGED_OUT = Answer(
    to="whoami",
    stderr="error: PULUMI_ACCESS_TOKEN must be set for login during non-interactive CLI sessions\n",
    code=255,
)
NO_STACK = Answer(to="stack select", stderr="error: no stack named 'prod' found\n", code=255)
KEY = "gcpkms://projects/acme-llm/locations/us-central1/keyRings/llmserve/cryptoKeys/state"


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    fakes = Fakes(tmp_path / "fakes")
    fakes.add("pulumi", LOGGED_IN)
    fakes.add("gcloud", Answer(to="print-access-token", stdout=SENTINEL))
    fakes.add("gke-gcloud-auth-plugin")
    return Shell(fakes, monkeypatch, capfd)


@pytest.fixture
def fakes(shell: Shell) -> Fakes:
    return shell.fakes


def pulumi_calls(fakes: Fakes) -> list[list[str]]:
    return [call[1:] for call in fakes.calls() if call[0] == "pulumi"]


def test_up_checks_then_becomes_pulumi_up(shell: Shell, fakes: Fakes) -> None:
    finished = shell.run(main, "prod", "--yes")
    assert finished.code == 0, finished.err
    assert (shell.project / "previewed").read_text() == "prod"
    assert pulumi_calls(fakes) == [
        ["whoami", "--json", "--non-interactive"],
        ["stack", "select", "prod", "--non-interactive"],
        ["up", "--policy-pack", "policy", "--stack", "prod", "--yes"],
    ]
    assert "stack prod, state in gs://acme-llm-llmserve-state" in finished.out
    assert "the tree" not in finished.out


def test_the_exit_code_is_pulumis(shell: Shell, fakes: Fakes) -> None:
    fakes.add("pulumi", LOGGED_IN, Answer(to="up --policy-pack policy --stack", code=77))
    assert shell.run(main, "prod").code == 77


def test_a_failed_preview_stops_before_anything_is_asked(shell: Shell, fakes: Fakes) -> None:
    finished = shell.run(main, "prod", PREVIEW_CODE="2")
    assert (finished.code, fakes.calls()) == (2, [])
    assert "the tree" in finished.out


def test_the_example_project_is_refused(shell: Shell, fakes: Fakes) -> None:
    write_project(shell.project, project="example-project")
    finished = shell.run(main, "prod")
    assert (finished.code, fakes.calls()) == (2, [])
    for part in (
        "Pulumi.prod.yaml",
        "gcp:project = example-project",
        "pulumi config set --stack prod gcp:project",
    ):
        assert part in finished.err


@pytest.mark.parametrize(
    ("text", "told"),
    [("config: [", "is not valid YAML"), ("- a", "holds a list"), ("confg: {}", "write `config:`")],
)
def test_a_broken_stack_file_is_one_message(shell: Shell, fakes: Fakes, text: str, told: str) -> None:
    (shell.project / "Pulumi.prod.yaml").write_text(text)
    finished = shell.run(main, "prod")
    assert (finished.code, fakes.calls()) == (2, [])
    assert "Pulumi.prod.yaml" in finished.err
    assert told in finished.err


def test_a_missing_stack_names_those_that_exist(shell: Shell) -> None:
    project = shell.project
    (project / "Pulumi.prod.yaml").rename(project / "Pulumi.staging.yaml")
    finished = shell.run(main, "prod")
    assert finished.code == 2
    assert "stacks: staging" in finished.err


def test_everything_that_this_machine_lacks_is_named_at_once(shell: Shell, fakes: Fakes) -> None:
    (fakes.path / "gke-gcloud-auth-plugin").unlink()
    fakes.add("gcloud", Answer(to="print-access-token", code=1))
    finished = shell.run(main, "prod")
    assert (finished.code, pulumi_calls(fakes)) == (2, [])
    assert "gcloud components install gke-gcloud-auth-plugin" in finished.err
    assert "gcloud auth application-default login" in finished.err


def test_credentials_of_the_environment_need_no_gcloud(shell: Shell, fakes: Fakes) -> None:
    (fakes.path / "gcloud").unlink()
    assert shell.run(main, "prod", GOOGLE_APPLICATION_CREDENTIALS=SENTINEL).code == 0


def test_credentials_that_only_the_provider_reads_are_not_enough(shell: Shell, fakes: Fakes) -> None:
    (fakes.path / "gcloud").unlink()
    finished = shell.run(main, "prod", GOOGLE_CREDENTIALS=SENTINEL)
    assert finished.code == 2
    assert "GOOGLE_APPLICATION_CREDENTIALS=FILE" in finished.err


@pytest.mark.parametrize("login", [LOGGED_OUT, Answer(to="whoami", stdout='{"url": "file:///home/ada"}')])
def test_a_protected_stack_without_a_shared_backend_is_refused_with_the_login_line(
    shell: Shell, fakes: Fakes, login: Answer
) -> None:
    fakes.add("pulumi", login)
    finished = shell.run(main, "prod", PULUMI_CONFIG_PASSPHRASE=SENTINEL)
    assert finished.code == 2
    assert [call[0] for call in pulumi_calls(fakes)] == ["whoami"]
    assert "make bootstrap STACK=prod" in finished.err
    assert "pulumi login gs://acme-llm-llmserve-state" in finished.err
    assert f"pulumi stack init prod --secrets-provider={KEY}" in finished.err


def test_a_backend_out_of_reach_is_not_taken_for_a_missing_login(shell: Shell, fakes: Fakes) -> None:
    write_project(shell.project, protected=False)
    fakes.add("pulumi", Answer(to="whoami", stderr="error: could not reach gs://acme: no such host\n", code=255))
    finished = shell.run(main, "prod", PULUMI_CONFIG_PASSPHRASE=SENTINEL)
    assert finished.code == 2
    assert "no such host" in finished.err
    assert [call[0] for call in pulumi_calls(fakes)] == ["whoami"]


def test_an_unprotected_stack_without_login_keeps_its_state_here(shell: Shell, fakes: Fakes) -> None:
    project = shell.project
    write_project(project, protected=False)
    fakes.add("pulumi", LOGGED_OUT, NO_STACK)
    finished = shell.run(main, "prod", PULUMI_CONFIG_PASSPHRASE=SENTINEL)
    assert finished.code == 0, finished.err
    assert ".pulumi-local" in finished.out
    assert [" ".join(call) for call in pulumi_calls(fakes)][1:] == [
        "stack select prod --non-interactive",
        "stack init prod --non-interactive",
        "up --policy-pack policy --stack prod",
    ]
    environment = fakes.environment_of("pulumi")
    assert environment["PULUMI_BACKEND_URL"] == f"file://{project}/.pulumi-local"
    assert environment["PULUMI_CONFIG_PASSPHRASE"] == SENTINEL
    assert (project / ".pulumi-local").stat().st_mode & 0o077 == 0


def test_local_state_needs_a_passphrase(shell: Shell, fakes: Fakes) -> None:
    write_project(shell.project, protected=False)
    fakes.add("pulumi", LOGGED_OUT)
    finished = shell.run(main, "prod")
    assert finished.code == 2
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" in finished.err


def test_local_state_is_not_forgotten_after_a_login(shell: Shell, fakes: Fakes) -> None:
    state = shell.project / ".pulumi-local" / ".pulumi" / "stacks" / "llmserve" / "prod.json"
    state.parent.mkdir(parents=True)
    state.write_text('{"checkpoint": {"latest": {"resources": [{"urn": "urn:pulumi:prod::llmserve::a::b"}]}}}')
    finished = shell.run(main, "prod")
    assert finished.code == 2
    assert f"export PULUMI_BACKEND_URL=file://{shell.project}/.pulumi-local" in finished.err
    assert [call[0] for call in pulumi_calls(fakes)] == ["whoami"]
    # What `pulumi destroy` leaves.
    state.write_text('{"checkpoint": {"latest": {}}}')
    assert shell.run(main, "prod").code == 0


@pytest.mark.parametrize(
    ("url", "in_file", "expected"),
    [
        ("gs://acme-llm-llmserve-state", "", ["--secrets-provider", KEY]),
        (
            "gs://acme-llm-llmserve-state",
            "secretsprovider: gcpkms://own\n",
            ["--secrets-provider", "gcpkms://own"],
        ),
        ("https://app.pulumi.com/acme", "", []),
    ],
)
def test_a_new_stack_is_made_with_the_key_of_its_backend(
    shell: Shell, fakes: Fakes, url: str, in_file: str, expected: list[str]
) -> None:
    write_project(shell.project, more=in_file)
    fakes.add("pulumi", Answer(to="whoami", stdout=json.dumps({"user": "ada", "url": url})), NO_STACK)
    finished = shell.run(main, "prod")
    assert finished.code == 0, finished.err
    assert pulumi_calls(fakes)[2] == ["stack", "init", "prod", "--non-interactive", *expected]
    assert f"making stack prod in {url}" in finished.out


def test_a_stack_that_cannot_be_selected_is_not_made(shell: Shell, fakes: Fakes) -> None:
    fakes.add("pulumi", LOGGED_IN, Answer(to="stack select", stderr="error: permission denied\n", code=255))
    finished = shell.run(main, "prod")
    assert finished.code == 2
    assert "permission denied" in finished.err
    assert len(pulumi_calls(fakes)) == 2


def test_destroy_refuses_a_protected_stack_with_the_way_out(shell: Shell, fakes: Fakes) -> None:
    finished = shell.run(main, "prod", "--destroy")
    assert (finished.code, fakes.calls()) == (2, [])
    assert "llmserve:deletionProtection = true" in finished.err
    assert "pulumi config set --stack prod llmserve:deletionProtection false" in finished.err
    assert "make up STACK=prod" in finished.err


def test_a_stack_that_does_not_say_so_is_protected(shell: Shell) -> None:
    for name in ("Pulumi.yaml", "Pulumi.prod.yaml"):
        lines = (shell.project / name).read_text().splitlines(keepends=True)
        (shell.project / name).write_text("".join(line for line in lines if "deletionProtection" not in line))
    assert shell.run(main, "prod", "--destroy").code == 2


def test_destroy_says_what_it_takes_and_what_stays(shell: Shell, fakes: Fakes) -> None:
    write_project(shell.project, protected=False)
    finished = shell.run(main, "prod", "--destroy")
    assert finished.code == 0, finished.err
    assert pulumi_calls(fakes)[-1] == ["destroy", "--stack", "prod"]
    for part in ("cluster", "every image", "state bucket", "stay"):
        assert part in finished.out


def test_destroy_never_makes_a_stack(shell: Shell, fakes: Fakes) -> None:
    write_project(shell.project, protected=False)
    fakes.add("pulumi", LOGGED_IN, NO_STACK)
    finished = shell.run(main, "prod", "--destroy")
    assert finished.code == 2
    assert len(pulumi_calls(fakes)) == 2


def offer(monkeypatch: pytest.MonkeyPatch, command: str | None) -> None:
    """Stand in for the SDK's installer, which downloads: it gives this command, or fails as without a network."""

    class PulumiCommand:
        @staticmethod
        def install() -> SimpleNamespace:
            if command is None:
                raise OSError("no network")
            return SimpleNamespace(command=command)

    monkeypatch.setitem(sys.modules, "pulumi.automation", SimpleNamespace(PulumiCommand=PulumiCommand))


def test_without_pulumi_it_is_installed_in_the_sdks_own_way(
    shell: Shell, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Fakes(fakes.directory / "elsewhere")
    elsewhere.add("pulumi", LOGGED_IN)
    (fakes.path / "pulumi").unlink()
    offer(monkeypatch, str(elsewhere.path / "pulumi"))
    finished = shell.run(main, "prod")
    assert finished.code == 0, finished.err
    assert "pulumi is not on PATH: installing" in finished.out
    assert elsewhere.calls()[-1] == ["pulumi", "up", "--policy-pack", "policy", "--stack", "prod"]


def test_where_pulumi_cannot_be_installed_it_says_what_to_do(
    shell: Shell, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fakes.path / "pulumi").unlink()
    offer(monkeypatch, None)
    finished = shell.run(main, "prod")
    assert finished.code == 2
    assert "no network" in finished.err
    assert "https://www.pulumi.com/docs/install/" in finished.err


def test_a_pulumi_that_was_installed_before_is_found(shell: Shell, fakes: Fakes) -> None:
    own = fakes.directory / ".pulumi" / "versions" / metadata.version("pulumi") / "bin" / "pulumi"
    own.parent.mkdir(parents=True)
    (fakes.path / "pulumi").unlink()
    own.write_text("#!/bin/sh\necho this is the own one >&2; exit 9\n")
    own.chmod(0o700)
    finished = shell.run(main, "prod")
    assert "this is the own one" in finished.err
    assert "installing" not in finished.out

"""What the GitHub workflows may do, and that each way of letting one do more is noticed."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.recording import ROOT

FOLDER = ROOT / ".github" / "workflows"
TEXTS = {file.name: file.read_text(encoding="utf-8") for file in sorted(FOLDER.iterdir())}

MAY: dict[str, dict[str, dict[str, str]]] = {
    "check.yml": {"check": {"contents": "read"}},
    "preview.yml": {"preview": {"contents": "read"}},
    "preview-comment.yml": {"comment": {"contents": "read", "actions": "read", "pull-requests": "write"}},
    "pulumi-preview.yml": {"preview": {"contents": "read", "id-token": "write"}},
    "deploy.yml": {"deploy": {"contents": "read", "id-token": "write"}},
}
"""Every permission of every job; a change of a workflow that needs another one has to be written here too."""
STARTED_BY = {
    "check.yml": {"push", "pull_request"},
    "preview.yml": {"pull_request"},
    "preview-comment.yml": {"workflow_run"},
    "pulumi-preview.yml": {"pull_request"},
    "deploy.yml": {"push", "workflow_dispatch"},
}
ENVIRONMENTS = {"pulumi-preview.yml": "preview", "deploy.yml": "production"}
"""What a reviewer has to approve: everything that gets a credential of Google's."""
SAME_REPOSITORY = "github.event.pull_request.head.repo.full_name == github.repository &&"
USES = re.compile(r"^\s*(?:- )?uses: (?P<action>\S+?)@(?P<commit>\S+)(?: (?P<comment>#.*))?$", re.MULTILINE)


def problems(texts: dict[str, str]) -> list[str]:
    """Everything that is wrong with these workflows."""
    if set(texts) != set(MAY):
        return [f"workflows: {sorted(texts)}"]
    return [f"{name}: {said}" for name, text in texts.items() for said in _problems(name, text)]


def _problems(name: str, text: str) -> Iterator[str]:
    # YAML 1.1, which PyYAML reads, takes the key `on` for a truth value.
    flow: dict[Any, Any] = yaml.safe_load(text)
    if set(flow[True]) != STARTED_BY[name]:
        yield f"is started by {set(flow[True])}"
    if flow["permissions"] != {}:
        yield "gives every job permissions"
    permissions = {job: given.get("permissions") for job, given in flow["jobs"].items()}
    if permissions != MAY[name]:
        yield f"permissions are {permissions}"
    if "secrets." in text or "secrets: " in text or "secrets[" in text:
        yield "reads a secret; nothing here needs one"
    if any(where != ENVIRONMENTS.get(name) for where in (job.get("environment") for job in flow["jobs"].values())):
        yield "is not in its environment, and in no other"
    if "concurrency" not in flow:
        yield "may run beside itself"
    yield from _credentials(name, flow)
    for job in flow["jobs"].values():
        yield from _job(job)
    for used in USES.finditer(text):
        pinned = re.fullmatch(r"[0-9a-f]{40}", used["commit"]) and re.fullmatch(
            r"# v\d+(\.\d+)+", used["comment"] or ""
        )
        known_unknown = re.fullmatch(r"# commit unknown: .+", used["comment"] or "")
        if not pinned and not known_unknown:
            yield f"{used['action']} is not pinned by a commit with its version beside it"
    if len(USES.findall(text)) != sum("uses" in step for job in flow["jobs"].values() for step in job["steps"]):
        yield "uses something in a form that this test does not read"


def _credentials(name: str, flow: dict[Any, Any]) -> Iterator[str]:
    conditions = " ".join(str(job.get("if", "")).replace("\n", " ") for job in flow["jobs"].values())
    if name == "pulumi-preview.yml" and not conditions.startswith(SAME_REPOSITORY):
        yield "runs a fork's program with a credential"
    if name == "deploy.yml":
        if not conditions.startswith("github.ref == 'refs/heads/main' &&"):
            yield "deploys another branch"
        one = flow.get("concurrency", {"cancel-in-progress": True, "group": ""})
        if one["cancel-in-progress"] is not False or "${{" in one["group"]:
            yield "may cut an update off, or run two"
    if name == "preview-comment.yml":
        for step in _steps(flow, "actions/checkout"):
            if set(step["with"]) != {"persist-credentials"}:
                yield "checks out something else than the default branch"
        runs = [step["run"] for job in flow["jobs"].values() for step in job["steps"] if "run" in step]
        if runs != ['python3 -m scripts.comment "$RUNNER_TEMP/preview"']:
            yield "runs something else than the trusted script"
    if name == "preview.yml":
        unprotected = [
            line
            for job in flow["jobs"].values()
            for step in job["steps"]
            for line in step.get("run", "").splitlines()
            if "-m preview" in line and ".ci/sandbox" not in line
        ]
        if unprotected:
            yield "runs the pull request's program outside of the sandbox"


def _job(job: dict[str, Any]) -> Iterator[str]:
    if not isinstance(job.get("timeout-minutes"), int):
        yield "a job without a timeout"
    if job["runs-on"] != "ubuntu-24.04":
        yield f"runs on {job['runs-on']}: a name that moves"
    for step in job["steps"]:
        # An expression is pasted into the script before a shell reads it: with a branch's name, anybody's commands.
        if "${{" in step.get("run", ""):
            yield "an expression in a script: hand it over in `env`"
        if "actions/checkout@" in step.get("uses", "") and step["with"].get("persist-credentials") is not False:
            yield "a checkout leaves its token behind"


def _steps(flow: dict[Any, Any], action: str) -> Iterator[dict[str, Any]]:
    for job in flow["jobs"].values():
        yield from (step for step in job["steps"] if step.get("uses", "").startswith(f"{action}@"))


def test_the_workflows_may_do_what_they_need_and_no_more() -> None:
    assert problems(TEXTS) == []


def _replace(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text, old
        return text.replace(old, new, 1)

    return change


READ = "    permissions:\n      contents: read\n"
MISTAKES: list[tuple[str, Callable[[str], str], str]] = [
    ("preview.yml", _replace("  pull_request:", "  pull_request_target:"), "is started by"),
    ("preview.yml", _replace("permissions: {}", "permissions: write-all"), "gives every job permissions"),
    ("preview.yml", _replace("permissions: {}", "permissions: {contents: read}"), "gives every job permissions"),
    ("preview.yml", _replace(READ, READ + "      id-token: write\n"), "permissions are"),
    ("preview.yml", _replace(READ, ""), "permissions are"),
    ("preview.yml", _replace("    env:\n", "    env:\n      TOKEN: ${{ secrets.TOKEN }}\n"), "reads a secret"),
    ("preview.yml", _replace(".ci/sandbox ", ""), "outside of the sandbox"),
    ("preview.yml", _replace("origin/$BASE", "origin/${{ github.event.pull_request.base.ref }}"), "an expression"),
    ("preview.yml", _replace("run: make", "run: echo ${{ github.head_ref }}; make"), "an expression"),
    ("check.yml", _replace("    timeout-minutes: 60\n", ""), "without a timeout"),
    ("check.yml", _replace("persist-credentials: false", "fetch-depth: 0"), "leaves its token behind"),
    ("check.yml", _replace("@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7"), "not pinned"),
    ("check.yml", _replace(" # v7.0.1", ""), "not pinned"),
    ("check.yml", _replace("runs-on: ubuntu-24.04", "runs-on: ubuntu-latest"), "a name that moves"),
    ("check.yml", _replace("- uses: actions/setup", "- 'uses': actions/setup"), "in a form"),
    (
        "preview-comment.yml",
        _replace("persist-credentials: false", "persist-credentials: false\n          ref: x"),
        "checks out",
    ),
    ("preview-comment.yml", _replace("python3 -m scripts.comment", "python3 -m preview dev #"), "the trusted script"),
    ("pulumi-preview.yml", _replace("head.repo.full_name == github.repository", "number > 0"), "a fork's program"),
    ("pulumi-preview.yml", _replace("== github.repository &&", "== github.repository ||"), "a fork's program"),
    ("pulumi-preview.yml", _replace("    environment: preview\n", ""), "in its environment"),
    ("deploy.yml", _replace("environment: production", "environment: preview"), "in its environment"),
    ("deploy.yml", _replace("cancel-in-progress: false", "cancel-in-progress: true"), "cut an update off"),
    ("deploy.yml", _replace("group: deploy-prod", "group: deploy-${{ github.sha }}"), "cut an update off"),
    ("deploy.yml", _replace("github.ref == 'refs/heads/main' && ", ""), "another branch"),
    ("deploy.yml", _replace("concurrency:", "defaults:"), "beside itself"),
]


@pytest.mark.parametrize(("name", "change", "said"), MISTAKES, ids=[f"{n}-{i}" for i, (n, _, _) in enumerate(MISTAKES)])
def test_each_mistake_is_noticed(name: str, change: Callable[[str], str], said: str) -> None:
    found = problems({**TEXTS, name: change(TEXTS[name])})
    assert any(line.startswith(f"{name}: ") and said in line for line in found), found


def test_a_workflow_that_nobody_judged_is_noticed() -> None:
    assert problems({**TEXTS, "another.yml": TEXTS["check.yml"]})


def test_the_comment_waits_for_the_workflow_whose_artifact_it_reads() -> None:
    preview, comment = (yaml.safe_load(TEXTS[name]) for name in ("preview.yml", "preview-comment.yml"))
    assert comment[True]["workflow_run"]["workflows"] == [preview["name"]]
    [upload] = _steps(preview, "actions/upload-artifact")
    [download] = _steps(comment, "actions/download-artifact")
    assert upload["with"]["name"] == download["with"]["pattern"]


def test_pulumi_is_the_one_of_the_sdk() -> None:
    [install] = _steps(yaml.safe_load(TEXTS["pulumi-preview.yml"]), "pulumi/actions")
    pinned = re.search(r"^pulumi==(.*)$", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    assert install["with"] == {"pulumi-version": pinned[1]}


def test_an_action_has_one_commit_everywhere() -> None:
    found = {
        (used["action"], used["commit"], used["comment"]) for text in TEXTS.values() for used in USES.finditer(text)
    }
    assert len(found) == len({action for action, _, _ in found})


def test_a_deployment_leaves_out_only_what_no_stack_is_made_of() -> None:
    ignored = yaml.safe_load(TEXTS["deploy.yml"])[True]["push"]["paths-ignore"]
    folders = {pattern.partition("/")[0] for pattern in ignored if "/" in pattern}
    assert folders == {"docs", "tests", "bench"}
    files = {pattern for pattern in ignored if "/" not in pattern}
    assert files == {"**.md", "Pulumi.dev.yaml", "Pulumi.cost.yaml"}

"""What scanners say of the rendered objects and of the program: every finding is fixed, or excused with a reason."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from preview import manifests
from tests.real.kubernetes_yaml import load_all
from tests.real.programs import definition_files, need
from tests.recording import ROOT, recorded

TIER = "scanners"
STACKS = ("dev", "prod")
PROGRAM = (
    "__main__.py",
    "settings.py",
    "versions.py",
    "catalog",
    "components",
    "cost_stack.py",
    "monitoring",
    "pages",
    "planning",
    "policy",
    "preview",
    "scripts",
)
BUILT_IN = "v1.35"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that a scanner does not like."""

    scanner: str
    check: str
    where: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Excuse:
    """Why a scanner's finding stands."""

    scanner: str
    check: str
    where: str

    def covers(self, finding: Finding) -> bool:
        same = (self.scanner, self.check) == (finding.scanner, finding.check)
        return same and finding.where.startswith(self.where)


def excuses(scanner: str) -> list[Excuse]:
    listed: list[dict[str, Any]] = yaml.safe_load((ROOT / "tests/real/excuses.yaml").read_text(encoding="utf-8"))
    assert all(len(entry["reason"]) > 10 for entry in listed)
    return [
        Excuse(scanner=scanner, check=check, where=entry["where"])
        for entry in listed
        if entry["scanner"] == scanner
        for check in entry["checks"]
    ]


def judge(scanner: str, findings: list[Finding]) -> None:
    """Fail with every finding that nothing excuses, and with every excuse that excuses nothing."""
    known = excuses(scanner)
    open_findings = [f for f in findings if not any(excuse.covers(f) for excuse in known)]
    stale = [excuse for excuse in known if not any(excuse.covers(f) for f in findings)]
    lines = [f"{f.check} {f.where}: {f.text}" for f in open_findings]
    lines += [f"excuses nothing any more: {excuse.check} {excuse.where!r}" for excuse in stale]
    assert not lines, "\n".join(lines)


def run(*command: str | Path, cwd: Path | None = None) -> str:
    parts = [str(part) for part in command]
    return subprocess.run(parts, cwd=cwd, capture_output=True, text=True, check=False).stdout


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every Kubernetes object of every stack, one file each."""
    folder = tmp_path_factory.mktemp("rendered")
    for stack in STACKS:
        for name, text in manifests.files(recorded(stack, placeholders=True)).items():
            if not name.startswith("values-"):
                (folder / f"{stack}-{name}").write_text(text, encoding="utf-8")
    return folder


def test_kube_score(rendered: Path) -> None:
    program = need("kube-score")
    files = sorted(rendered.glob("*.yaml"))
    said = json.loads(run(program, "score", "--kubernetes-version", BUILT_IN, "-o", "json", *files))
    assert said, "kube-score looked at nothing"

    def findings() -> Iterator[Finding]:
        for scored in said:
            for check in scored["checks"]:
                if not check["skipped"] and check["grade"] < 7:
                    text = "; ".join(comment["summary"] for comment in check["comments"] or [])
                    yield Finding(
                        scanner="kube-score", check=check["check"]["id"], where=scored["object_name"], text=text
                    )

    judge("kube-score", list(findings()))


def test_checkov(rendered: Path) -> None:
    program = need("checkov")
    command = (program, "-d", rendered, "--framework", "kubernetes", "--output", "json", "--quiet", "--skip-download")
    said = json.loads(run(*command))
    results = said["results"]["failed_checks"]
    assert said["summary"]["passed"] > 100
    findings = [
        Finding(scanner="checkov", check=r["check_id"], where=r["resource"], text=r["check_name"]) for r in results
    ]
    judge("checkov", findings)


def test_bandit() -> None:
    program = need("bandit")
    said = json.loads(run(program, "-q", "-f", "json", "-r", *PROGRAM, cwd=ROOT))
    assert said["metrics"]["_totals"]["loc"] > 1000
    findings = [
        Finding(
            scanner="bandit",
            check=result["test_id"],
            where=result["filename"].removeprefix("./"),
            text=f"line {result['line_number']}: {result['issue_text']}",
        )
        for result in said["results"]
    ]
    judge("bandit", findings)


def schema_of(definition: dict[str, Any]) -> dict[str, Any]:
    """Turn a CRD's schema into one that refuses unknown fields, where the CRD itself does not keep them."""
    schema = {key: schema_of(value) if isinstance(value, dict) else value for key, value in definition.items()}
    if schema.get("x-kubernetes-int-or-string"):
        schema.pop("type", None)
        schema.pop("format", None)
    keeps = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not keeps:
        schema["additionalProperties"] = False
    return schema


@pytest.fixture
def schemas(tmp_path: Path) -> tuple[Path, set[str]]:
    """JSON schemas of every definition in CRDS, as kubeconform reads them, and the kinds that they are of."""
    files = definition_files()
    if not files:
        pytest.skip("CRDS=DIR is not set: files of custom resource definitions, see docs/real-things.md")
    kinds = set()
    for file in files:
        for document in load_all(file.read_text(encoding="utf-8")):
            if document.get("kind") != "CustomResourceDefinition":
                continue
            names, group = document["spec"]["names"], document["spec"]["group"]
            for version in document["spec"]["versions"]:
                schema = schema_of(version["schema"]["openAPIV3Schema"])
                schema.setdefault("properties", {}).update(apiVersion={}, kind={}, metadata={})
                name = f"{names['kind'].lower()}_{group}_{version['name']}.json"
                (tmp_path / name).write_text(json.dumps(schema), encoding="utf-8")
                kinds.add(f"{group}/{version['name']}/{names['kind']}")
    return tmp_path, kinds


@pytest.mark.parametrize("spoiled", [False, True], ids=["as rendered", "with a field that no schema knows"])
def test_kubeconform(rendered: Path, schemas: tuple[Path, set[str]], spoiled: bool, tmp_path: Path) -> None:  # noqa: FBT001
    program = need("kubeconform")
    folder, kinds = schemas
    chosen = []
    for file in sorted(rendered.glob("*.yaml")):
        manifest = yaml.safe_load(file.read_text(encoding="utf-8"))
        if f"{manifest['apiVersion']}/{manifest['kind']}" in kinds:
            if spoiled:
                manifest["spec"]["nonsense"] = True
            copy = tmp_path / f"object-{file.name}"
            copy.write_text(yaml.safe_dump(manifest), encoding="utf-8")
            chosen.append(copy)
    assert chosen, "no custom resource has a CRD in CRDS"
    template = f"{folder}/{{{{.ResourceKind}}}}_{{{{.Group}}}}_{{{{.ResourceAPIVersion}}}}.json"
    said = json.loads(run(program, "-strict", "-output", "json", "-summary", "-schema-location", template, *chosen))
    summary = said["summary"]
    assert summary["valid"] + summary["invalid"] == len(chosen), said
    assert summary["invalid"] == (len(chosen) if spoiled else 0), said["resources"]


def test_actionlint() -> None:
    """With shellcheck, where it is there, of every script in them."""
    program = need("actionlint")
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert workflows
    assert not run(program, "-no-color", *workflows, cwd=ROOT)


def test_actionlint_would_say_so(tmp_path: Path) -> None:
    """A finding of each kind: of the workflow itself and, by shellcheck, of a script in it."""
    program = need("actionlint")
    workflow = (ROOT / ".github" / "workflows" / "check.yml").read_text(encoding="utf-8")
    spoiled = tmp_path / "check.yml"
    spoiled.write_text(workflow.replace("runs-on:", "runs-in:"), encoding="utf-8")
    assert "runs-in" in run(program, "-no-color", spoiled, cwd=ROOT)
    need("shellcheck")
    spoiled.write_text(workflow.replace('"$RUNNER_TEMP/log"', "$RUNNER_TEMP/log"), encoding="utf-8")
    assert "SC2086" in run(program, "-no-color", spoiled, cwd=ROOT)


def test_shellcheck() -> None:
    program = need("shellcheck")
    scripts = [".ci/run", ".ci/sandbox", "scripts/make_venv.sh"]
    shebangs = [name for name in run("git", "ls-files", cwd=ROOT).split() if _is_shell(ROOT / name)]
    assert sorted(shebangs) == scripts
    assert not run(program, *scripts, cwd=ROOT)


def _is_shell(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.readline().strip() in {b"#!/bin/sh", b"#!/usr/bin/env bash", b"#!/bin/bash"}


def test_pip_audit() -> None:
    program = need("pip-audit")
    command = (program, "-r", "requirements.txt", "--no-deps", "--disable-pip", "--format", "json")
    said = run(*command, cwd=ROOT)
    dependencies = json.loads(said)["dependencies"] if said else []
    audited = [d for d in dependencies if "skip_reason" not in d]
    if not audited:
        pytest.skip("pip-audit reaches no advisory database from here")
    assert not [d for d in audited if d["vulns"]]


def test_the_program_that_scans_is_the_one_that_runs() -> None:
    """The list of what bandit reads would silently miss a new folder."""
    tracked = run("git", "ls-files", "*.py", cwd=ROOT).split()
    outside = {name for name in tracked if not name.startswith(PROGRAM)}
    assert all(name.startswith(("tests/", "bench/")) for name in outside), outside
    assert sys.version_info >= (3, 11)

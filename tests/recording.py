"""Recordings of the real program, each made once a session, and the plan that it would make them from."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pulumi
import pytest

import preview
from planning.cost.recorded import Recorded
from planning.cost.recorded import recorded as read_recorded
from planning.plan import Plan
from planning.recording_rules import RecordingRule, recording_rules
from preview import Snapshot
from preview.document import document
from preview.project import Override, load_project, load_stack
from scripts.stack_plan import load_settings

ROOT = Path(__file__).parent.parent
PROJECT_NUMBER = "123456789012"
FIXTURES = {"gcp:organizations/getProject:getProject": {"number": PROJECT_NUMBER}}


@cache
def _recorded(
    stack: str,
    *,
    up: bool,
    placeholders: bool,
    config: tuple[tuple[str, str], ...],
    paths: tuple[tuple[str, str], ...],
) -> Snapshot:
    return preview.record(
        ROOT,
        stack,
        config=dict(config),
        paths=dict(paths),
        preview=not up,
        placeholders=placeholders,
        fixtures=FIXTURES if up or placeholders else None,
    )


Record = Callable[..., Snapshot]


def recorded(
    stack: str = "prod",
    *,
    up: bool = False,
    placeholders: bool = False,
    config: Mapping[str, str] | None = None,
    paths: Mapping[str, str] | None = None,
) -> Snapshot:
    """Run `__main__.py` for a stack; `up` knows every output, `placeholders` names each by a stand-in."""
    return _recorded(
        stack,
        up=up,
        placeholders=placeholders,
        config=tuple(sorted((config or {}).items())),
        paths=tuple(sorted((paths or {}).items())),
    )


def resources_of(
    stack: str, config: Mapping[str, str] | None = None, paths: Mapping[str, str] | None = None
) -> tuple[Recorded, ...]:
    """Give the recorded resources as the bill and the simulator read them."""
    return read_recorded([step["newState"] for step in document(recorded(stack, config=config, paths=paths))["steps"]])


def rules_in(program: Snapshot) -> tuple[RecordingRule, ...]:
    """Give every recording rule of a recorded program."""
    return recording_rules(read_recorded([step["newState"] for step in document(program)["steps"]]))


def rule_in(program: Snapshot, name: str, model: str, version: str = "stable") -> str:
    """Give the query of a version's recorded series."""
    wanted = {("model", model), ("version", version)}
    [found] = (rule.expression for rule in rules_in(program) if rule.name == name and wanted <= set(rule.labels))
    return found


def decided(stack: str, config: Mapping[str, str], paths: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Read and plan a stack in this process, as `__main__.py` does before it makes anything."""
    overrides = [
        *(Override(key=key, value=value) for key, value in config.items()),
        *(Override(key=key, value=value, is_path=True) for key, value in paths.items()),
    ]
    merged = load_stack(load_project(ROOT), stack, overrides)
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps(dict(merged.values)))
    monkeypatch.setenv("PULUMI_CONFIG_SECRET_KEYS", json.dumps(sorted(merged.secret_keys)))
    monkeypatch.setattr(pulumi, "get_stack", lambda: stack)
    return load_settings().plan()

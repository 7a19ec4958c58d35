"""What a project's policy pack says of a recorded stack: the verdict that `pulumi up --policy-pack policy` comes to."""

from __future__ import annotations

import importlib
import json
import selectors
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from preview.children import Child, reap
from preview.errors import ProgramFailed, Refused
from preview.masking import mask
from preview.project import Project, StackConfig, load_project
from preview.request import Judging, Run
from preview.snapshot import Snapshot

PACK: Final = Path("policy") / "PulumiPolicy.yaml"
DEFAULT_TIMEOUT: Final = 60.0
AT_ONCE: Final = 2


class Level(StrEnum):
    """What a violation of a rule does to `pulumi up`: stops it, is only said, or is not looked for."""

    MANDATORY = "mandatory"
    ADVISORY = "advisory"
    DISABLED = "disabled"


class Verdict(StrEnum):
    """What became of a rule. Nothing is passed that was not looked at in whole."""

    VIOLATED = "violated"
    NOT_JUDGED = "not judged"
    PASSED = "passed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """One finding of a rule, or that it has none. `urn` is empty where it is about the stack as a whole."""

    rule: str
    level: Level
    verdict: Verdict
    urn: str = ""
    message: str = ""

    @property
    def stops(self) -> bool:
        """Whether `pulumi up` would stop at it."""
        return self.verdict is Verdict.VIOLATED and self.level is Level.MANDATORY


def judge(project_root: str | Path, snapshot: Snapshot, *, timeout: float = DEFAULT_TIMEOUT) -> tuple[Judgement, ...]:
    """Let the pack of a project judge a snapshot, in a child with the project's own code; `timeout` is in seconds.

    Raises `Refused` where the project has no pack, `ProgramFailed` where the pack raises or does not end.
    """
    return judge_all(project_root, [snapshot], timeout=timeout)[0]


def judge_all(
    project_root: str | Path, snapshots: Sequence[Snapshot], *, timeout: float = DEFAULT_TIMEOUT
) -> list[tuple[Judgement, ...]]:
    """Judge several snapshots, two at a time, and return the judgements in their order; raises as `judge` does."""
    project = load_project(Path(project_root))
    need_pack(project.root)
    importlib.import_module("preview.judging")
    found: list[tuple[Judgement, ...]] = []
    started: list[Child] = []
    try:
        for place, snapshot in enumerate(snapshots):
            while len(started) < min(len(snapshots), place + AT_ONCE):
                started.append(_start(project, snapshots[len(started)]))
            _receive(started[place], timeout)
            found.append(judgements(_answer(started[place], project.root, snapshot), snapshot.secrets))
    finally:
        for child in started:
            child.close()
        reap()
    return found


def _start(project: Project, snapshot: Snapshot) -> Child:
    config = StackConfig(stack=snapshot.stack, file="", values=snapshot.config, secret_keys=snapshot.secret_keys)
    return Child(Judging(run=Run(project=project, config=config, preview=snapshot.preview), snapshot=snapshot))


def of(snapshot: Snapshot) -> tuple[Judgement, ...]:
    """Read what the pack said right after the program had run, where the run was asked for it."""
    return () if snapshot.judged is None else judgements(snapshot.judged, snapshot.secrets)


def need_pack(root: Path) -> None:
    """Refuse a project that has no policy pack."""
    if not (root / PACK).is_file():
        raise Refused(f"{root.name} has no policy pack: there is no {PACK}")


def is_stopped(judgements: Iterable[Judgement]) -> bool:
    """Whether a mandatory rule is violated."""
    return any(found.stops for found in judgements)


def document(judgements: Iterable[Judgement]) -> list[dict[str, str]]:
    """Write judgements as plain JSON."""
    return [
        {
            "rule": found.rule,
            "level": found.level,
            "verdict": str(found.verdict),
            "urn": found.urn,
            "message": found.message,
        }
        for found in judgements
    ]


def text(judgements: Sequence[Judgement]) -> str:
    """Show judgements to a person: what is violated, then what could not be judged, then what passed in one line."""
    order = (Verdict.VIOLATED, Verdict.NOT_JUDGED)
    lines = [line for verdict in order for line in _shown(verdict, judgements)]
    passed = [found.rule for found in judgements if found.verdict is Verdict.PASSED]
    counts = {verdict: len({f.rule for f in judgements if f.verdict is verdict}) for verdict in Verdict}
    head = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    end = "pulumi up would stop" if is_stopped(judgements) else "nothing stops pulumi up"
    return "\n".join([f"policies by rule: {head}; {end}", *lines, f"  passed: {', '.join(passed) or 'none'}"])


def _shown(verdict: Verdict, judgements: Sequence[Judgement]) -> list[str]:
    found = [judgement for judgement in judgements if judgement.verdict is verdict]
    lines = []
    for rule in dict.fromkeys(judgement.rule for judgement in found):
        own = [judgement for judgement in found if judgement.rule == rule]
        lines.append(f"  {verdict}: {rule} ({own[0].level})")
        about, _, _ = own[0].message.partition("\n")
        if verdict is Verdict.VIOLATED:
            lines.append(f"    {about}")
        for judgement in own:
            place = judgement.urn.rpartition("::")[2]
            what = judgement.message.partition("\n")[2] if verdict is Verdict.VIOLATED else judgement.message
            lines.append(f"    - {place}: {what}" if place else f"    - {what}")
    return lines


def judgements(answer: Mapping[str, Any], secrets: frozenset[str]) -> tuple[Judgement, ...]:
    """Sort what the pack said by rule, in its order; a rule without a finding has passed."""
    found: list[Judgement] = []
    for policy in answer["policies"]:
        name, level = policy["name"], Level(policy["level"])
        own = [diagnostic for diagnostic in answer["diagnostics"] if diagnostic["policy"] == name]
        reason = answer["notApplicable"].get(name)
        if level is Level.DISABLED:
            reason = "disabled by the stack"
        if reason is not None:
            found.append(Judgement(rule=name, level=level, verdict=Verdict.NOT_JUDGED, message=mask(reason, secrets)))
        elif not own:
            found.append(Judgement(rule=name, level=level, verdict=Verdict.PASSED))
        for diagnostic in own:
            # A violation begins with the rule's description; what pulumi-policy says of an unknown value does not.
            is_violation = diagnostic["message"].startswith(policy["description"])
            message = diagnostic["message"] if is_violation else diagnostic["message"].partition(" during preview: ")[2]
            found.append(
                Judgement(
                    rule=name,
                    level=level,
                    verdict=Verdict.VIOLATED if is_violation else Verdict.NOT_JUDGED,
                    urn=mask(diagnostic["urn"], secrets),
                    message=mask(message, secrets),
                )
            )
    return tuple(found)


def _receive(child: Child, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        selector.register(child.result, selectors.EVENT_READ)
        while True:
            if not selector.select(timeout=max(0.0, deadline - time.monotonic())):
                raise ProgramFailed(f"the policy pack did not end within {timeout:g} seconds and was stopped")
            if not child.receive():
                return


def _answer(child: Child, root: Path, snapshot: Snapshot) -> dict[str, Any]:
    printed = "".join(child.printed()).replace(f"{root}/", "")
    answer: dict[str, Any] = {}
    try:
        answer = json.loads(bytes(child.received))
        failure = answer.get("failure")
    except ValueError:
        failure = f"its process ended with exit code {child.wait()}"
    if failure is None:
        return answer
    lines = "\n".join([str(failure), *printed.strip().splitlines()[-20:]])
    raise ProgramFailed(mask(f"{snapshot.stack}: the policy pack failed: {lines}", snapshot.secrets))

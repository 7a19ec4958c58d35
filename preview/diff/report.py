"""Everything that a reviewer of a change wants to know, of several stacks, gathered in one call."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from preview import policies
from preview.diff.charts import RELEASE, Rendered, compare_charts
from preview.diff.compare import Operation, StackChange, compare
from preview.diff.price import PriceChange, price_change
from preview.diff.real import Reality, beside, read_real
from preview.diff.revisions import Revision, has_uncommitted, two_revisions
from preview.errors import PreviewError, Refused
from preview.policies import Judgement, Level, Verdict
from preview.project import Override, load_project, load_stack
from preview.request import Run
from preview.run import preload, run_all
from preview.snapshot import Snapshot

REQUIREMENTS: Final = "requirements.txt"
BUDGET: Final = "gcp:billing/budget:Budget"
POLICY: Final = "policy"
ONLY_A_REAL_PREVIEW: Final = (
    "what exists: somebody may have changed it by hand, or an update may have failed half-way",
    "what providers fill in and check: defaults, names that are taken, quota, permissions",
    "whether a provider replaces or updates where the table has no rule for a field",
    "what charts make of their values, and what the API server's webhooks do to objects",
    "values of encrypted configuration and of provider functions",
    "what the program makes of a value that is not known yet: of the same resource it counts as the same",
)
"""Told in every report: what two programs cannot know."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StackReport:
    """One stack: what changes, the price, the verdict of the policies; or why there is none."""

    stack: str
    change: StackChange | None
    price: PriceChange | None = None
    judgements: tuple[Judgement, ...] = ()
    """Of the later revision."""
    already: frozenset[tuple[str, str]] = frozenset()
    """Rule and URN of what the earlier revision violates as well."""
    budget: float | None = None
    """US dollars a month that the later revision's own budget allows; None where it has none."""
    failures: tuple[str, ...] = ()
    """What the programs said where one could not be run; the first line says which revision."""
    head_failed: bool = False
    refused: bool = False
    notes: tuple[str, ...] = ()
    is_gone: bool = False
    """Whether the later revision has no file of it. Nobody runs `pulumi destroy` then, so nothing of it changes."""
    after: Snapshot | None = None
    reality: Reality | None = None
    """What a real preview says beside the prediction, where there was one."""
    rendered: Mapping[str, Rendered] = field(default_factory=dict)
    """By URN of a release that changes: what that makes of its chart's objects. None where no charts were named."""

    @property
    def violations(self) -> tuple[Judgement, ...]:
        """What the policies do not allow, mandatory ones first."""
        found = [one for one in self.judgements if one.verdict is Verdict.VIOLATED]
        return tuple(sorted(found, key=lambda one: (one.level is not Level.MANDATORY, one.rule, one.urn)))

    @property
    def over_budget(self) -> bool:
        """Whether it is expected to cost more than its own budget."""
        after = self.price.after if self.price is not None else None
        return self.budget is not None and after is not None and after > self.budget


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All stacks, and the two revisions by their short names."""

    base: str
    head: str
    stacks: tuple[StackReport, ...]
    notes: tuple[str, ...] = ()

    def fails_on(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """Say why the call fails, of `delete`, `replace`, `policy` and `budget`; none where it does not."""
        found = []
        for one in self.stacks:
            if one.change is not None:
                for name, operation in (("delete", Operation.DELETE), ("replace", Operation.REPLACE)):
                    # A component is nothing that a provider would delete.
                    if name in wanted and (count := sum(found.custom for found in one.change.of(operation))):
                        found.append(f"{one.stack}: {count} to {operation}")
                if "replace" in wanted and one.change.notes:
                    found.append(f"{one.stack}: {one.change.notes[0]}")
            broken = [found for found in one.violations if found.level is Level.MANDATORY]
            if POLICY in wanted and broken:
                found.append(f"{one.stack}: {len(broken)} mandatory policies violated")
            if "budget" in wanted and one.over_budget:
                found.append(f"{one.stack}: more than its budget")
        return tuple(found)


def report(
    project: Path,
    stacks: Sequence[str],
    *,
    against: str,
    head: str | None = None,
    uncommitted: bool = False,
    overrides: Sequence[Override] = (),
    real: Path | None = None,
    charts: Path | None = None,
    timeout: float,
    progress: Callable[[str], None] = lambda _text: None,
) -> Report:
    """Record both revisions of every stack, each with its own code, settings and prices, and compare.

    `charts` is a folder of charts, for what releases that change make of them; `real` is the document of a real
    `pulumi preview --json` of the one stack. Raises Refused where that or the revisions cannot be had. A program that
    fails is told in the report, not raised.
    """
    if real is not None and len(stacks) != 1:
        raise Refused("--real is the preview of one stack: name that one alone")
    document = None if real is None else read_real(real)
    progress("writing out the revisions")
    with two_revisions(project, against, head, uncommitted=uncommitted) as (before, after):
        runs, failures = _runs(before, after, stacks, overrides)
        progress("loading the SDKs")
        wanted = [run for run in runs.values() if run is not None]
        preload(wanted)
        results = run_all(
            wanted, timeout=timeout, progress=lambda names: progress(f"running {', '.join(dict.fromkeys(names))}")
        )
        recorded: dict[tuple[str, str], Snapshot | None] = dict.fromkeys(runs)
        for key, result in zip((key for key, run in runs.items() if run is not None), results, strict=True):
            if isinstance(result, PreviewError):
                failures[key] = result
            else:
                recorded[key] = result
        judged = {key: policies.of(snapshot) for key, snapshot in recorded.items() if snapshot is not None}
        notes = [*_requirements(before, after)]
        if head is None and not uncommitted and has_uncommitted(project):
            notes.append("changes that are not committed are not in it: --uncommitted takes them")
        found = [_stack(stack, recorded, failures, judged) for stack in stacks]
        if charts is not None:
            progress("rendering charts")
            found = [replace(one, rendered=_rendered(one, recorded, charts)) for one in found]
        if document is not None and found[0].change is not None:
            found[0] = replace(found[0], reality=beside(found[0].change, document))
        return Report(
            base=before.short,
            head=after.short,
            stacks=tuple(found),
            notes=tuple(notes),
        )


def _runs(
    before: Revision, after: Revision, stacks: Sequence[str], overrides: Sequence[Override]
) -> tuple[dict[tuple[str, str], Run | None], dict[tuple[str, str], PreviewError]]:
    """Prepare a run of each stack in each revision; None where a revision has not that stack."""
    runs: dict[tuple[str, str], Run | None] = {}
    failures: dict[tuple[str, str], PreviewError] = {}
    for side, revision in (("base", before), ("head", after)):
        try:
            project = load_project(revision.folder)
        except PreviewError as error:
            failures |= {(side, stack): error for stack in stacks}
            runs |= {(side, stack): None for stack in stacks}
            continue
        for stack in stacks:
            runs[side, stack] = None
            if stack not in project.stacks():
                continue
            try:
                config = load_stack(project, stack, overrides if side == "head" else ())
            except PreviewError as error:
                failures[side, stack] = error
                continue
            has_pack = (project.root / policies.PACK).is_file()
            runs[side, stack] = Run(project=project, config=config, cost=True, optional=True, policy=has_pack)
    for stack in stacks:
        sides = [(side, stack) for side in ("base", "head")]
        if not any(runs[side] is not None or side in failures for side in sides):
            there = sorted(load_project(after.folder).stacks())
            raise Refused(f"no stack {stack!r} in either revision\n    stacks: {', '.join(there)}")
    return runs, failures


def _stack(
    stack: str,
    recorded: dict[tuple[str, str], Snapshot | None],
    failures: dict[tuple[str, str], PreviewError],
    judged: dict[tuple[str, str], tuple[Judgement, ...]],
) -> StackReport:
    told = tuple(
        f"the {name} revision cannot be previewed\n{failures[side, stack]}"
        for side, name in (("base", "earlier"), ("head", "later"))
        if (side, stack) in failures
    )
    before, after = recorded.get(("base", stack)), recorded.get(("head", stack))
    head_failure = failures.get(("head", stack))
    if told:
        return StackReport(
            stack=stack,
            change=None,
            failures=told,
            head_failed=head_failure is not None,
            refused=isinstance(head_failure, Refused),
            judgements=judged.get(("head", stack), ()),
            price=None if after is None else price_change(None, after.cost),
            after=after,
        )
    notes = []
    if before is None:
        notes.append("this stack is new")
    is_gone = after is None
    if is_gone:
        notes.append("this stack's file is gone: what it made stays and costs the same, until `pulumi destroy`")
        after = before
    old = judged.get(("base", stack), ())
    return StackReport(
        stack=stack,
        change=compare(before, after, stack=stack),
        price=price_change(before.cost if before else None, after.cost if after else None, is_new=before is None),
        judgements=judged.get(("head", stack), ()),
        already=frozenset((one.rule, one.urn) for one in old if one.verdict is Verdict.VIOLATED),
        budget=None if after is None or is_gone else _budget(after),
        notes=tuple(notes),
        is_gone=is_gone,
        after=after,
    )


def _rendered(
    one: StackReport, recorded: Mapping[tuple[str, str], Snapshot | None], charts: Path
) -> dict[str, Rendered]:
    """Render every release that changes, in both revisions."""
    sides = [
        {} if snapshot is None else {resource.urn: resource for resource in snapshot.of_type(RELEASE)}
        for snapshot in (recorded.get((side, one.stack)) for side in ("base", "head"))
    ]
    changes = [] if one.change is None else [found for found in one.change.changes if found.type == RELEASE]
    return {
        found.urn: compare_charts(sides[0].get(found.old_urn or found.urn), sides[1].get(found.urn), charts)
        for found in changes
    }


def _budget(snapshot: Snapshot) -> float | None:
    for resource in snapshot.of_type(BUDGET):
        amount: Any = resource.inputs.get("amount")
        units = amount.get("specifiedAmount", {}).get("units") if isinstance(amount, dict) else None
        if isinstance(units, str | int | float):
            return float(units)
    return None


def _requirements(before: Revision, after: Revision) -> list[str]:
    """Say where the two revisions ask for other packages: both run with those that are installed here."""
    old, new = (_text(revision.folder / REQUIREMENTS) for revision in (before, after))
    if old == new:
        return []
    changed = [
        line
        for line in difflib.ndiff(old.splitlines(), new.splitlines())
        if line.startswith(("+ ", "- ")) and line[2:].strip() and not line[2:].startswith("#")
    ]
    return [
        f"{REQUIREMENTS} differs ({', '.join(changed)}): both revisions ran with the packages that are installed here"
    ]


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""

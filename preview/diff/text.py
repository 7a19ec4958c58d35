"""The report of a change for a terminal, and as a JSON document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from preview.cost_text import money
from preview.diff.compare import Change, Operation
from preview.diff.markdown import about_resource, signed, without_secrets
from preview.diff.price import PriceChange
from preview.diff.report import ONLY_A_REAL_PREVIEW, Report, StackReport
from preview.diff.values import MISSING, Difference, as_document, shown
from preview.policies import Level, Verdict
from preview.text import Style, short_type

_SIGNS = {
    Operation.DELETE: ("-", 31),
    Operation.REPLACE: ("+-", 35),
    Operation.CREATE: ("+", 32),
    Operation.UPDATE: ("~", 33),
    Operation.RENAME: ("->", 36),
}
_LONGEST = 100


def text(report: Report, *, style: Style, failing: Sequence[str] = ()) -> str:
    """Write the report for a person at a terminal."""
    sections = [[f"{report.base} -> {report.head}", *report.notes]]
    sections += [list(_stack(one, style)) for one in report.stacks]
    sections += [[f"fails: {told}" for told in failing]]
    return without_secrets("\n\n".join("\n".join(lines) for lines in sections if lines))


def _stack(one: StackReport, style: Style) -> Iterator[str]:
    yield style.paint(one.stack, 1)
    for note in one.notes:
        yield f"  {note}"
    for failure in one.failures:
        yield from (f"  {line}" for line in failure.splitlines())
    if one.change is not None:
        for note in one.change.notes:
            yield style.paint(f"  {note}", 31)
        for change in one.change.changes:
            yield from _change(change, style)
        for title, fields in (("configuration", one.change.config), ("outputs", one.change.outputs)):
            for found in fields:
                yield f"  {title}: {_field(found)}"
        counts = [f"{count} to {operation}" for operation, count in one.change.counts.items() if count]
        yield f"  {', '.join(counts) or 'nothing changes'}, {one.change.unchanged} stay"
    if one.price is not None:
        yield f"  {price_line(one.price)}"
    yield from _beside(one)
    for broken in one.violations:
        known = "as before" if (broken.rule, broken.urn) in one.already else "new"
        level = "violated" if broken.level is Level.MANDATORY else "advised against"
        name = broken.urn.rpartition("::")[2]
        yield f"  policy {broken.rule} {level} ({known}): {name}: {about_resource(broken.message)}"
    unjudged = sum(judged.verdict is Verdict.NOT_JUDGED for judged in one.judgements)
    if unjudged:
        yield f"  policies: {unjudged} could not be judged"


def _beside(one: StackReport) -> Iterator[str]:
    """What helm and a real preview say."""
    for urn, rendered in one.rendered.items():
        yield f"  objects of the chart of {urn.rpartition('::')[2]}: {rendered.why_not or len(rendered.fields)}"
        yield from (f"    {_field(found)}" for found in rendered.fields)
    if one.reality is not None:
        yield f"  predicted against real: {one.reality.agreed} agree, {len(one.reality.different)} differ"
        for other in one.reality.different:
            name = other.urn.rpartition("::")[2]
            yield f"    {name}: predicted {other.predicted or 'stays'}, real {other.real or 'stays'}"


def _change(change: Change, style: Style) -> Iterator[str]:
    sign, color = _SIGNS[change.operation]
    was = f", was {change.old_urn.rpartition('::')[2]}" if change.old_urn else ""
    goes = change.operation in (Operation.DELETE, Operation.REPLACE)
    held = ", data goes with it" if goes and change.holds_data else ""
    need = f", {len(change.dependents)} need it" if change.dependents else ""
    protected = ", protected" if goes and change.was_protected else ""
    where = f"  {change.source}" if change.source else ""
    line = f"  {style.paint(sign.ljust(2), color)} {short_type(change.type)} {change.name}{was}{protected}{held}{need}"
    yield line + style.paint(where, 2)
    for reason in change.reasons:
        yield f"       because of {reason.path}: {reason.source}"
    for note in change.notes:
        yield f"       {note}"
    for found in change.fields:
        yield f"       {_field(found)}"


def _field(found: Difference) -> str:
    return f"{found.path}: {shown(found.before, _LONGEST)} -> {shown(found.after, _LONGEST)}"


def price_line(price: PriceChange) -> str:
    """Write the price and why it moved on one line."""
    if price.difference is None:
        return f"{money(price.before)} -> {money(price.after)} {price.currency} a month"
    least = "" if price.is_whole else "at least "
    told = f"{least}{money(price.before)} -> {money(price.after)} {price.currency} a month"
    causes = f"price {signed(price.by_price)}, quantity {signed(price.by_quantity)}, use {signed(price.by_use)}"
    return f"{told} ({signed(price.difference)}: {causes})"


def document(report: Report, failing: Sequence[str] = ()) -> dict[str, Any]:
    """Write the report as plain JSON; null is unknown, a value that is not there is left out."""
    return {
        "base": report.base,
        "head": report.head,
        "notes": list(report.notes),
        "failing": list(failing),
        "onlyARealPreview": list(ONLY_A_REAL_PREVIEW),
        "stacks": {one.stack: _document(one) for one in report.stacks},
    }


def _document(one: StackReport) -> dict[str, Any]:
    change, price = one.change, one.price
    return {
        "notes": [*one.notes, *(change.notes if change else ())],
        "isGone": one.is_gone,
        "failures": list(one.failures),
        "counts": None if change is None else {str(key): count for key, count in change.counts.items()},
        "unchanged": None if change is None else change.unchanged,
        "changes": [] if change is None else [_change_document(found) for found in change.changes],
        "config": [] if change is None else [_field_document(found) for found in change.config],
        "outputs": [] if change is None else [_field_document(found) for found in change.outputs],
        "cost": None
        if price is None
        else {
            "currency": price.currency,
            "before": price.before,
            "after": price.after,
            "difference": None if price.difference is None else round(price.difference, 2),
            "byPrice": round(price.by_price, 2),
            "byQuantity": round(price.by_quantity, 2),
            "byUse": round(price.by_use, 2),
            "isWhole": price.is_whole,
            "budget": one.budget,
        },
        "charts": {
            urn: {"whyNot": found.why_not, "fields": [_field_document(field) for field in found.fields]}
            for urn, found in one.rendered.items()
        },
        "real": None
        if one.reality is None
        else {
            "agreed": one.reality.agreed,
            "different": [
                {
                    "urn": found.urn,
                    "predicted": None if found.predicted is None else str(found.predicted),
                    "real": None if found.real is None else str(found.real),
                    "fields": list(found.fields),
                }
                for found in one.reality.different
            ],
        },
        "policies": [
            {
                "rule": found.rule,
                "level": str(found.level),
                "verdict": str(found.verdict),
                "urn": found.urn,
                "message": found.message,
                "asBefore": (found.rule, found.urn) in one.already,
            }
            for found in one.judgements
        ],
    }


def _change_document(change: Change) -> dict[str, Any]:
    return {
        "operation": str(change.operation),
        "urn": change.urn,
        "type": change.type,
        "name": change.name,
        **({"oldUrn": change.old_urn} if change.old_urn else {}),
        "fields": [_field_document(found) for found in change.fields],
        "reasons": [{"path": one.path, "when": one.when, "source": one.source} for one in change.reasons],
        "dependents": list(change.dependents),
        "source": change.source,
        "protected": change.was_protected,
        "holdsData": change.holds_data,
        "notes": list(change.notes),
    }


def _field_document(found: Difference) -> dict[str, Any]:
    return {
        "path": found.path,
        **({} if found.before is MISSING else {"before": as_document(found.before)}),
        **({} if found.after is MISSING else {"after": as_document(found.after)}),
    }

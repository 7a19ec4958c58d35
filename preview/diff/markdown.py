"""The report of a change as one Markdown comment: what a reviewer must see first, the rest folded, within a limit.

A comment of GitHub's holds 65,536 characters; 65,000 bytes are never passed. What does not fit is left out by priority,
whole blocks at a time, and the comment says what: the names of everything that is deleted or replaced go last. Whatever
comes from the change itself is escaped: it can neither format, nor link, nor mention anybody.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from preview.cost_text import money
from preview.diff.compare import Change, Operation, StackChange
from preview.diff.price import PriceChange
from preview.diff.real import Reality
from preview.diff.report import ONLY_A_REAL_PREVIEW, Report, StackReport
from preview.diff.values import Difference, shown
from preview.markup import code, cut, escape, printable
from preview.policies import Level, Verdict
from preview.text import short_type

MARKER: Final = "<!-- llmserve-preview -->"
"""The first line, by which the one comment is found again."""
LIMIT: Final = 65_000
_LONGEST_VALUE: Final = 120
_LONGEST_NAME: Final = 120
_MOST_LINES: Final = 40
"""Lines of one resource's difference."""
_SIGNS: Final = {
    Operation.DELETE: "-",
    Operation.REPLACE: "±",
    Operation.CREATE: "+",
    Operation.UPDATE: "~",
    Operation.RENAME: "→",
}
_SECRETS: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|\bhf_[A-Za-z0-9]{20,}|\bya29\.[A-Za-z0-9_-]{20,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_[A-Za-z0-9_]{30,}"
    r"|\bAIza[A-Za-z0-9_-]{30,}|\bAKIA[A-Z0-9]{16}\b|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bpul-[0-9a-f]{40}\b"
    r"|\beyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{10,}",
    re.DOTALL,
)
"""Texts that look like a key or a token, whoever wrote them: the last gate, behind all that is known to be secret."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A part of the comment that is whole by itself; those with the largest priority are left out first."""

    priority: int
    text: str
    what: str = ""
    """What is missing where it is left out."""


def markdown(report: Report, *, failing: Sequence[str] = (), limit: int = LIMIT) -> str:
    """Write the comment. `failing` says why the call fails, where it does."""
    blocks = [Block(priority=0, text=_head(report, failing))]
    for one in report.stacks:
        blocks += _stack(one, share=limit // 3 // max(1, len(report.stacks)))
    blocks.append(Block(priority=1, text=_limits(), what="what only a real preview can know"))
    return without_secrets(_fitted(blocks, limit))


def without_secrets(text: str) -> str:
    """Take out whatever looks like a key or a token."""
    return _SECRETS.sub("[secret]", text)


def _fitted(blocks: Sequence[Block], limit: int) -> str:
    """Put blocks together, in their order, with as many as fit, by priority."""
    # A secret is never longer than what stands for it, but for a very short one, which none of the patterns takes.
    room = limit - 1200
    sizes = [len(block.text.encode()) + 2 for block in blocks]
    kept = {number for number, block in enumerate(blocks) if block.priority == 0}
    used = sum(sizes[number] for number in kept)
    left: list[str] = []
    for number, block in sorted(enumerate(blocks), key=lambda one: (one[1].priority, one[0])):
        if number in kept:
            continue
        if used + sizes[number] <= room:
            kept.add(number)
            used += sizes[number]
        else:
            left.append(block.what)
    texts = [block.text for number, block in enumerate(blocks) if number in kept]
    if left:
        texts.append(_left_out(left))
    whole = "\n\n".join(texts) + "\n"
    if len(whole.encode()) <= limit:
        return whole
    # Only the heads of very many stacks: as many lines as fit, and none of them opens anything.
    lines, size = [], 0
    for line in whole.splitlines():
        size += len(line.encode()) + 1
        if size > room:
            break
        lines.append(line)
    return "\n".join([*lines, "", "_Left out, because a comment holds no more: the rest._", ""])


def _left_out(left: Sequence[str]) -> str:
    names = list(dict.fromkeys(left))
    told = ", ".join(escape(cut(name, 80)) for name in names[:4]) + (
        f" and {len(names) - 4} more" if len(names) > 4 else ""
    )
    return f"_Left out, because a comment holds no more: {told}. The whole report is in the run's artifact._"


def _head(report: Report, failing: Sequence[str]) -> str:
    rows = ["| stack | delete | replace | create | update | rename | USD a month | policies |", "|---" * 8 + "|"]
    for one in report.stacks[:100]:
        counts = [""] * 5
        if one.change is not None:
            found = one.change.counts
            counts = [f"**{found[operation]}**" if found[operation] else "0" for operation in Operation]
        name = f"{code(one.stack)} (its file is gone: all of it stays)" if one.is_gone else code(one.stack)
        cells = [name, *counts, _price_cell(one.price), _policy_cell(one)]
        rows.append(f"| {' | '.join(cells)} |")
    if len(report.stacks) > 100:
        rows.append(f"| and {len(report.stacks) - 100} more" + " |" * 8)
    lines = [MARKER, f"## Preview: {code(report.base)} → {code(report.head)}", "", *rows]
    for told in failing[:20]:
        lines += ["", f"**Fails:** {escape(told)}"]
    for note in report.notes[:10]:
        lines += ["", f"> {escape(cut(note, 300))}"]
    return "\n".join(lines)


def _price_cell(price: PriceChange | None) -> str:
    if price is None or (price.before is None and price.after is None):
        return "unknown"
    if price.difference is None:
        return f"{money(price.before)} → {money(price.after)}"
    least = "" if price.is_whole else "at least "
    if abs(price.difference) < 0.005:
        return f"{least}{money(price.after)}, the same"
    return f"{least}{money(price.before)} → {money(price.after)} (**{signed(price.difference)}**)"


def signed(value: float) -> str:
    """Write a difference of money with its sign."""
    return f"{value:+,.2f}"


def _policy_cell(one: StackReport) -> str:
    if one.head_failed:
        return "not judged"
    if not one.judgements:
        return "none"
    mandatory = sum(found.level is Level.MANDATORY for found in one.violations)
    parts = []
    if mandatory:
        parts.append(f"**{mandatory} violated**")
    if advisory := len(one.violations) - mandatory:
        parts.append(f"{advisory} advised against")
    if unjudged := sum(found.verdict is Verdict.NOT_JUDGED for found in one.judgements):
        parts.append(f"{unjudged} not judged")
    return ", ".join(parts) or "passed"


def _stack(one: StackReport, *, share: int) -> Iterator[Block]:
    name = code(one.stack)
    lines = [f"### {name}"]
    lines += [f"> {escape(cut(note, 300))}" for note in one.notes]
    if one.change is not None:
        lines += [f"> **{escape(cut(note, 300))}**" for note in one.change.notes]
        if one.change.is_empty:
            lines.append("Nothing changes.")
    if one.over_budget and one.price is not None:
        lines.append(f"> **{money(one.price.after)} a month is more than its budget of {money(one.budget)}**")
    yield Block(priority=0, text="\n\n".join(lines))
    for failure in one.failures:
        yield Block(priority=0, text=_fence(cut_bytes(failure, max(200, min(4000, share)))))
    if one.violations:
        yield Block(priority=1, text=_violations(one), what=f"policies of {one.stack}")
    if one.reality is not None:
        yield Block(priority=1, text=_reality(one.reality), what=f"what a real preview says of {one.stack}")
    if one.change is None:
        return
    severe = [change for change in one.change.changes if change.operation in (Operation.DELETE, Operation.REPLACE)]
    if severe:
        yield Block(priority=0, text=_names(severe, share))
        for change in severe:
            text = _change(change)
            yield Block(priority=2, text=text, what=f"details of what is deleted or replaced in {one.stack}")
    if one.price is not None and one.price.lines:
        yield Block(priority=1, text=_price(one.price), what=f"the price of {one.stack}, line by line")
    yield from _folded(one.change)
    for urn, rendered in one.rendered.items():
        what = f"objects of {_name(urn)}"
        body = escape(cut(rendered.why_not, 300)) or _fence("\n".join(_diff(rendered.fields)), "diff")
        told = f"Objects of the chart of {cut(_name(urn), 80)}: "
        told += "not rendered" if rendered.why_not else f"{len(rendered.fields)} values differ"
        yield Block(priority=5, text=_details(_summary(told), body), what=what)
    judged = [found for found in one.judgements if found.verdict is Verdict.NOT_JUDGED]
    if judged:
        rows = [f"- {code(found.rule)} {code(_name(found.urn))}: {escape(cut(found.message, 200))}" for found in judged]
        text = _details(f"Policies that could not be judged: {len(judged)}", "\n".join(rows[:60]))
        yield Block(priority=4, text=text, what=f"policies of {one.stack} that could not be judged")


def _folded(change: StackChange) -> Iterator[Block]:
    titles = {
        Operation.UPDATE: ("Updated in place", 3),
        Operation.CREATE: ("Created", 3),
        Operation.RENAME: ("Renamed, and kept", 3),
    }
    for operation, (title, priority) in titles.items():
        found = [one for one in change.changes if one.operation is operation]
        if not found:
            continue
        summary = f"{title}: {len(found)}"
        listed = "\n".join(_line(one) for one in found)
        yield Block(priority=priority, text=_details(summary, listed), what=f"names of what is {title.lower()}")
        for one in found:
            if one.fields:
                what = f"details of what is {title.lower()} in {change.stack}"
                yield Block(priority=priority + 2, text=_details(_title(one), _body(one)), what=what)
    for title, fields in (("Configuration", change.config), ("Outputs", change.outputs)):
        if fields:
            text = _details(f"{title}: {len(fields)} changed", _fence("\n".join(_diff(fields)), "diff"))
            yield Block(priority=6, text=text, what=f"{title.lower()} of {change.stack}")


def _names(changes: Sequence[Change], share: int) -> str:
    """Name everything that is deleted or replaced, in at most `share` bytes."""
    lines: list[str] = []
    size = 0
    for number, change in enumerate(changes):
        line = _line(change)
        size += len(line.encode()) + 1
        if size > share and number:
            by_type: dict[str, int] = {}
            for rest in changes[number:]:
                key = f"{rest.operation} {short_type(rest.type)}"
                by_type[key] = by_type.get(key, 0) + 1
            counted = ", ".join(f"{count} x {escape(cut(key, 60))}" for key, count in list(by_type.items())[:10])
            lines.append(f"- and {len(changes) - number} more: {counted}")
            break
        lines.append(line)
    return "**Deleted and replaced**\n\n" + "\n".join(lines)


def _line(change: Change) -> str:
    parts = [
        f"- `{_SIGNS[change.operation]}` {escape(short_type(change.type))} {code(cut(change.name, _LONGEST_NAME))}"
    ]
    if change.old_urn:
        parts.append(f"was {code(cut(_name(change.old_urn), _LONGEST_NAME))}")
    if change.reasons:
        why = ", ".join(dict.fromkeys(cut(reason.path, 60) for reason in change.reasons[:3]))
        parts.append(f"because of {code(why)}")
    if change.dependents:
        parts.append(f"{len(change.dependents)} need it")
    if change.operation is not Operation.CREATE and change.was_protected:
        parts.append("**protected**")
    if change.operation in (Operation.DELETE, Operation.REPLACE) and change.holds_data:
        parts.append("**data goes with it**")
    if change.notes:
        parts.append(escape(cut(change.notes[0], 200)))
    return ", ".join(parts)


def _title(change: Change) -> str:
    where = f" ({cut(change.source, 100)})" if change.source else ""
    title = f"{short_type(change.type)} {cut(change.name, _LONGEST_NAME)}{where}"
    return _summary(title)


def _summary(text: str) -> str:
    # Inside of HTML no Markdown is read, but whoever is mentioned is told.
    return html.escape(printable(text).replace("\n", " ")).replace("@", "&#64;")


def _change(change: Change) -> str:
    lines = []
    for reason in change.reasons[:10]:
        when = f", {escape(reason.when)}" if reason.when else ""
        lines.append(f"- {code(cut(reason.path, 100))} cannot be changed{when}: {escape(cut(reason.source, 200))}")
    if change.dependents:
        names = [code(cut(_name(urn), 60)) for urn in change.dependents[:12]]
        more = f" and {len(change.dependents) - 12} more" if len(change.dependents) > 12 else ""
        lines.append(f"- need it: {', '.join(names)}{more}")
    text = "\n".join(lines)
    body = _body(change)
    return _details(_title(change), "\n\n".join(part for part in (text, body) if part) or "nothing else")


def _body(change: Change) -> str:
    return _fence("\n".join(_diff(change.fields)), "diff") if change.fields else ""


def _diff(fields: Iterable[Difference]) -> list[str]:
    lines: list[str] = []
    for found in fields:
        if len(lines) >= _MOST_LINES:
            lines.append("# and more")
            break
        path = cut(found.path.replace("\n", " "), 160)
        texts = found.lines
        if texts:
            lines.append(f"# {path}:")
            lines += [cut(line, _LONGEST_VALUE) for line in texts[: _MOST_LINES - len(lines)]]
            continue
        for sign, value in (("-", found.before), ("+", found.after)):
            told = shown(value, _LONGEST_VALUE)
            if told != "-":
                lines.append(f"{sign} {path}: {told}")
        if shown(found.before, 10**9) == shown(found.after, 10**9):
            lines.append(f"# {path}: another secret" if "[secret]" in shown(found.after) else f"# {path}: another type")
    return lines


def _violations(one: StackReport) -> str:
    lines = ["**Policies**", ""]
    for found in one.violations[:50]:
        level = "violated" if found.level is Level.MANDATORY else "advised against"
        known = ", as before" if (found.rule, found.urn) in one.already else ", new"
        where = f" {code(cut(_name(found.urn), 80))}" if found.urn else ""
        lines.append(f"- {level}{known}: {code(found.rule)}{where}: {escape(cut(about_resource(found.message), 300))}")
    if len(one.violations) > 50:
        lines.append(f"- and {len(one.violations) - 50} more")
    return "\n".join(lines)


def _reality(found: Reality) -> str:
    if not found.different:
        return f"**Predicted against real**: {found.agreed} agree, none differs."
    rows = ["| resource | predicted | real | because of |", "|---|---|---|---|"]
    for one in found.different[:40]:
        because = ", ".join(code(cut(field, 60)) for field in one.fields[:5])
        cells = [code(cut(_name(one.urn), 80)), str(one.predicted or "stays"), str(one.real or "stays"), because]
        rows.append(f"| {' | '.join(cells)} |")
    if len(found.different) > 40:
        rows.append(f"| and {len(found.different) - 40} more | | | |")
    head = f"**Predicted against real**: {found.agreed} agree, {len(found.different)} differ"
    return f"{head} (the real one compares with what is deployed, not with the base)\n\n" + "\n".join(rows)


def about_resource(message: str) -> str:
    """Take what a violation says of its resource; before it stands what the rule says of all of them."""
    return message.partition("\n")[2] or message


def _price(price: PriceChange) -> str:
    causes = (
        f"by price {signed(price.by_price)}, by quantity {signed(price.by_quantity)}, by use {signed(price.by_use)}"
    )
    rows = ["| what moved | USD a month |", "|---|---:|"]
    rows += [f"| {escape(cut(what, 120))} | {signed(usd)} |" for what, usd in price.lines[:15]]
    if len(price.lines) > 15:
        rest = sum(usd for _, usd in price.lines[15:])
        rows.append(f"| {len(price.lines) - 15} more | {signed(rest)} |")
    return _details(f"The price: {causes}", "\n".join(rows))


def _limits() -> str:
    listed = "\n".join(f"- {escape(one)}" for one in ONLY_A_REAL_PREVIEW)
    return _details(
        "What only a real preview can know", f"Replacements are predicted. Nothing was asked of a cloud:\n\n{listed}"
    )


def _details(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"


def _fence(text: str, language: str = "text") -> str:
    """Put a text in a fence that is longer than any in it."""
    longest = max((len(found) for found in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{printable(text)}\n{fence}"


def cut_bytes(text: str, most: int) -> str:
    """Shorten a text to so many bytes."""
    data = text.encode()
    return text if len(data) <= most else data[: most - 3].decode(errors="ignore") + "…"


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]

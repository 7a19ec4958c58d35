"""The report of a change as one HTML page, with what changes drawn among what it needs and what needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pages import drawn, table, whole
from preview.diff.compare import Change, Operation, StackChange
from preview.diff.markdown import about_resource, signed, without_secrets
from preview.diff.report import ONLY_A_REAL_PREVIEW, Report, StackReport
from preview.diff.text import price_line
from preview.diff.values import Difference, shown
from preview.markup import cut, printable
from preview.policies import Level
from preview.snapshot import Resource, Snapshot
from preview.text import short_type

COLORS: Final = {
    Operation.DELETE: "#c0504d",
    Operation.REPLACE: "#b0569a",
    Operation.CREATE: "#2a7f62",
    Operation.UPDATE: "#e0a030",
    Operation.RENAME: "#6f8fb8",
}
AROUND: Final = "#d9d9d9"
"""The colour of what does not change itself."""
MOST: Final = 70
"""Resources that are drawn; of more, those that change come first."""
_TITLES: Final = {
    Operation.DELETE: "Deleted",
    Operation.REPLACE: "Replaced",
    Operation.CREATE: "Created",
    Operation.UPDATE: "Updated in place",
    Operation.RENAME: "Renamed, and kept",
}


def page(report: Report, *, failing: Sequence[str] = ()) -> str:
    """Make the page; the same report gives the same bytes."""
    notes = "".join(f"<li>{_text(note)}</li>" for note in (*report.notes, *(f"Fails: {told}" for told in failing)))
    limits = "".join(f"<li>{_text(one)}</li>" for one in ONLY_A_REAL_PREVIEW)
    sections = [
        f"<ul>{notes}</ul>" if notes else "",
        *(_section(one) for one in report.stacks),
        f"<h2>What only a real preview can know</h2>\n<ul>{limits}</ul>",
    ]
    return without_secrets(whole(f"Preview of {report.base} to {report.head}", (one for one in sections if one)))


def _section(one: StackReport) -> str:
    parts = [f"<h2>{_text(one.stack)}</h2>"]
    parts += [f"<p>{_text(note)}</p>" for note in (*one.notes, *(one.change.notes if one.change else ()))]
    parts += [f"<pre>{_text(failure)}</pre>" for failure in one.failures]
    if one.price is not None:
        parts.append(f"<p><strong>{_text(price_line(one.price))}</strong></p>")
        moved = [(cut(what, 120), signed(usd)) for what, usd in one.price.lines[:20]]
        if moved:
            parts.append(f"<details><summary>What moved</summary>{table(moved)}</details>")
    if one.violations:
        rows = [
            (
                f"{found.rule} ({'violated' if found.level is Level.MANDATORY else 'advised against'})",
                printable(about_resource(found.message)),
                found.urn.rpartition("::")[2],
            )
            for found in one.violations
        ]
        parts.append(f"<h3>Policies</h3>\n{table(rows)}")
    if one.change is not None:
        if one.change.changes:
            parts.append(graph(one.change, one.after))
        parts += list(_lists(one.change))
    for urn, rendered in one.rendered.items():
        body = f"<p>{_text(rendered.why_not)}</p>" if rendered.why_not else _fields(rendered.fields)
        parts.append(f"<h3>Objects of the chart of {_text(_last(urn))}</h3>{body}")
    return "\n".join(parts)


def _lists(change: StackChange) -> Iterator[str]:
    for operation, title in _TITLES.items():
        found = [one for one in change.changes if one.operation is operation]
        if not found:
            continue
        yield f'<h3 style="color: {COLORS[operation]}">{title}: {len(found)}</h3>'
        for one in found:
            yield _resource(one)
    for title, fields in (("Configuration", change.config), ("Outputs", change.outputs)):
        if fields:
            yield f"<h3>{title}</h3>\n{_fields(fields)}"


def _resource(change: Change) -> str:
    head = f"{short_type(change.type)} <strong>{_text(cut(change.name, 120))}</strong>"
    facts = [_text(change.source)] if change.source else []
    facts += [f"was {_text(change.old_urn.rpartition('::')[2])}"] if change.old_urn else []
    facts += [f"because of {_text(reason.path)}: {_text(reason.source)}" for reason in change.reasons]
    if change.dependents:
        facts.append(f"{len(change.dependents)} need it: " + _text(", ".join(_last(u) for u in change.dependents[:20])))
    if change.operation in (Operation.DELETE, Operation.REPLACE) and change.holds_data:
        facts.append("<strong>data goes with it</strong>")
    facts += [_text(note) for note in change.notes]
    listed = "".join(f"<li>{fact}</li>" for fact in facts)
    opened = " open" if change.operation in (Operation.DELETE, Operation.REPLACE) else ""
    body = f"<ul>{listed}</ul>{_fields(change.fields) if change.fields else ''}"
    return f"<details{opened}><summary>{head}</summary>{body}</details>"


def _fields(fields: Sequence[Difference]) -> str:
    return table((cut(found.path, 160), f"{shown(found.before)} → {shown(found.after)}") for found in fields[:60])


def _text(text: str) -> str:
    return escape(printable(text))


def _last(urn: str) -> str:
    return urn.rpartition("::")[2]


def graph(change: StackChange, after: Snapshot | None) -> str:
    """Draw what changes, what it needs directly, and what needs it: from left to right, what is needed comes first."""
    by_urn = {one.urn: one for one in change.changes if one.custom}
    resources = {} if after is None else {r.urn: r for r in after.resources if r.custom}
    chosen, left = _chosen(by_urn, resources)
    needs = _reduced({urn: _needs(resources.get(urn), set(chosen)) for urn in chosen})
    columns = _columns(chosen, needs)
    height = max(2.0, 0.28 * max(len(column) for column in columns) + 1)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        places = {
            urn: (float(x), -(y - (len(column) - 1) / 2))
            for x, column in enumerate(columns)
            for y, urn in enumerate(column)
        }
        for urn, needed in needs.items():
            for other in needed:
                _arrow(axes, places[other], places[urn])
        for urn, (x, y) in places.items():
            found = by_urn.get(urn)
            color = COLORS[found.operation] if found else AROUND
            axes.plot([x], [y], "o", color=color, markersize=7, zorder=3)
            axes.annotate(f" {cut(_last(urn), 34)}", (x, y), fontsize=6.5, va="center", zorder=4)
        for operation, color in COLORS.items():
            if any(one.operation is operation for one in by_urn.values()):
                axes.plot([], [], "o", color=color, label=_TITLES[operation].lower())
        axes.plot([], [], "o", color=AROUND, label="stays" + (f"; {left} more are not drawn" if left else ""))
        axes.set_axis_off()
        axes.set_xlim(-0.1, len(columns) - 0.1)
        axes.margins(y=0.08)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, ncols=6)

    return drawn(draw, height=height)


def _chosen(by_urn: Mapping[str, Change], resources: Mapping[str, Resource]) -> tuple[list[str], int]:
    """Choose what is drawn: what changes, then what stands beside it; and count what is left out."""
    changed = list(by_urn)
    beside = [
        urn
        for urn, resource in resources.items()
        if urn not in by_urn
        and (_needs(resource, set(by_urn)) or any(urn in _needs(resources.get(one), {urn}) for one in by_urn))
    ]
    wanted = [*changed, *beside]
    return wanted[:MOST], max(0, len(wanted) - MOST)


def _needs(resource: Resource | None, among: set[str]) -> list[str]:
    if resource is None:
        return []
    return [urn for urn in dict.fromkeys(resource.dependencies) if urn in among and urn != resource.urn]


def _reduced(needs: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Leave out what is needed by way of something else that is needed: the picture says the same with fewer lines."""
    reached: dict[str, set[str]] = {}

    def reach(urn: str) -> set[str]:
        if urn not in reached:
            reached[urn] = set()
            reached[urn] = {*needs[urn]}.union(*(reach(other) for other in needs[urn]))
        return reached[urn]

    return {
        urn: [one for one in needed if not any(one in reach(other) for other in needed)]
        for urn, needed in needs.items()
    }


def _columns(urns: Sequence[str], needs: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Put each after all that it needs."""
    depth: dict[str, int] = {}

    def place(urn: str) -> int:
        if urn not in depth:
            depth[urn] = 0
            depth[urn] = max((place(other) + 1 for other in needs[urn]), default=0)
        return depth[urn]

    for urn in urns:
        place(urn)
    columns: list[list[str]] = [[] for _ in range(max(depth.values(), default=0) + 1)]
    for urn in sorted(urns):
        columns[depth[urn]].append(urn)
    return columns


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate(
        "",
        xy=end,
        xytext=start,
        arrowprops={"arrowstyle": "-", "color": "#bbbbbb", "lw": 0.6, "connectionstyle": "arc3,rad=0.06"},
        zorder=1,
    )

"""The document of a preview as a tree for a person, the same whether our engine or Pulumi's made the document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from preview.values import SHOWN_UNKNOWN, UNKNOWN_SENTINEL

_STACK_TYPE: Final = "pulumi:pulumi:Stack"
_SYMBOLS: Final = {"create": "+", "read": "<=", "import": "=", "update": "~", "delete": "-", "replace": "+-"}
_COLORS: Final = {"create": 32, "read": 36, "import": 36, "update": 33, "delete": 31, "replace": 35}
_VERBS: Final = {"create": "to create", "read": "to read", "import": "to import", "update": "to update"}
_DIM: Final = 2
_BOLD: Final = 1
_YELLOW: Final = 33
_RED: Final = 31
_WIDEST_TYPE: Final = 48
_LONGEST_VALUE: Final = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    """How to show a document: with colours, with the line that made each resource, with each resource's inputs."""

    color: bool = False
    lines: bool = False
    details: bool = False

    def paint(self, text: str, code: int) -> str:
        """Colour a text, where colours are wanted."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.color else text


def render(document: Mapping[str, Any], *, stack: str, style: Style) -> str:
    """Draw one stack: its tree and outputs or its own account, diagnostics, and last what would happen."""
    explanation = document.get("explanation")
    sections = [
        list(_tree(document, stack, style)) if explanation is None else [style.paint(stack, _BOLD), "", explanation],
        list(_outputs(document.get("outputs", {}), style)) if explanation is None else [],
        list(_diagnostics(document.get("diagnostics", ()), style)),
        [_summary(document, style)],
    ]
    return "\n\n".join("\n".join(section) for section in sections if section)


def _tree(document: Mapping[str, Any], stack: str, style: Style) -> Iterator[str]:
    operations: dict[str, list[str]] = {}
    states: dict[str, Mapping[str, Any]] = {}
    for step in document["steps"]:
        operations.setdefault(step["urn"], []).append(step["op"])
        states[step["urn"]] = step["newState"]
    children: dict[str, list[str]] = {}
    for urn, state in states.items():
        parent = state.get("parent", "")
        children.setdefault(parent if parent in states else "", []).append(urn)
    roots = [
        urn
        for root in children.get("", [])
        for urn in (children.get(root, []) if states[root]["type"] == _STACK_TYPE else [root])
    ]
    for siblings in (roots, *children.values()):
        siblings.sort(key=lambda urn: _place(states[urn]))
    rows = list(_rows(roots, children, ""))
    column = max((len(_label(states[urn], operations[urn], prefix)) for urn, prefix, _ in rows), default=0)
    column = min(column, _WIDEST_TYPE)
    yield style.paint(f"{stack}", _BOLD)
    for urn, prefix, below in rows:
        state = states[urn]
        label = _label(state, operations[urn], prefix)
        notes = list(_notes(state, style))
        name = urn.rpartition("::")[2]
        symbol = _symbol(operations[urn])
        shown_type = label[len(prefix) + len(symbol) + 1 :]
        yield "".join(
            (
                style.paint(prefix, _DIM),
                style.paint(symbol, _COLORS.get(operations[urn][0], _DIM)),
                " ",
                style.paint(shown_type, _DIM) if shown_type.startswith("provider ") else shown_type,
                " " * (max(column - len(label), 0) + 2),
                name if state["custom"] else style.paint(name, _BOLD),
                style.paint(f"  ({', '.join(notes)})", _DIM) if notes else "",
            )
        )
        if style.details:
            for line in _details(state.get("inputs", {}), ""):
                yield style.paint(f"{below}      {line}", _DIM)


def _place(state: Mapping[str, Any]) -> tuple[str, int]:
    """Where a resource is made: what stands together in the program is drawn together."""
    file, _, line = state.get("sourcePosition", "").rpartition("#")
    return file, int(line) if line.isdigit() else 0


def _rows(urns: Sequence[str], children: Mapping[str, Sequence[str]], below: str) -> Iterator[tuple[str, str, str]]:
    """Yield (URN, what to draw before it, what to draw before lines under it), parents before children."""
    for position, urn in enumerate(urns):
        last = position == len(urns) - 1
        under = below + ("   " if last else "│  ")
        yield urn, below + ("└─ " if last else "├─ "), under
        yield from _rows(children.get(urn, ()), children, under)


def _label(state: Mapping[str, Any], operations: Sequence[str], prefix: str) -> str:
    return f"{prefix}{_symbol(operations)} {short_type(state['type'])}"


def _symbol(operations: Sequence[str]) -> str:
    return _SYMBOLS.get(operations[0], operations[0])


def short_type(token: str) -> str:
    """A type token without what repeats: `container NodePool`, `Deployment`, `provider gcp`, `Network`.

    A kind stands alone, but for clouds whose services say which `Instance` or `Service` it is.
    """
    package, _, rest = token.partition(":")
    module, _, kind = rest.rpartition(":")
    if package == "pulumi" and module == "providers":
        return f"provider {kind}"
    service = module.partition("/")[0]
    return kind if package == "kubernetes" or service in {"", "index"} else f"{service} {kind}"


def _notes(state: Mapping[str, Any], style: Style) -> Iterator[str]:
    if state.get("protect"):
        yield "protected"
    if state.get("ignoreChanges"):
        yield f"ignores {', '.join(state['ignoreChanges'])}"
    if state.get("importID"):
        yield f"imported from {state['importID']}"
    elif state.get("external"):
        yield f"exists as {_shown(state.get('id', ''))}"
    if style.lines and "sourcePosition" in state:
        yield state["sourcePosition"].removeprefix("project:///").replace("#", ":")


def _details(value: Any, name: str) -> Iterator[str]:
    """A value as YAML-like lines."""
    head = f"{name}: " if name else ""
    if isinstance(value, Mapping) and value:
        if name:
            yield f"{name}:"
        for key, item in value.items():
            if key == "__internal":
                continue
            for line in _details(item, str(key)):
                yield f"  {line}" if name else line
    elif isinstance(value, list) and value:
        yield f"{name}:"
        for item in value:
            lines = list(_details(item, ""))
            yield f"  - {lines[0]}"
            yield from (f"    {line}" for line in lines[1:])
    else:
        yield f"{head}{_shown(value)}"


def _outputs(outputs: Mapping[str, Any], style: Style) -> Iterator[str]:
    if not outputs:
        return
    yield style.paint("Outputs", _BOLD)
    column = max(len(name) for name in outputs)
    for name, value in sorted(outputs.items()):
        yield f"  {name}{' ' * (column - len(name))}  {_shown(value)}"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    text = text.replace(UNKNOWN_SENTINEL, SHOWN_UNKNOWN)
    text = re.sub(rf'"({re.escape(SHOWN_UNKNOWN)}|\[secret\])"', r"\1", text).replace("\n", "\\n")
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _diagnostics(diagnostics: Sequence[Mapping[str, Any]], style: Style) -> Iterator[str]:
    groups = (("error", "Errors", _RED), ("warning", "Warnings", _YELLOW), ("info", "Messages", _BOLD))
    first = True
    for severity, title, code in groups:
        chosen = [item for item in diagnostics if item["severity"].partition("#")[0] == severity]
        if not chosen:
            continue
        if not first:
            yield ""
        first = False
        yield style.paint(title, code)
        for item in chosen:
            name = item.get("urn", "").rpartition("::")[2]
            lines = item["message"].strip().removeprefix(f"{severity}: ").splitlines() or [""]
            yield f"  {name + ': ' if name else ''}{lines[0]}"
            yield from (f"    {line}" for line in lines[1:])


def _summary(document: Mapping[str, Any], style: Style) -> str:
    changes = dict(document.get("changeSummary", {}))
    parts = [
        style.paint(f"{_SYMBOLS.get(operation, operation)} {changes[operation]} {verb}", _COLORS[operation])
        for operation, verb in _VERBS.items()
        if changes.get(operation)
    ]
    parts += [f"{count} {operation}" for operation, count in changes.items() if operation not in _VERBS]
    return ", ".join(parts) or "nothing to do"

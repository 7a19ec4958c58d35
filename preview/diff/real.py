"""A prediction beside what a real `pulumi preview --json` says of the same stack.

They answer different questions: the prediction compares two revisions, the real preview compares the later one with
what the state holds. Where they differ, either the earlier revision is not what was deployed, or a rule is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from preview.diff.compare import Operation, StackChange
from preview.errors import Refused

_REAL: Final[Mapping[str, Operation]] = {
    "create": Operation.CREATE,
    "import": Operation.CREATE,
    "update": Operation.UPDATE,
    "delete": Operation.DELETE,
    "replace": Operation.REPLACE,
    "create-replacement": Operation.REPLACE,
    "delete-replaced": Operation.REPLACE,
}
"""Operations of pkg/resource/deploy/step.go in pulumi/pulumi; what is not here changes nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Beside:
    """One resource of which the two say different things; None is that it stays."""

    urn: str
    predicted: Operation | None
    real: Operation | None
    fields: tuple[str, ...] = ()
    """By the provider, the fields that replace it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reality:
    """How a prediction did."""

    agreed: int
    """Resources of which both say the same, and that do not stay."""
    different: tuple[Beside, ...]


def read_real(file: Path) -> Mapping[str, Any]:
    """Read the document of `pulumi preview --json`. Raises Refused where it is none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"is no JSON: {error}"
        raise Refused(f"--real {file}: {reason}\n    fix: pulumi preview --json --stack STACK > {file}") from error
    if not isinstance(found, dict) or not isinstance(found.get("steps", []), list):
        raise Refused(f"--real {file}: has no steps\n    fix: pulumi preview --json --stack STACK > {file}")
    return found


def beside(change: StackChange, document: Mapping[str, Any]) -> Reality:
    """Compare a prediction with the real preview of the same stack."""
    predicted: dict[str, Operation] = {
        one.urn: one.operation for one in change.changes if one.custom and one.operation is not Operation.RENAME
    }
    real: dict[str, Operation] = {}
    fields: dict[str, set[str]] = {}
    for step in document.get("steps", []):
        operation, state = _REAL.get(step.get("op")), step.get("newState") or step.get("oldState") or {}
        if operation is None or not state.get("custom"):
            continue
        urn = step["urn"]
        # A replacement is three steps; that it is one of them says the most.
        if real.get(urn) is not Operation.REPLACE:
            real[urn] = operation
        fields.setdefault(urn, set()).update(step.get("replaceReasons") or ())
    different = [
        Beside(
            urn=urn,
            predicted=predicted.get(urn),
            real=real.get(urn),
            fields=tuple(sorted(fields.get(urn, ()))),
        )
        for urn in sorted({*predicted, *real})
        if predicted.get(urn) is not real.get(urn)
    ]
    agreed = sum(operation is real.get(urn) for urn, operation in predicted.items())
    return Reality(agreed=agreed, different=tuple(different))

"""The policy pack in a child of its own, for a stack that was recorded before."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any

from preview.child import become_a_fresh_interpreter, project_lines
from preview.pack import judge_here

if TYPE_CHECKING:
    from preview.request import Judging


def execute(judging: Judging) -> dict[str, Any]:
    """Judge, and return what the pack says, or under `failure` why it does not."""
    project = judging.run.project
    become_a_fresh_interpreter(judging.run)
    try:
        return contextvars.Context().run(judge_here, project, judging.snapshot)
    except BaseException as error:  # noqa: BLE001 - whatever a pack raises is what a person has to read
        return {"failure": "\n".join([f"{type(error).__name__}: {error}", *project_lines(error, project.root)])}

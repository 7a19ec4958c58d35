"""What a program refuses only because a value is encrypted, which the offline preview does not read."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preview.project import StackConfig


def about_encrypted(refusal: Any, config: StackConfig) -> Any:
    """A program's refusal, with the cause named where it is about what stands for an encrypted value.

    A refusal has a `file` and `problems`, which are dataclasses with key, value, reason and fix; one without stays.
    """
    if not hasattr(refusal, "problems"):
        return refusal
    # Of one key one thing is enough: what else is said of it is about the stand-in as well.
    problems = {
        (problem.key, problem.reason): problem
        for problem in (_explained(problem, config) for problem in refusal.problems)
    }
    return type(refusal)(refusal.file, problems.values())


def _explained(problem: Any, config: StackConfig) -> Any:
    lists = {re.sub(r"\[\d+\]$", "", key) for key in config.encrypted}
    if problem.key not in config.encrypted | lists:
        return problem
    key = problem.key.removeprefix(f"{config.project}:")
    path = bool(re.search(r"[.\[]", key))
    option, quote = ("--path ", "'") if path else ("", "")
    return replace(
        problem,
        value=None,
        reason="is encrypted, so the offline preview cannot read it, and what stands for it is not accepted here",
        fix=f"keep it in clear, it is no secret: pulumi config set --stack {config.stack} {option}{quote}{key}{quote}"
        f" VALUE, or for this run only {'--config-path ' if path else ''}-c {quote}{key}=VALUE{quote}",
    )

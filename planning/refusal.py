"""The one way in which settings and planning say no: every problem at once, with its key, value, reason and fix."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong with a stack's settings.

    `key` is the full configuration path (`llmserve:models[0].gpu.type`), `value` what stands there as a person would
    write it (never a secret), `reason` why that cannot work, `fix` what to write or run instead.
    """

    key: str
    reason: str
    fix: str
    value: str | None = None

    def __str__(self) -> str:
        shown = "" if self.value is None else f" = {self.value}"
        return f"{self.key}{shown}\n    {self.reason}\n    fix: {self.fix}"


class Refusal(Exception):  # noqa: N818  (it is no error of the program)
    """A stack that must not be made. Raised once with all problems, before any resource is registered."""

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        """Take the stack file's name and its problems in the order in which a person should read them."""
        self.file = file
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__(
            "\n".join([f"{file}: {count}", *(f"  {problem}".replace("\n", "\n  ") for problem in self.problems)])
        )

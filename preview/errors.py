"""What a preview says when it cannot show a stack: one message for a person, one exit code, never a traceback."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `python -m preview`."""

    OK = 0
    PROGRAM_FAILED = 1
    REFUSED = 2
    SAYS_NO = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong with a file or an argument: where, why, and what to do instead.

    `value` is what stands there as a person would write it, never a secret.
    """

    key: str
    reason: str
    fix: str
    value: str | None = None

    def __str__(self) -> str:
        shown = "" if self.value is None else f" = {self.value}"
        return f"{self.key}{shown}\n    {self.reason}\n    fix: {self.fix}"


class PreviewError(Exception):
    """A stack that cannot be previewed; `str()` of it is the whole message."""

    exit_code = ExitCode.PROGRAM_FAILED


class SeveralFailed(PreviewError):  # noqa: N818 - says what happened
    """What is wrong with several stacks; the exit code is that of a refusal if one is refused."""

    def __init__(self, failures: Sequence[PreviewError]) -> None:
        """Join the messages in the order given."""
        super().__init__("\n\n".join(str(failure) for failure in failures))
        self.exit_code = max(failure.exit_code for failure in failures)


class Refused(PreviewError):  # noqa: N818 - says what happened
    """The call, the project's files, or the program's own checks say no."""

    exit_code = ExitCode.REFUSED


class InvalidFile(Refused):
    """A project or stack file that the engine would not accept, with all of its problems at once."""

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        """Take the file's name and its problems in the order in which a person should read them."""
        self.file = file
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problem{'' if len(self.problems) == 1 else 's'}"
        super().__init__("\n".join([f"{file}: {count}", *(f"  {p}".replace("\n", "\n  ") for p in self.problems)]))


class ProgramFailed(PreviewError):  # noqa: N818 - says what happened
    """The program raised, crashed or hung; the message holds the reader's own line and nothing of the machinery."""

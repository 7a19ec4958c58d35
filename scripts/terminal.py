"""How the scripts talk to a person: plain lines, one clear message when they stop, no traceback."""

import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from planning.refusal import Refusal
from preview.errors import PreviewError


class OperationError(Exception):
    """The command cannot go on for a reason outside the settings; the text says what to do about it."""


def say(text: str = "") -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def shown(command: Sequence[str]) -> str:
    """A command as a person would type it."""
    return shlex.join(command)


def answer_of(command: Sequence[str], environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command that must not ask anything and return its output and exit code."""
    return subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def run(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Run a script's main: exit 2 with one message where it refuses, 130 after ctrl-C."""
    try:
        sys.exit(main(sys.argv[1:]))
    except (OperationError, PreviewError, Refusal) as reason:
        print(f"error: {reason}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)

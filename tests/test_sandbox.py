"""`.ci/sandbox` with the real unshare: what a pull request's program can do in it, beside what it could do outside."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.recording import ROOT

SANDBOX = ROOT / ".ci" / "sandbox"
PYTHON = str(Path("/usr/bin/python3")) if Path("/usr/bin/python3").exists() else sys.executable
"""One that the sandbox reaches whoever owns the folder."""

LOOK = """
import json, os, pathlib, socket, sys
def attempt(action):
    try:
        return str(action())
    except OSError as error:
        return type(error).__name__
status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
print(json.dumps({
    "network": attempt(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])), 2).close()),
    "environment": sorted(os.environ),
    "outside": attempt(lambda: pathlib.Path(sys.argv[2]).write_text("changed")),
    "inside": attempt(lambda: pathlib.Path("program.py").write_text("changed")),
    "temporary": attempt(lambda: pathlib.Path(os.environ["TMPDIR"], "probe").write_text("")),
    "processes": sum(name.isdigit() for name in os.listdir("/proc")),
    "sockets": sorted(str(path) for path in pathlib.Path("/run").rglob("*") if path.is_socket()),
    "capabilities": [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh")],
    "no new privileges": int(status["NoNewPrivs"]),
    "groups": status["Groups"].split(),
    "user": os.getuid(),
}))
"""


def can_sandbox() -> bool:
    """Whether this machine lets us; asked without the sandbox, so that a broken one is no reason to skip."""
    as_root = [] if os.getuid() == 0 else ["sudo", "--non-interactive"]
    command = [*as_root, "unshare", "--net", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/run"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


pytestmark = pytest.mark.skipif(
    not can_sandbox(), reason="this machine lets us make no namespaces: be root, or have sudo without a password"
)


@pytest.fixture
def port() -> Iterator[int]:
    """A port of this machine that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout with one file, beside a file that is none of the program's business."""
    made = tmp_path / "check out"
    made.mkdir()
    (made / "program.py").write_text("original", encoding="utf-8")
    (tmp_path / "outside").write_text("original", encoding="utf-8")
    return made


def look(folder: Path, port: int, *before: str | Path) -> dict[str, object]:
    command: list[str | Path] = [*before, PYTHON, "-c", LOOK, str(port), str(folder.parent / "outside")]
    environment = {**os.environ, "A_TOKEN": "secret", "TMPDIR": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    seen: dict[str, object] = json.loads(done.stdout)
    return seen


def test_nothing_goes_in_or_out(folder: Path, port: int) -> None:
    # A group to lose, such as Docker's.
    in_a_group = ["setpriv", "--groups", "4242"] if os.getuid() == 0 else []
    seen = look(folder, port, *in_a_group, SANDBOX)
    assert seen["network"] == "OSError"
    assert seen["environment"] == ["HOME", "LANG", "PATH", "PULUMI_ERROR_OUTPUT_STRING", "TMPDIR"]
    assert seen["outside"] == "OSError"
    assert seen["capabilities"] == [0, 0, 0, 0]
    assert (seen["no new privileges"], seen["groups"], seen["sockets"]) == (1, [], [])
    # `timeout` and the program.
    assert seen["processes"] == 2
    assert seen["user"] == folder.stat().st_uid
    # What it may write is gone.
    assert (seen["inside"], seen["temporary"]) == ("7", "0")
    assert (folder / "program.py").read_text(encoding="utf-8") == "original"
    assert (folder.parent / "outside").read_text(encoding="utf-8") == "original"


def test_outside_of_it_the_same_program_could(folder: Path, port: int) -> None:
    """Else the test above would pass on a machine where nothing works."""
    seen = look(folder, port)
    assert (seen["network"], seen["outside"], seen["inside"]) == ("None", "7", "7")
    assert "A_TOKEN" in seen["environment"]  # type: ignore[operator]
    assert (folder.parent / "outside").read_text(encoding="utf-8") == "changed"


def test_exit_code_and_both_outputs_are_the_commands_own(folder: Path) -> None:
    command = [str(SANDBOX), "sh", "-c", 'echo "$1"; echo no >&2; exit 3', "sh", "two words"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "two words\n", "no\n")


def test_git_reads_the_repository_and_the_program_may_make_worktrees(folder: Path) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run([*git, "init", "--quiet"], cwd=folder, check=True)
    subprocess.run([*git, "add", "."], cwd=folder, check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "one"], cwd=folder, check=True)
    script = 'git worktree add --quiet "$TMPDIR/base" HEAD && cat "$TMPDIR/base/program.py"'
    command = [str(SANDBOX), "sh", "-c", script]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "original"), done.stderr
    listed = subprocess.run([*git, "worktree", "list"], cwd=folder, capture_output=True, text=True, check=True)
    assert len(listed.stdout.splitlines()) == 1

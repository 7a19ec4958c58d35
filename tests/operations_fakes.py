"""Programs on PATH that note how they were called and answer as they were told."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from scripts import terminal

REPOSITORY = Path(__file__).parent.parent
SENTINEL = "a-secret-that-belongs-in-no-command"

PROGRAM = """
    import json, os, pathlib, signal, sys
    here = pathlib.Path(__file__)
    directory, name = here.parent.parent, here.name

    def note(*words):
        with (directory / "calls").open("a") as calls:
            calls.write(json.dumps([name, *words]) + "\\n")

    note(*sys.argv[1:])
    (directory / f"{name}.environment").write_text(json.dumps(dict(os.environ)))
    for answer in json.loads((directory / f"{name}.json").read_text()):
        if answer["to"] in " ".join(sys.argv[1:]):
            print(answer["stdout"], end="", flush=True)
            print(answer["stderr"], end="", file=sys.stderr, flush=True)
            if answer["stays"]:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                signal.signal(signal.SIGTERM, lambda *_: (note("was ended"), sys.exit(0)))
                while True:
                    signal.pause()
            sys.exit(answer["code"])
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a fake says to a command line that contains `to`; `stays` keeps it running until it is ended."""

    to: str = ""
    stdout: str = ""
    stderr: str = ""
    code: int = 0
    stays: bool = False


class Fakes:
    """A directory of fake programs, the only thing on PATH."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "bin"
        self.path.mkdir(parents=True)

    def add(self, name: str, *answers: Answer) -> None:
        program = self.path / name
        # In one step each: a script may be running the program while a test changes its answers.
        known = self.directory / f"{name}.json"
        _replace(known, json.dumps([asdict(answer) for answer in answers]), mode=0o644)
        _replace(program, f"#!{sys.executable} -IS\n{textwrap.dedent(PROGRAM)}", mode=0o755)

    def calls(self) -> list[list[str]]:
        """Every call so far in order, program and arguments; no secret is in any of them."""
        log = self.directory / "calls"
        text = log.read_text(encoding="utf-8") if log.exists() else ""
        assert SENTINEL not in text
        return [json.loads(line) for line in text.splitlines()]

    def environment_of(self, name: str) -> dict[str, str]:
        """The environment of a program's last call."""
        found: dict[str, str] = json.loads((self.directory / f"{name}.environment").read_text(encoding="utf-8"))
        return found


def _replace(file: Path, text: str, *, mode: int) -> None:
    new = file.with_name(f".{file.name}.new")
    new.write_text(text, encoding="utf-8")
    new.chmod(mode)
    new.replace(file)


def write_project(directory: Path, *, project: str = "acme-llm", protected: bool = True, more: str = "") -> None:
    """A project with one stack, `prod`, whose offline preview notes its call and passes."""
    directory.mkdir(exist_ok=True)
    (directory / "Pulumi.yaml").write_text(
        "name: llmserve\nruntime: python\nconfig:\n"
        "  deletionProtection: {type: boolean, default: true}\n"
        "  huggingFaceTokenFrom: {type: string, default: secret-manager}\n"
        "  huggingFaceTokenSecret: {type: string, default: hugging-face-token}\n",
        encoding="utf-8",
    )
    (directory / "Pulumi.prod.yaml").write_text(
        f"config:\n  gcp:project: {project}\n  gcp:region: us-central1\n"
        f"  llmserve:deletionProtection: {str(protected).lower()}\n{more}",
        encoding="utf-8",
    )
    (directory / "__main__.py").touch()
    (directory / "preview.py").write_text(
        "import os, pathlib, sys\n"
        "pathlib.Path('previewed').write_text(' '.join(sys.argv[1:]))\n"
        "print('the tree')\n"
        "sys.exit(int(os.environ.get('PREVIEW_CODE', '0')))\n",
        encoding="utf-8",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """How a script ended, and what it and its children wrote."""

    code: int
    out: str
    err: str


class Shell:
    """Runs a script in this process, in a project's directory, with the fakes as the only programs.

    Programs that the script would become are run instead, and their exit code is its own.
    """

    def __init__(self, fakes: Fakes, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.fakes = fakes
        self.project = fakes.directory.parent / "project"
        write_project(self.project)
        self._monkeypatch = monkeypatch
        self._capfd = capfd
        monkeypatch.chdir(self.project)
        for name in set(os.environ) - {"PYTEST_CURRENT_TEST"}:
            monkeypatch.delenv(name)
        monkeypatch.setenv("PATH", str(fakes.path))
        monkeypatch.setenv("HOME", str(fakes.directory))
        monkeypatch.setattr(os, "execvpe", self._become)

    def run(self, main: Callable[[Sequence[str]], int], *arguments: str, **environment: str) -> Finished:
        for name, value in environment.items():
            self._monkeypatch.setenv(name, value)
        self._monkeypatch.setattr(sys, "argv", ["script", *arguments])
        with pytest.raises(SystemExit) as ended:
            terminal.run(main)
        written = self._capfd.readouterr()
        assert SENTINEL not in written.out + written.err
        assert isinstance(ended.value.code, int)
        return Finished(code=ended.value.code, out=written.out, err=written.err)

    def _become(self, program: str, command: Sequence[str], environment: dict[str, str]) -> int:
        assert Path(program).name == Path(command[0]).name
        return subprocess.run(command, env=environment, check=False).returncode


def tool(name: str) -> str | None:
    """Where a program of this machine is."""
    return next(
        (str(Path(place) / name) for place in os.defpath.split(":") if os.access(Path(place) / name, os.X_OK)),
        None,
    )

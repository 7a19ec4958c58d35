import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.operations_fakes import REPOSITORY, Answer, Fakes, tool

MAKE = tool("make")
pytestmark = pytest.mark.skipif(MAKE is None, reason="make is absent: install GNU make 3.81 or newer")

MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
TARGETS = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split()  # type: ignore[index]

# What `-c` asks is answered by the Python that runs these tests, as if it were of that version.
PYTHON = """#!/bin/sh
echo "$(basename "$0") $*" >> "{log}"
case "$*" in
    -c*) exec "{real}" -I -c "import sys; sys.version_info = {version}; {more}
$2" ;;
    --version) echo "Python {shown}" ;;
    "-m venv "*) echo noise; mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    *"pip install"*) echo noise ;;
esac
"""


class Machine:
    """A fresh clone on a machine with the tools of any system, and the Pythons that were put there."""

    def __init__(self, directory: Path) -> None:
        self.clone = directory / "clone"
        self.path = directory / "bin"
        self.log = directory / "calls"
        self.path.mkdir()
        (self.clone / "scripts").mkdir(parents=True)
        for name in ("Makefile", "requirements.txt", "requirements-dev.txt", "scripts/make_venv.sh"):
            shutil.copy(REPOSITORY / name, self.clone / name)
        for name in ("sh", "awk", "basename", "cp", "mkdir", "touch", "rm", "find"):
            (self.path / name).symlink_to(tool(name) or "")

    def python(self, name: str, *version: int, venv: bool = True) -> None:
        program = self.path / name
        more = "" if venv else "sys.modules['ensurepip'] = None"
        shown = ".".join(map(str, version))
        text = PYTHON.format(log=self.log, real=sys.executable, version=version, shown=shown, more=more)
        program.write_text(text)
        program.chmod(0o755)

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        assert MAKE is not None
        environment = {"PATH": str(self.path)}
        command = [MAKE, *arguments]
        return subprocess.run(command, cwd=self.clone, env=environment, capture_output=True, text=True, check=False)

    def calls(self, containing: str) -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in lines if containing in line]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_help_is_the_default_and_lists_every_target(machine: Machine) -> None:
    finished = machine.make()
    assert re.findall(r"^  make (\S+) +\S", finished.stdout, re.MULTILINE) == TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_no_target_reads_a_variable_that_nobody_set(machine: Machine, target: str) -> None:
    finished = machine.make("--dry-run", "--warn-undefined-variables", target, "STACK=dev")
    assert (finished.returncode, finished.stderr) == (0, "")


@pytest.mark.parametrize("target", ["up", "destroy", "smoke", "bootstrap"])
def test_what_touches_a_cloud_needs_its_stack_named(machine: Machine, target: str) -> None:
    (machine.clone / "Pulumi.dev.yaml").touch()
    finished = machine.make(target)
    assert finished.returncode == 2
    assert f"`make {target}` needs a stack: make {target} STACK=... (there are: dev)" in finished.stderr
    assert machine.calls("") == []


def test_preview_sets_itself_up_once(machine: Machine) -> None:
    machine.python("python3", 3, 11, 0)
    first = machine.make("preview")
    assert first.returncode == 0, first.stderr
    assert "about a minute" in first.stderr
    second = machine.make("preview", "STACK=dev", "ARGS=--format json")
    # Nothing but the preview's own output is on standard output, so that it can be redirected.
    assert (first.stdout, second.stdout, second.stderr) == ("", "", "")
    assert len(machine.calls("-m venv")) == 1
    assert [line.split()[-2:] for line in machine.calls("pip install")] == [["-r", "requirements.txt"]]
    assert machine.calls("-m preview") == ["python -m preview prod", "python -m preview dev --format json"]


def test_changed_requirements_are_installed_again(machine: Machine) -> None:
    machine.python("python3", 3, 11, 0)
    machine.make("test")
    os.utime(machine.clone / "requirements.txt", (2e9, 2e9))
    machine.make("test")
    installed = [line.split()[-1] for line in machine.calls("pip install")]
    assert installed == ["requirements.txt", "requirements-dev.txt"] * 2
    assert len(machine.calls("-m pytest")) == 2


def test_an_install_that_fails_is_tried_again(machine: Machine) -> None:
    machine.python("python3", 3, 11, 0)
    machine.make("setup")
    (machine.clone / ".venv" / "runtime.stamp").unlink()
    (machine.clone / ".venv" / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")
    finished = machine.make("preview")
    assert finished.returncode == 2
    assert not (machine.clone / ".venv" / "runtime.stamp").exists()


def test_a_newer_python_is_found_beside_an_old_one(machine: Machine) -> None:
    machine.python("python3", 3, 9, 6)
    machine.python("python3.12", 3, 12, 1)
    finished = machine.make("preview")
    assert finished.returncode == 0, finished.stderr
    assert machine.calls("-m venv") == ["python3.12 -m venv --clear .venv"]


def test_an_old_python_is_refused_by_name(machine: Machine) -> None:
    machine.python("python3", 3, 9, 6)
    finished = machine.make("preview")
    assert finished.returncode == 2
    assert "Python 3.11 or newer is needed" in finished.stderr
    assert "python3: Python 3.9.6" in finished.stderr
    assert "Installing" not in finished.stderr
    assert not (machine.clone / ".venv").exists()


def test_the_python_that_was_named_is_the_only_one_tried(machine: Machine) -> None:
    machine.python("python3", 3, 11, 0)
    machine.python("mine", 3, 10, 1)
    finished = machine.make("preview", "PYTHON=mine")
    assert finished.returncode == 2
    assert "mine: Python 3.10.1" in finished.stderr
    assert not machine.calls("-m venv")


def test_a_missing_venv_module_names_the_package(machine: Machine) -> None:
    machine.python("python3", 3, 11, 2, venv=False)
    finished = machine.make("preview")
    assert finished.returncode == 2
    assert "python3-venv" in finished.stderr
    assert "Installing" not in finished.stderr
    assert not (machine.clone / ".venv").exists()


def test_clean_keeps_the_state_of_a_local_stack(machine: Machine) -> None:
    for name in (".venv", ".mypy_cache", "scripts/__pycache__", ".pulumi-local"):
        (machine.clone / name).mkdir()
    assert machine.make("clean").returncode == 0
    left = {file.name for file in machine.clone.rglob("*")}
    assert {".venv", ".mypy_cache", "__pycache__"} & left == set()
    assert ".pulumi-local" in left


CI = REPOSITORY / ".ci" / "run"
BASH = tool("bash") or ""
SUMMARY = "=== 12 passed, 1 skipped in 3.21s ==="


def run_ci(tmp_path: Path, *answers: Answer) -> tuple[subprocess.CompletedProcess[str], list[list[str]]]:
    fakes = Fakes(tmp_path / "fakes")
    fakes.add("make", *answers, Answer(to="test", stdout=f"...\n{SUMMARY}\n"), Answer(to="preview", stdout="tree\n"))
    for name in ("dirname", "mktemp", "rm", "tail", "tee"):
        (fakes.path / name).symlink_to(tool(name) or "")
    environment = {"PATH": str(fakes.path)}
    finished = subprocess.run([BASH, str(CI)], env=environment, capture_output=True, text=True, check=False)
    return finished, fakes.calls()


@pytest.mark.skipif(not BASH, reason="bash is absent, .ci/run is written for it: install bash")
def test_ci_runs_everything_and_ends_with_the_counts(tmp_path: Path) -> None:
    finished, calls = run_ci(tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert calls == [["make", "check"], ["make", "test"], ["make", "preview", "STACK=prod"]]
    assert finished.stdout.splitlines()[-1] == f"tests: {SUMMARY}"


@pytest.mark.skipif(not BASH, reason="bash is absent, .ci/run is written for it: install bash")
@pytest.mark.parametrize(("failing", "after"), [("check", 1), ("test", 2), ("preview", 3)])
def test_ci_stops_at_the_first_failure(tmp_path: Path, failing: str, after: int) -> None:
    finished, calls = run_ci(tmp_path, Answer(to=failing, code=2))
    assert (finished.returncode, len(calls)) == (2, after)


@pytest.mark.parametrize("script", [CI, REPOSITORY / "scripts" / "make_venv.sh"], ids=lambda script: script.name)
def test_shell_scripts_are_sound(script: Path) -> None:
    assert os.access(script, os.X_OK)
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is absent: https://www.shellcheck.net")
    subprocess.run([shellcheck, script], check=True)

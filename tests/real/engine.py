"""Runs the real engine on a copy of the project, with its state in a local folder and a cloud in memory."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from tests.real.programs import need
from tests.real.stand_in import Cloud

REPOSITORY = Path(__file__).parent.parent.parent
PASSPHRASE = "a passphrase of the tests' own"  # noqa: S105 - it guards made-up secrets

_LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "tests", "docs", "bench")
_POLICY_REQUESTS = """
import json, sys, preview
from google.protobuf.json_format import MessageToDict
from preview import pack
snapshot = preview.record(".", sys.argv[1])
by_urn = {resource.urn: resource for resource in snapshot.resources}
print(json.dumps([MessageToDict(pack.request_of(resource, by_urn)) for resource in snapshot.resources]))
"""
_COMPONENT_OUTPUTS = """
import json, sys, preview
from preview.values import UNKNOWN_SENTINEL, plain
snapshot = preview.record(".", sys.argv[1])
print(json.dumps({
    resource.urn: plain(dict(resource.outputs), unknown=UNKNOWN_SENTINEL)
    for resource in snapshot.resources if resource.registered
}))
"""


class Engine:
    """One project folder, one backend; each stack of the project can be made in it."""

    def __init__(self, folder: Path, attach: str, *programs: Path, source: Path = REPOSITORY) -> None:
        """Copy the project into the folder. `attach` names the packages whose providers are stand-ins.

        Of the programs of this machine, pulumi finds its language host and those given here, and no other provider.
        """
        self.project = folder / "project"
        pulumi, language = need("pulumi"), need("pulumi-language-python")
        self.path = folder / "bin"
        self.path.mkdir()
        for program in (pulumi, language, language.with_name(f"{language.name}-exec"), *programs):
            (self.path / program.name).symlink_to(program.resolve())
        shutil.copytree(source, self.project, ignore=_LEFT_OUT)
        (self.project / ".venv").symlink_to(sys.prefix)
        self.state_folder = folder / "state"
        self.state_folder.mkdir()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PULUMI_")},
            "PATH": f"{self.path}:{os.defpath}",
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_BACKEND_URL": f"file://{self.state_folder}",
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_DEBUG_PROVIDERS": attach,
        }
        self._log = folder / "requests.log"

    def stacks(self) -> list[str]:
        """Every stack that the project has a file for."""
        return sorted(file.name.split(".")[1] for file in self.project.glob("Pulumi.*.yaml"))

    def settings(self, stack: str, changes: Mapping[str, Any]) -> None:
        """Change settings of a stack by full key, in its file; None removes one."""
        file = self.project / f"Pulumi.{stack}.yaml"
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        for key, value in changes.items():
            content["config"].pop(key, None)
            if value is not None:
                content["config"][key] = value
        file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    def setting(self, stack: str, key: str) -> Any:
        """A setting as the stack's file has it."""
        return yaml.safe_load((self.project / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))["config"][key]

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start pulumi in a process group of its own, so that it can be killed with all that it started."""
        return subprocess.Popen(
            [self.path / "pulumi", *arguments, "--non-interactive"],
            cwd=self.project,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run pulumi to its end, which must be with this exit code; all that it started ends with it."""
        process = self.start(*arguments, **environment)
        try:
            out, error = process.communicate(timeout=120)
        finally:
            end_group(process, signal.SIGKILL)
            process.communicate()
        assert process.returncode == code or (code and process.returncode), f"{arguments}:\n{out}\n{error}"
        return subprocess.CompletedProcess(arguments, process.returncode, out, error)

    def make(self, stack: str) -> None:
        """Make an empty stack."""
        self.run("stack", "init", stack)

    def preview(self, stack: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """`pulumi preview --json`: its document, and every request of the program with the engine's answer."""
        self._log.unlink(missing_ok=True)
        shown = self.run("preview", "--json", "--stack", stack, PULUMI_DEBUG_GRPC=str(self._log))
        with self._log.open(encoding="utf-8") as lines:
            entries = [json.loads(line) for line in lines if '"progress":"response_completed"' in line]
        return json.loads(shown.stdout), entries

    def policies(self, stack: str, *, code: int) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
        """`pulumi preview --policy-pack policy`: what the pack says, and what it was asked about each resource."""
        log = self._log.with_name("events.log")
        for file in (log, self._log):
            file.unlink(missing_ok=True)
        arguments = ("preview", "--stack", stack, "--policy-pack", "policy", "--event-log", str(log))
        self.run(*arguments, code=code, PULUMI_DEBUG_COMMANDS="true", PULUMI_DEBUG_GRPC=str(self._log))
        with log.open(encoding="utf-8") as lines:
            events = [json.loads(line) for line in lines]
        with self._log.open(encoding="utf-8") as lines:
            entries = [json.loads(line) for line in lines if '"/pulumirpc.Analyzer/Analyze"' in line]
        asked = [entry["request"] for entry in entries if entry["progress"] == "response_completed"]
        return [event["policyEvent"] for event in events if "policyEvent" in event], asked

    def up(self, stack: str) -> None:
        """`pulumi up` without its preview."""
        self.run("up", "--yes", "--skip-preview", "--stack", stack)

    def mend_state(self, stack: str) -> bool:
        """Take the last whole state where the engine was killed while it wrote one into its local folder.

        The engine writes each state to the file after it has copied the one before to `.bak`, and begins no operation
        before the state that announces it is written: so the copy knows of all that was begun. What it notes beside
        the file it may have left empty as well, and then reads neither.
        """
        [file] = self.state_folder.rglob(f"stacks/*/{stack}.json")
        notes = file.with_name(f"{file.name}.attrs")
        if notes.exists() and not notes.stat().st_size:
            notes.unlink()
            return True
        try:
            json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            shutil.copy(file.with_name(f"{file.name}.bak"), file)
            return True
        return False

    def state(self, stack: str) -> dict[str, Any]:
        """`pulumi stack export`: what the engine believes to exist."""
        found: dict[str, Any] = json.loads(self.run("stack", "export", "--stack", stack).stdout)["deployment"]
        return found

    def offline(self, stack: str) -> dict[str, Any]:
        """The offline preview's document for the same files."""
        found: dict[str, Any] = json.loads(self._python("-m", "preview", stack, "--format", "json").stdout)
        return found

    def offline_cost(self, stack: str, *arguments: str) -> dict[str, Any]:
        """What the offline preview says that a stack costs."""
        shown = self._python("-m", "preview", stack, "--cost", "--format", "json", *arguments)
        found: dict[str, Any] = json.loads(shown.stdout)["cost"]
        return found

    def offline_policies(self, stack: str, *, code: int) -> list[dict[str, str]]:
        """What the offline preview says of the policies."""
        shown = self._python("-m", "preview", stack, "--policy", "--format", "json", code=code)
        found: list[dict[str, str]] = json.loads(shown.stdout)["policies"]
        return found

    def offline_policy_requests(self, stack: str) -> list[dict[str, Any]]:
        """What the offline preview asks the pack about each resource."""
        found: list[dict[str, Any]] = json.loads(self._python("-c", _POLICY_REQUESTS, stack).stdout)
        return found

    def offline_refusal(self, stack: str) -> str:
        """What the offline preview says of a stack that it refuses."""
        return self._python("-m", "preview", stack, code=2).stderr

    def offline_outputs(self, stack: str) -> dict[str, Any]:
        """Outputs of every component and of the stack by URN, as the offline preview has them."""
        found: dict[str, Any] = json.loads(self._python("-c", _COMPONENT_OUTPUTS, stack).stdout)
        return found

    def _python(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.project,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done


def end_group(process: subprocess.Popen[str], how: signal.Signals) -> None:
    """Send a signal to a process that `Engine.start` started; SIGKILL also to all that it started.

    A provider is in a process group of its own and would go on with its operation, so the whole session is killed.
    """
    with suppress(ProcessLookupError):
        os.killpg(process.pid, how)
    if how is not signal.SIGKILL:
        return
    listed = subprocess.run(["ps", "-A", "-o", "pid=,sess="], capture_output=True, text=True, check=True).stdout
    for pid, session in (line.split() for line in listed.splitlines()):
        if session == str(process.pid):
            with suppress(ProcessLookupError):
                os.kill(int(pid), how)


def forgotten(cloud: Cloud, state: Mapping[str, Any]) -> set[str]:
    """URNs of resources that exist and that the engine does not know, or knows under another id."""
    known = {(resource["urn"], resource.get("id", "")) for resource in state.get("resources", [])}
    return {found.urn for place, found in cloud.existing.items() if (found.urn, place.id) not in known}


def imagined(cloud: Cloud, state: Mapping[str, Any]) -> set[str]:
    """URNs of resources that the engine believes to exist, and that do not."""
    there = {(found.urn, place.id) for place, found in cloud.existing.items()}
    return {
        resource["urn"]
        for resource in state.get("resources", [])
        if resource.get("custom") and "pulumi:providers:" not in resource["urn"]
        if (resource["urn"], resource["id"]) not in there
    }

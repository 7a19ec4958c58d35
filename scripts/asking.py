"""How `make doctor` asks Google Cloud, and what comes of a question."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from planning.advice import EXAMPLE_PROJECT
from planning.plan import Plan

TIMEOUT_SECONDS = 60
# gcloud keeps a log of its own, which must hold no answer.
QUIET = {"CLOUDSDK_CORE_DISABLE_PROMPTS": "1", "CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "1"}


class Verdict(StrEnum):
    """What came of a question."""

    OK = "ok"
    PROBLEM = "problem"
    NOT_ASKED = "could not ask"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One answer in words; a problem has a fix."""

    verdict: Verdict
    text: str
    fix: str | None = None


def ok(text: str) -> Outcome:
    """Nothing to do."""
    return Outcome(verdict=Verdict.OK, text=text)


def problem(text: str, fix: str) -> Outcome:
    """Something that `make up`, or a model after it, would fail on."""
    return Outcome(verdict=Verdict.PROBLEM, text=text, fix=fix)


def not_asked(text: str) -> Outcome:
    """Nobody knows."""
    return Outcome(verdict=Verdict.NOT_ASKED, text=text)


class NotAsked(Exception):  # noqa: N818  (it is no error, but an answer that is missing)
    """A question without an answer; the text says why, and holds nothing secret."""


def output_of(*command: str) -> str:
    """Return what a program prints, which may be a secret. Raises NotAsked with one line of its complaint."""
    try:
        answered = subprocess.run(
            command,
            env=os.environ | QUIET,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotAsked(f"{command[0]} gave no answer within {TIMEOUT_SECONDS:g} seconds") from None
    except OSError as error:
        raise NotAsked(f"{command[0]} cannot be run: {error.strerror}") from None
    if answered.returncode != 0:
        lines = [line.strip() for line in answered.stderr.splitlines() if line.strip()] or ["it failed"]
        complaint = next((line for line in lines if line.startswith("ERROR:")), lines[0])
        raise NotAsked(re.sub(r"^ERROR: (\(gcloud[^)]*\) )?", "", complaint))
    return answered.stdout


def gcloud(*words: str) -> str:
    """Run gcloud, which must not ask anything itself, and return its output. Raises NotAsked."""
    if shutil.which("gcloud") is None:
        raise NotAsked("gcloud is not on PATH")
    return output_of("gcloud", *words, "--quiet")


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A stack's plan, and the Google Cloud project that it would be made in."""

    name: str
    """The stack's."""
    plan: Plan
    pulumi_versions: str
    """The versions of pulumi that Pulumi.yaml allows, such as `>=3.200.0 <4.0.0`; empty allows all."""

    @property
    def project(self) -> str:
        """The project's id."""
        return self.plan.stack.project

    @property
    def region(self) -> str:
        """The region of everything."""
        return self.plan.stack.region

    def read(self, *words: str) -> str:
        """Run gcloud for the project and return its output. Raises NotAsked."""
        if self.project == EXAMPLE_PROJECT:
            raise NotAsked(f"gcp:project is {EXAMPLE_PROJECT}, which is nobody's")
        return gcloud(*words, f"--project={self.project}")

    def ask(self, *words: str) -> Any:
        """Run gcloud for the project and return its answer as JSON. Raises NotAsked, ValueError where it is none."""
        return json.loads(self.read(*words, "--format=json"))

    def clusters(self) -> list[dict[str, Any]]:
        """Find the stack's own cluster, if it was made already. Raises NotAsked."""
        here = (f"--region={self.region}", f"--filter=name={self.plan.stack.name}")
        found: list[dict[str, Any]] = self.ask("container", "clusters", "list", *here)
        return found


def last(url: str) -> str:
    """The name at the end of a resource's URL."""
    return url.rpartition("/")[2]

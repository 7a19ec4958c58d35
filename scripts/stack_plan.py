"""A stack's plan, read and decided as `__main__.py` does, for scripts that need more than a few settings."""

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pulumi

import settings
from planning.cost.recorded import Recorded, recorded
from planning.plan import Plan
from planning.refusal import Refusal
from preview.document import document
from preview.encrypted import about_encrypted
from preview.project import Project, load_project, load_stack
from preview.run import record


@dataclass(frozen=True, kw_only=True, slots=True)
class StackPlan:
    """The plan of one stack of the project in the working directory."""

    project: Project
    plan: Plan


def read_plan(stack: str) -> StackPlan:
    """Read and plan a stack.

    Raises PreviewError for a file that the engine would not take, Refusal for a stack that is refused.
    """
    project = load_project(Path())
    merged = load_stack(project, stack)
    os.environ["PULUMI_CONFIG"] = json.dumps(dict(merged.values))
    os.environ["PULUMI_CONFIG_SECRET_KEYS"] = json.dumps(sorted(merged.secret_keys))
    pulumi.runtime.configure(pulumi.runtime.Settings(project=project.name, stack=stack))
    try:
        return StackPlan(project=project, plan=load_settings().plan())
    except Refusal as refusal:
        raise about_encrypted(refusal, merged) from refusal


def read_resources(stack: str) -> tuple[Recorded, ...]:
    """Run the program as a preview does, and give what it makes. Raises PreviewError as `preview.record` does."""
    steps = document(record(Path(), stack))["steps"]
    return recorded([step["newState"] for step in steps])


def load_settings() -> settings.Settings:
    """Read the settings outside of a Pulumi program.

    A token in them becomes an Output, which asks for an event loop: Pulumi runs a program in one, and Python 3.14 makes
    none unasked any more (https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.get_event_loop).
    """

    async def load() -> settings.Settings:
        return settings.load()

    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(load())
    finally:
        loop.close()

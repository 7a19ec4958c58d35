"""What a preview asks a child process for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from preview.project import Project, StackConfig

if TYPE_CHECKING:
    from preview.snapshot import Snapshot

Fixtures = Mapping[str, Mapping[str, Any]]
"""Answers of providers: by function token for invokes and calls, by type token for resources that are read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What to run and how.

    `preview` False simulates an update: nothing is unknown. `placeholders` fills computed properties with
    readable stand-ins, so that `apply` bodies run although it is a preview. `explain` asks the program for its own
    account of itself: the text that a function `explain()` of its main file returns. `cost` asks it for a price: the
    JSON that its function `cost(states, simulation)` makes of the recorded resources, as `preview.document` writes
    them, and of `simulation`, the content of a file; where it is `optional`, a program without that function has no
    price. `policy` asks the project's policy pack for its verdict. `organization` is what `pulumi.get_organization()`
    says.
    """

    project: Project
    config: StackConfig
    preview: bool = True
    placeholders: bool = False
    fixtures: Fixtures = field(default_factory=dict)
    list_modules: bool = False
    explain: bool = False
    cost: bool = False
    policy: bool = False
    simulation: Any = None
    optional: bool = False
    organization: str = "organization"


@dataclass(frozen=True, kw_only=True, slots=True)
class Judging:
    """A recorded stack, for the policy pack of a project to judge; `run` is how the stack would be run."""

    run: Run
    snapshot: Snapshot

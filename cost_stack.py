"""What a stack with `costOf` exports: what another stack costs, as it is and bought in other ways. It makes nothing.

The other stack's program is run by the offline preview in a child process that has none of this one's environment: no
credential, no passphrase, no configuration. It is the only place that starts a preview from within a program.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pulumi

from planning.refusal import Problem, Refusal
from settings import CostSettings

ROOT: Final = Path(__file__).parent
WITHIN: Final = "LLMSERVE_COST_OF"
"""Set for the child: a stack that tells what another costs has no price of its own, and two could ask each other."""
ENVIRONMENT: Final = {"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", WITHIN: "1"}
"""All that the child knows of its surroundings."""
SECONDS: Final = 300
ABOUT: Final = "It makes nothing: its outputs tell what another stack costs."


def export(settings: CostSettings) -> None:
    """Make it this stack's outputs. Raises Refusal where the other stack cannot be priced."""
    for name, value in outputs(settings).items():
        pulumi.export(name, value)


def outputs(settings: CostSettings) -> dict[str, Any]:
    """Price the other stack and compare. Raises Refusal where it cannot be previewed."""
    found = recorded_cost(settings)
    chosen, declared = found["capacities"][settings.capacity], found["monthly"]
    return {
        "costOf": settings.cost_of,
        "currency": found["currency"],
        "prices": found["prices"],
        "region": found["region"],
        "declared": {"capacity": found["capacity"], "monthly": declared},
        "chosen": {"capacity": str(settings.capacity), "monthly": chosen},
        "difference": {case: round(chosen[case] - declared[case], 2) for case in declared},
        "alwaysOn": found["alwaysOn"],
        "platform": found["platform"],
        "models": {model["model"]: model["usd"] for model in found["models"]},
        "comparison": {
            way["way"]: {"alwaysOn": way["alwaysOn"], "autoscaled": way["autoscaled"]} for way in found["comparison"]
        },
        "breakEvens": [f"{one['model']}: {one['what']}: {one['told']}" for one in found["breakEvens"]],
        "regions": {one["region"]: one["machinesAndDisks"] for one in found["regions"]},
        "unpriced": [one["what"] for one in found["unpriced"]],
    }


def recorded_cost(settings: CostSettings) -> dict[str, Any]:
    """Record the other stack and return the `cost` of its document. Raises Refusal where that fails."""
    if WITHIN in os.environ:
        problem = Problem(
            key="llmserve:costOf",
            value=settings.cost_of,
            reason="makes this a stack without a price of its own, and another one asks for it",
            fix="name a stack with models in that one",
        )
        raise Refusal(settings.file, [problem])
    command = [sys.executable, "-m", "preview", settings.cost_of, "--cost", "--format", "json"]
    try:
        done = subprocess.run(  # noqa: S603 - our own module; the stack's name was checked
            command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _refused(settings, f"its preview took longer than {SECONDS} seconds") from error
    if done.returncode:
        raise _refused(settings, f"its preview says: {done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout)["cost"]
    return found


def _refused(settings: CostSettings, reason: str) -> Refusal:
    problem = Problem(
        key="llmserve:costOf",
        value=settings.cost_of,
        reason=f"cannot be priced: {reason}",
        fix=f"correct Pulumi.{settings.cost_of}.yaml, or name another stack",
    )
    return Refusal(settings.file, [problem])

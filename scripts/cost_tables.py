"""The tables of docs/cost.md: the brief's bill of arr-coc-0-1, the same model alone at list prices."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

import preview
from catalog.prices import BRIEF
from scripts.simulator_tables import table

ROOT: Final = Path(__file__).parent.parent
STACK: Final = "prod"
MODEL: Final = "arr-coc-0-1"
AGAINST: Final = "managed-aws"
"""The way, always on, that savings are reckoned against."""


def brief() -> str:
    """Reckon the brief's two sums from its own rates."""
    always, slept = BRIEF.month_hours * BRIEF.managed_gpu_usd_per_hour, BRIEF.used_hours * BRIEF.spot_gpu_usd_per_hour
    rows = (
        ("always on, managed", f"{BRIEF.month_hours:,}", f"{BRIEF.managed_gpu_usd_per_hour:.2f}", f"{always:,.0f}", ""),
        (
            f"{BRIEF.hours_a_day} hours on {BRIEF.used_hours // BRIEF.hours_a_day} days, spot",
            f"{BRIEF.used_hours:,}",
            f"{BRIEF.spot_gpu_usd_per_hour:.2f}",
            f"{slept:,.0f}",
            f"{1 - slept / always:.1%}",
        ),
    )
    return table(("one GPU for a month", "GPU hours", "USD an hour", "USD", "saved"), rows)


def one() -> str:
    """Price one replica in the hours of use, at today's list prices."""
    return _today(1)


def three() -> str:
    """Price three."""
    return _today(3)


def _today(replicas: int) -> str:
    header = ("USD a month", "always on", "autoscaled", "saved by sleeping", f"against {AGAINST}, always on")
    return table(header, _rows(_cost(replicas)))


def _rows(cost: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    ways = {way["way"]: way for way in cost["comparison"]}
    most = ways[AGAINST]["alwaysOn"]
    for name, way in ways.items():
        always, scaled = way["alwaysOn"], way["autoscaled"]
        if always is None or scaled is None:
            yield (name, "unknown", "unknown", "", "")
            continue
        against = f"{1 - scaled / most:.1%} less" if scaled <= most else f"{scaled / most - 1:.1%} more"
        yield (name, f"{always:,.0f}", f"{scaled:,.0f}", f"{1 - scaled / always:.1%}", against)
    yield ("the platform's part of each own one", f"{cost['platform']:,.0f}", f"{cost['platform']:,.0f}", "", "")


@cache
def _cost(replicas: int) -> dict[str, Any]:
    """Record the stack with this model alone, whose normal load takes so many replicas."""
    stack = yaml.safe_load((ROOT / f"Pulumi.{STACK}.yaml").read_text(encoding="utf-8"))
    [model] = [model for model in stack["config"]["llmserve:models"] if model["name"] == MODEL]
    scaling = model["scaling"]
    scaling["normalRequestsPerSecond"] = scaling["requestsPerSecondPerReplica"] * replicas
    found: dict[str, Any] = preview.record(ROOT, STACK, config={"models": json.dumps([model])}, cost=True).cost
    return found

"""Versions to be scaled, for tests: a queue of four a replica on TGI unless a test says otherwise."""

from typing import Any

from monitoring.engine_metrics import TGI
from monitoring.scaling import ScaledVersion
from planning.recording_rules import RecordingRule, rules_of
from planning.simulate.scaled_object import ScaledObject, scaled_object_of


def scaled_version(**fields: Any) -> ScaledVersion:
    given: dict[str, Any] = {
        "model": "llama",
        "version": "stable",
        "versions": ("stable", "canary"),
        "share": 0.9,
        "engine": TGI,
        "minimum": 0,
        "maximum": 3,
        "idle_minutes": 15,
        "startup_seconds": 1800,
        "deadline_seconds": 2400,
    }
    if "requests_per_second_per_replica" not in fields and "queue_per_replica" not in fields:
        given["queue_per_replica"] = 4
    return ScaledVersion(**(given | fields))


def scaling_rules(**fields: Any) -> tuple[RecordingRule, ...]:
    """What is recorded for it."""
    return tuple(rules_of(scaled_version(**fields).rules()))


def expression(name: str, **fields: Any) -> str:
    """Give the query of one of its recorded series."""
    [found] = (rule.expression for rule in scaling_rules(**fields) if rule.name == name)
    return found


def scaled_object(**fields: Any) -> ScaledObject:
    """The same, as the simulator reads what would be recorded of it."""
    return scaled_object_of({"spec": scaled_version(**fields).scaled_object("http://prometheus")})

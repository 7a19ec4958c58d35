"""What an engine adapter says about its container."""

from dataclasses import dataclass

import pulumi_kubernetes as k8s


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineContainer:
    """The parts of a pod in which one engine differs from another."""

    environment: tuple[k8s.core.v1.EnvVarArgs, ...]
    arguments: tuple[str, ...] = ()
    """What the image's entry point gets beside its own. Kubernetes runs no shell over it."""
    port: int
    health_path: str
    metrics_path: str
    startup: k8s.core.v1.ProbeArgs
    """Fails until the model is loaded. Kubernetes asks nothing else before it has passed once."""
    security: k8s.core.v1.SecurityContextArgs
    user: int = 0
    group: int = 0
    """Whose files it has to be able to read, where its weights are mounted."""
    cache_path: str | None
    """Where the engine keeps downloaded weights."""


STARTUP_PERIOD_SECONDS = 10


def startup_attempts(minutes: int) -> int:
    """How often a startup probe may fail before the container is restarted."""
    return minutes * 60 // STARTUP_PERIOD_SECONDS


def literal(values: dict[str, str]) -> tuple[k8s.core.v1.EnvVarArgs, ...]:
    """Environment variables in clear."""
    return tuple(k8s.core.v1.EnvVarArgs(name=name, value=value) for name, value in values.items())

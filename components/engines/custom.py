"""Any image that serves HTTP: it names its port, its health path and its metrics, and gets the GPUs of one replica."""

import pulumi_kubernetes as k8s

from components.engines.container import STARTUP_PERIOD_SECONDS, EngineContainer, literal, startup_attempts
from planning.serving import ModelPlan, Version


def container(model: ModelPlan, version: Version, _token_secret: str | None) -> EngineContainer:
    """Describe the image's container. It gets no Hugging Face token: what it serves is in it, or fetched its way."""
    declared = model.declared
    if declared.health_path is None or declared.metrics is None:
        raise ValueError(f"{model.name}: the settings let a custom engine through without healthPath or metrics")
    return EngineContainer(
        environment=literal({"PORT": str(declared.port)} | dict(version.environment)),
        port=declared.port,
        health_path=declared.health_path,
        metrics_path=declared.metrics.path,
        startup=k8s.core.v1.ProbeArgs(
            http_get=k8s.core.v1.HTTPGetActionArgs(path=declared.health_path, port="http"),
            period_seconds=STARTUP_PERIOD_SECONDS,
            timeout_seconds=5,
            failure_threshold=startup_attempts(declared.startup_minutes),
        ),
        security=k8s.core.v1.SecurityContextArgs(
            run_as_non_root=None if declared.run_as_root else True,
            allow_privilege_escalation=False,
            capabilities=k8s.core.v1.CapabilitiesArgs(drop=["ALL"]),
            seccomp_profile=k8s.core.v1.SeccompProfileArgs(type="RuntimeDefault"),
        ),
        cache_path=None,
    )

"""What the models get to know of the platform, and all of it."""

from dataclasses import dataclass

import pulumi


@dataclass(frozen=True, kw_only=True, slots=True)
class Handover:
    """The platform as a model sees it. Plain names, so that two stacks could exchange it as outputs."""

    namespace: str
    """Where models run."""
    gateway: str
    """What their VirtualServices bind to, as `namespace/name`."""
    prometheus_url: str
    """What their scaling asks."""
    dashboard_namespace: str
    """Where Grafana looks for dashboards."""
    token_secret: str | None
    """The Kubernetes Secret with the Hugging Face token, under the key `HF_TOKEN`; None where there is no token."""
    ready: tuple[pulumi.Resource, ...]
    """What must be there before a model's first object, and go after its last."""

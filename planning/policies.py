"""The rules of the policy pack by name, and how much a violation of one counts. What they say is in `policy/`."""

from enum import StrEnum


class Policy(StrEnum):
    """One rule of the pack, by the name that stands in `llmserve:policies` and in every verdict."""

    PUBLIC_EDGE = "public-edge"
    CLOSED_CONTROL_PLANE = "closed-control-plane"
    PRIVATE_NODES = "private-nodes"
    WORKLOAD_IDENTITY = "workload-identity"
    NO_DEFAULT_SERVICE_ACCOUNT = "no-default-service-account"
    NO_PRIVILEGED_POD = "no-privileged-pod"
    REQUESTS_AND_LIMITS = "requests-and-limits"
    NO_PLAIN_SECRET = "no-plain-secret"  # noqa: S105  (a rule's name)
    GPU_TOLERATIONS = "gpu-tolerations"
    SPOT_ZONES = "spot-zones"
    IMAGES_PINNED = "images-pinned"
    REVISIONS_PINNED = "revisions-pinned"
    SAFETENSORS_ONLY = "safetensors-only"
    NO_REMOTE_CODE = "no-remote-code"
    PROTECTED_DATA = "protected-data"
    COST_LABELS = "cost-labels"
    MAX_USD_PER_HOUR = "max-usd-per-hour"


class Level(StrEnum):
    """What a violation does: stops `pulumi up`, is only said, or is not looked for."""

    MANDATORY = "mandatory"
    ADVISORY = "advisory"
    DISABLED = "disabled"


EVERY = "default"
"""The key that stands for all rules that are not named beside it."""

"""Rules for money: who pays for what, and how much an hour at the most."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from catalog.prices import MONTH_HOURS
from planning.cost.pricing import Part, bill_of
from planning.cost.recorded import UNKNOWN, recorded
from planning.cost.usage import usage_of
from planning.policies import Policy
from policy.rules.cluster import CLUSTER
from policy.rules.place import NotKnown, Place
from policy.rules.rule import Facts, Finding, Rule, Seen, Violation, judged
from policy.rules.workload import gpus_of, pods_of

LABELLED: Final[Mapping[str, str]] = {
    CLUSTER: "resourceLabels",
    "gcp:artifactregistry/repository:Repository": "labels",
    "gcp:compute/address:Address": "labels",
    "gcp:compute/disk:Disk": "labels",
    "gcp:dns/managedZone:ManagedZone": "labels",
    "gcp:storage/bucket:Bucket": "labels",
}
"""By type that is paid for, the property with its labels; the provider's default labels come on top."""
MODEL: Final = "app"
"""The label by which GKE's cost allocation tells models apart."""


def cost_labels(resource: Seen, _: Facts) -> Iterator[Finding]:
    """Yield what is paid for and cannot be told apart on the bill."""
    if resource.type in LABELLED:
        yield from judged(_labels(resource.place[LABELLED[resource.type]], resource.provider))
    if resource.type == CLUSTER:
        yield from judged(_allocation(resource.place.at("costManagementConfig", "enabled")))
    yield from judged(_pods(resource))


def _labels(own: Place, provider: Mapping[str, Any]) -> Iterator[Finding]:
    given = provider.get("defaultLabels")
    if isinstance(given, str) and given != UNKNOWN:
        # A provider's properties are JSON in text.
        given = json.loads(given)
    if not given and not own.value:
        yield Violation(message=f"neither {own.path} nor the provider's defaultLabels says whose it is")
    elif given == UNKNOWN:
        raise NotKnown("the provider's defaultLabels")


def _allocation(place: Place) -> Iterator[Finding]:
    if place.value is not True:
        yield Violation(message=f"{place.path} is not true: the bill would not tell one model from another")


def _pods(resource: Seen) -> Iterator[Finding]:
    pods = pods_of(resource)
    if pods is not None and any(gpus_of(container) > 0 for container in pods.containers()):
        place = pods.metadata.at("labels", MODEL)
        if not place.text:
            yield Violation(message=f"{place.path} is missing on pods with GPUs")


def max_usd_per_hour(resources: Sequence[Seen], facts: Facts) -> Iterator[Finding]:
    """Yield the expected spending on GPU nodes where it is above what the stack allows."""
    if facts.max_usd_per_hour:
        yield from judged(_spending(resources, facts))


def _spending(resources: Sequence[Seen], facts: Facts) -> Iterator[Finding]:
    plan = facts.plan()
    states = [{"type": seen.type, "urn": seen.urn, "inputs": seen.props, "custom": True} for seen in resources]
    bill = bill_of(recorded(states), usage_of(plan), region=plan.stack.region)
    expected = sum(line.usd.expected for line in bill.lines if line.part is Part.GPU_NODES) / MONTH_HOURS
    if expected > facts.max_usd_per_hour:
        yield Violation(
            message=f"{expected:.2f} USD an hour are expected for GPU nodes, and {facts.max_usd_per_hour} is the most"
        )
    missing = [found.what for found in bill.unpriced if found.is_machine]
    if missing:
        raise NotKnown(f"the price of {', '.join(missing)}")


RULES: Final = (
    Rule(
        name=Policy.COST_LABELS,
        what="What is paid for has labels that say whose it is, and GPU pods the label of their model.",
        why="a bill without labels is one sum, and nobody can say which model it was.",
        fix="default_labels of the provider, cost_management_config of the cluster, the label app on pods.",
        of_resource=cost_labels,
    ),
    Rule(
        name=Policy.MAX_USD_PER_HOUR,
        what="The expected spending on GPU nodes is not above llmserve:maxUsdPerHour.",
        why="one digit in a stack file is a five-digit bill.",
        fix="fewer replicas, spot, smaller cards: make preview ARGS=--cost compares them; or raise maxUsdPerHour.",
        of_stack=max_usd_per_hour,
    ),
)

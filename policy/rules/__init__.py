"""The rules: plain functions over the properties of resources. None of them knows who asks."""

from collections.abc import Sequence
from typing import Final

from policy.rules import cluster, data, edge, gpus, money, plain_secrets, pods, supply
from policy.rules.rule import Rule

RULES: Final[Sequence[Rule]] = (
    *edge.RULES,
    *cluster.RULES,
    *pods.RULES,
    *plain_secrets.RULES,
    *gpus.RULES,
    *supply.RULES,
    *data.RULES,
    *money.RULES,
)
"""Every rule, in the order in which they are documented."""

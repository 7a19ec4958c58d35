"""Recording rules that say what GPU nodes cost, for whom and for what, and alerts when that leaves the forecast.

In US dollars at list prices, GPU nodes alone: no discount, no system node, no disk, no network. A node counts while it
is a node of the cluster; its machine is paid for some minutes longer, at either end. What Google really bills is in
its own export, days later; docs/operations.md says where.

One replica has a whole node, so each GPU node is used by one replica or by none, and the parts add up to the total:

- `serving`: the replica is ready and computes
- `idle`: it is ready, and its engine has no request in its batch
- `unknown`: it is ready, and its engine does not tell what it computes (or was not scraped)
- `starting`: it is not ready: it fetches and loads weights, or it is broken
- `draining`: it was told to stop, and finishes what it has
- `empty`: there is no replica on the node (yet or any more), which is no model's cost

Nodes are found by their labels, since a pool's name is not known before it exists; what a pod serves by its labels, by
which PodMonitor, Service and rules find it as well. A Deployment's name would do less: `a-b-c` is version c of a-b, or
b-c of a. kube-state-metrics tells no label unless asked to, and `labels_allowlist` asks for these.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from monitoring.alerts import alert
from monitoring.queries import MODELS_NAMESPACE, number
from monitoring.served_model import ServedModel

ACCELERATOR = "cloud.google.com/gke-accelerator"
"""On GPU nodes, whether or not the driver is there yet. https://docs.cloud.google.com/kubernetes-engine/docs/how-to/gpus"""
SPOT = "cloud.google.com/gke-spot"
FLEX_START = "cloud.google.com/gke-flex-start"
"""https://docs.cloud.google.com/kubernetes-engine/docs/concepts/dws"""
MACHINE_TYPE = "node.kubernetes.io/instance-type"
_ALLOWED = {"nodes": (ACCELERATOR, FLEX_START, SPOT, MACHINE_TYPE), "pods": ("app", "version")}

INTERVAL_SECONDS = 30
"""How often the group is evaluated: sums over time count with it."""
FORECAST_TOLERANCE = 1.25
"""How many times the expected spend a week may cost."""
FORECAST_DAYS = 6
"""Days of data without which no week is judged. The forecast is a mean over weekdays and weekends, so that five working
days alone would be well above it."""


class Provisioning(StrEnum):
    """How a node is bought, as its labels tell. A reservation's node is `on-demand`: it is billed as one."""

    SPOT = "spot"
    ON_DEMAND = "on-demand"
    FLEX_START = "flex-start"


@dataclass(frozen=True, kw_only=True, slots=True)
class NodePrice:
    """What a node of this machine type costs in US dollars an hour; None is unknown, and its nodes are `unpriced`."""

    machine_type: str
    provisioning: Provisioning
    usd_per_hour: float | None


def labels_allowlist() -> list[str]:
    """Give kube-state-metrics' `metricLabelsAllowlist`: what the rules read, and nothing else."""
    return [f"{kind}=[{','.join(names)}]" for kind, names in _ALLOWED.items()]


def spend_groups(
    models: Sequence[ServedModel],
    prices: Sequence[NodePrice],
    *,
    expected_usd_per_hour: float | None,
    most_usd_per_hour: float | None,
    namespace: str = MODELS_NAMESPACE,
) -> list[dict[str, object]]:
    """Give the group `llm-spend` for `spec.groups` of a PrometheusRule, recording rules first, then alerts.

    The forecast, both for GPU nodes alone, is the mean over a month and what all models at their maximum cost. Where
    one of them is None its series and its alert are not there.
    """
    rules = [*_prices(prices), *_nodes(namespace), *_dollars(models)]
    if expected_usd_per_hour is not None:
        rules.append(_record("llm:gpu_expected_usd_per_hour", f"vector({number(expected_usd_per_hour)})"))
    if most_usd_per_hour is not None:
        rules.append(_record("llm:gpu_most_usd_per_hour", f"vector({number(most_usd_per_hour)})"))
    alerts = _alerts(expected=expected_usd_per_hour is not None, most=most_usd_per_hour is not None)
    return [{"name": "llm-spend", "interval": f"{INTERVAL_SECONDS}s", "rules": [*rules, *alerts]}]


def _prices(prices: Sequence[NodePrice]) -> list[dict[str, object]]:
    return [
        {
            "record": "llm:node_price_usd_per_hour",
            "expr": f"vector({number(price.usd_per_hour)})",
            "labels": {"machine_type": price.machine_type, "provisioning": str(price.provisioning)},
        }
        for price in prices
        if price.usd_per_hour is not None
    ]


def _nodes(namespace: str) -> list[dict[str, object]]:
    """Say of each GPU node how it is bought, and of each of them who uses it, once."""
    spot, flex, gpu = _label(SPOT), _label(FLEX_START), f'{_label(ACCELERATOR)}!=""'
    bought = {
        Provisioning.SPOT: f'{gpu},{spot}="true"',
        Provisioning.FLEX_START: f'{gpu},{spot}!="true",{flex}="true"',
        Provisioning.ON_DEMAND: f'{gpu},{spot}!="true",{flex}!="true"',
    }
    nodes = " or ".join(
        _with(f"kube_node_labels{{{matching}}}", "provisioning", provisioning)
        for provisioning, matching in bought.items()
    )
    # A lost node may come back under its name, while the Failed pod that it took along still names it.
    over = f'kube_pod_status_phase{{namespace="{namespace}",phase=~"Failed|Succeeded"}} == 1'
    served = _moved(f'kube_pod_labels{{namespace="{namespace}",label_app!="",label_version!=""}}', "model", "app")
    return [
        _record(
            "llm:gpu_nodes",
            f"group by (node, machine_type, provisioning) ({_moved(nodes, 'machine_type', MACHINE_TYPE)})",
        ),
        _record(
            "llm:replica_nodes",
            f'group by (namespace, pod, node) (kube_pod_info{{namespace="{namespace}",node!=""}})'
            " * on (namespace, pod) group_left (model, version)"
            f" group by (namespace, pod, model, version) ({_moved(served, 'version', 'version')})"
            f" unless on (namespace, pod) ({over})",
        ),
        _record("llm:replica_uses", _uses(namespace)),
        _record(
            "llm:gpu_node_uses",
            # Two pods on one node would be an error of ours, and must not cost two nodes.
            "llm:gpu_nodes * on (node) group_left (namespace, model, version, use) topk by (node) (1, llm:replica_uses)"
            f" or {_with('llm:gpu_nodes unless on (node) llm:replica_uses', 'use', 'empty')}",
        ),
        _record(
            "llm:unpriced_nodes",
            "count by (machine_type, provisioning)"
            " (llm:gpu_nodes unless on (machine_type, provisioning) llm:node_price_usd_per_hour)",
        ),
    ]


def _uses(namespace: str) -> str:
    pod = "on (namespace, pod)"
    # Ready says nothing of a pod that ends: it stays so for as long as its engine answers the probe.
    ending = f'kube_pod_deletion_timestamp{{namespace="{namespace}"}}'
    stays = f"llm:replica_nodes unless {pod} {ending}"
    is_ready = f'(kube_pod_status_ready{{namespace="{namespace}",condition="true"}} == 1)'
    ready = f"{stays} and {pod} {is_ready}"
    uses = {
        "serving": f"{ready} and {pod} llm:running_requests > 0",
        "idle": f"{ready} and {pod} llm:running_requests == 0",
        "unknown": f"{ready} unless {pod} llm:running_requests",
        "starting": f"{stays} unless {pod} {is_ready}",
        "draining": f"llm:replica_nodes and {pod} {ending}",
    }
    return " or ".join(_with(replicas, "use", use) for use, replicas in uses.items())


def _dollars(models: Sequence[ServedModel]) -> list[dict[str, object]]:
    priced = "* on (machine_type, provisioning) group_left () llm:node_price_usd_per_hour"
    rules = [
        _record(
            "llm:gpu_usd_per_hour",
            f"sum by (namespace, model, version, machine_type, provisioning, use) (llm:gpu_node_uses {priced})",
        ),
        _record(
            "llm:gpu_total_usd_per_hour",
            f"sum(llm:gpu_nodes {priced})"
            # Nothing at all is 0, or the mean would be that of the hours with a node. But only while somebody tells of
            # nodes, and not for nodes without a price.
            " or (0 * group(kube_node_labels) unless on () llm:gpu_nodes)",
        ),
    ]
    if any(model.engine.generated_tokens is not None for model in models):
        spent = f'sum_over_time(llm:gpu_usd_per_hour{{model!=""}}[1h]) * {number(INTERVAL_SECONDS / 3600)}'
        rules.append(
            _record(
                "llm:generated_tokens_usd_per_million",
                f"1e6 * sum by (namespace, model) ({spent})"
                " / (sum by (namespace, model) (increase(llm:generated_tokens_total[1h])) > 0)",
            )
        )
    return rules


def _alerts(*, expected: bool, most: bool) -> list[dict[str, object]]:
    total = "llm:gpu_total_usd_per_hour"
    # One sample in five minutes is enough for a week, and a tenth of the work.
    week, least = f"{total}[7d:5m]", FORECAST_DAYS * 24 * 12
    alerts = [
        alert(
            "LLMNodesUnpriced",
            "llm:unpriced_nodes > 0",
            lasting="15m",
            severity="info",
            summary="GPU nodes are left out of every figure of what this costs.",
            description="{{ $value }} {{ $labels.provisioning }} nodes of machine type {{ $labels.machine_type }} run, "
            "and the stack's prices have none for them.",
        )
    ]
    if most:
        alerts.append(
            alert(
                "LLMSpendAboveMaximum",
                # A cent, because sums of the same prices in another order differ in their last digits.
                f"{total} > llm:gpu_most_usd_per_hour + 0.01",
                lasting="15m",
                severity="warning",
                summary="GPU nodes cost more than every model at its maximum.",
                description="GPU nodes cost {{ $value | humanize }} USD an hour, more than all models may together.",
            )
        )
    if expected:
        alerts.append(
            alert(
                "LLMSpendAboveForecast",
                f"avg_over_time({week}) > {number(FORECAST_TOLERANCE)} * llm:gpu_expected_usd_per_hour"
                f" and count_over_time({week}) >= {least}",
                lasting="1h",
                severity="warning",
                summary="GPU nodes cost a quarter more than the forecast, over a week.",
                description="GPU nodes cost {{ $value | humanize }} USD an hour, averaged over the last 7 days: more "
                f"than {number(FORECAST_TOLERANCE)} times what the stack was expected to.",
            )
        )
    return alerts


def _record(name: str, expression: str) -> dict[str, object]:
    return {"record": name, "expr": expression}


def _label(key: str) -> str:
    """Name a Kubernetes label as kube-state-metrics does."""
    return "label_" + re.sub(r"[^a-zA-Z0-9_]", "_", key)


def _with(query: str, label: str, value: str) -> str:
    return f'label_replace({query}, "{label}", "{value}", "", "")'


def _moved(query: str, label: str, key: str) -> str:
    """Give a series' Kubernetes label a name of our own."""
    return f'label_replace({query}, "{label}", "$1", "{_label(key)}", "(.+)")'

"""What the rules say that GPU nodes cost, in a real Prometheus engine, and when an alert fires."""

import json
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from monitoring.alerts import RUNBOOKS
from monitoring.dashboard import serving_dashboard
from monitoring.engine_metrics import EngineMetrics
from monitoring.rules import rule_groups
from monitoring.scaling import scaling_groups
from monitoring.served_model import ModelVersion, ServedModel
from monitoring.spend import (
    ACCELERATOR,
    FLEX_START,
    MACHINE_TYPE,
    SPOT,
    NodePrice,
    Provisioning,
    labels_allowlist,
    spend_groups,
)
from planning import pools
from tests.recording import ROOT, Record
from tests.scaling import scaled_version
from tests.test_monitoring_behaviour import element

LLAMA = ServedModel(name="llama", versions=(ModelVersion(name="stable", share=1),))
OWN = ServedModel(
    name="own",
    versions=(ModelVersion(name="stable", share=1),),
    engine=EngineMetrics(requests="own_requests_total", latency_bucket="own_seconds_bucket"),
)
BIG, SMALL = "a2-ultragpu-4g", "a2-ultragpu-1g"
PRICES = (
    NodePrice(machine_type=BIG, provisioning=Provisioning.SPOT, usd_per_hour=8),
    NodePrice(machine_type=BIG, provisioning=Provisioning.ON_DEMAND, usd_per_hour=22.5),
    NodePrice(machine_type=SMALL, provisioning=Provisioning.SPOT, usd_per_hour=2),
    NodePrice(machine_type=SMALL, provisioning=Provisioning.ON_DEMAND, usd_per_hour=None),
)
EXPECTED, MOST = 10.0, 50.0

Series = Mapping[str, str]
"""Names of series with their histories, in promtool's notation; every 30 s from 0 on."""
Wanted = Iterable[tuple[str, str, Mapping[str, float] | float]]
"""Query, time, and what it gives to six digits: by labels, or one element without."""
Fires = Iterable[tuple[str, str, int]]
"""Alert, time, and how many of it fire."""
Check = Callable[..., None]


def groups(expected: float | None = EXPECTED, most: float | None = MOST) -> list[dict[str, Any]]:
    models = [LLAMA, OWN]
    spend = spend_groups(models, PRICES, expected_usd_per_hour=expected, most_usd_per_hour=most)
    return [*rule_groups(models), *spend]


@pytest.fixture
def check(tmp_path: Path, promtool: Path) -> Check:
    """Assert what the rules record, and which alerts fire, over histories of series."""

    def run(series: Series, expected: Wanted = (), fires: Fires = (), rules: Any = None) -> None:
        (tmp_path / "rules.json").write_text(json.dumps({"groups": rules or groups()}))
        test = {
            "interval": "30s",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [
                {
                    "expr": f"round({query}, 0.000001)",
                    "eval_time": time,
                    "exp_samples": [
                        {"labels": labels, "value": number}
                        for labels, number in (value.items() if isinstance(value, Mapping) else [("{}", value)])
                    ],
                }
                for query, time, value in [*expected, *(alerts(*one) for one in fires)]
            ],
        }
        history = tmp_path / "history.json"
        history.write_text(
            json.dumps({"rule_files": ["rules.json"], "evaluation_interval": "30s", "tests": [test]}), encoding="utf-8"
        )
        done = subprocess.run([promtool, "test", "rules", history], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return run


def alerts(name: str, time: str, count: int) -> tuple[str, str, float]:
    return f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)', time, count


def node(name: str, machine: str = BIG, provisioning: str = "spot", values: str = "1x300") -> dict[str, str]:
    """A GPU node as kube-state-metrics tells of it."""
    labels = {"node": name, "label_cloud_google_com_gke_accelerator": "nvidia-a100-80gb"}
    labels["label_node_kubernetes_io_instance_type"] = machine
    if provisioning != "on-demand":
        labels[f"label_cloud_google_com_gke_{provisioning.replace('-', '_')}"] = "true"
    return {element("kube_node_labels", labels): values}


SYSTEM = {'kube_node_labels{node="system",label_node_kubernetes_io_instance_type="e2-standard-4"}': "1x300"}


def pod(
    name: str,
    on: str,
    *,
    ready: bool,
    running: str | None = None,
    model: str = "llama",
    version: str = "stable",
    phase: str = "Running",
    deleted: bool = False,
    values: str = "1x300",
) -> dict[str, str]:
    """A replica as kube-state-metrics tells of it, and what its engine says it has in its batch."""
    of_pod = {"namespace": "models", "pod": name, "uid": name}
    told = {
        element("kube_pod_info", {**of_pod, "node": on, "created_by_kind": "ReplicaSet"}): values,
        element("kube_pod_labels", {**of_pod, "label_app": model, "label_version": version}): values,
        **{
            element("kube_pod_status_phase", {**of_pod, "phase": one}): values if one == phase else "0x300"
            for one in ("Pending", "Running", "Failed", "Succeeded", "Unknown")
        },
        **{
            element("kube_pod_status_ready", {**of_pod, "condition": condition}): values if is_so else "0x300"
            for condition, is_so in (("true", ready), ("false", not ready), ("unknown", False))
        },
    }
    if deleted:
        told[element("kube_pod_deletion_timestamp", of_pod)] = values
    if running is not None:
        batch = {"namespace": "models", "app": model, "version": version, "pod": name}
        told[element("tgi_batch_current_size", batch)] = running
    return told


def cost(
    use: str, provisioning: str = "spot", machine: str = BIG, model: str = "llama", version: str = "stable"
) -> str:
    """Labels of one part of the cost."""
    of_model = {} if use == "empty" else {"namespace": "models", "model": model, "version": version}
    return element("", {**of_model, "machine_type": machine, "provisioning": provisioning, "use": use})


USD, TOTAL = "llm:gpu_usd_per_hour", "llm:gpu_total_usd_per_hour"


def both(parts: Mapping[str, float], time: str = "5m") -> list[tuple[str, str, Mapping[str, float] | float]]:
    """The parts, and a total of the nodes that is their sum."""
    return [(USD, time, parts), (TOTAL, time, sum(parts.values())), (f"sum({USD})", time, sum(parts.values()))]


EVERYTHING = {
    **SYSTEM,
    **node("a"),
    **pod("serving", "a", ready=True, running="3x300"),
    **node("b"),
    **pod("idle", "b", ready=True, running="0x300", version="canary"),
    **node("c", provisioning="on-demand"),
    **pod("floor", "c", ready=True, running="1x300"),
    **node("d"),
    **pod("starting", "d", ready=False, phase="Pending"),
    **node("e", SMALL),
    **pod("own", "e", ready=True, model="own"),
    **node("f", SMALL),
    **node("g"),
    **pod("draining", "g", ready=True, running="1x300", deleted=True),
    # Waits for a node, and costs nothing yet.
    **pod("waiting", "", ready=False, phase="Pending"),
}
PARTS = {
    cost("serving"): 8,
    cost("idle", version="canary"): 8,
    cost("serving", "on-demand"): 22.5,
    cost("starting"): 8,
    cost("unknown", machine=SMALL, model="own"): 2,
    cost("empty", machine=SMALL): 2,
    cost("draining"): 8,
}


def test_every_node_is_paid_for_once_by_who_uses_it_and_for_what(check: Check) -> None:
    check(EVERYTHING, both(PARTS))


def test_two_instances_of_kube_state_metrics_cost_no_more_than_one(check: Check) -> None:
    twice = {
        (name[:-1] + f',instance="{instance}"}}' if name.startswith("kube_") else name): values
        for name, values in EVERYTHING.items()
        for instance in ("one", "two")
    }
    check(twice, [*both(PARTS), ("count(llm:replica_nodes)", "5m", 6)])


def test_a_replica_goes_from_starting_to_idle_to_serving_to_nothing(check: Check) -> None:
    of_pod = {"namespace": "models", "pod": "x", "uid": "x"}
    series = {
        **SYSTEM,
        **node("a", values="_x4 1x36 stale"),
        element("kube_pod_info", {**of_pod, "node": "a"}): "_x8 1x24 stale",
        element("kube_pod_labels", {**of_pod, "label_app": "llama", "label_version": "stable"}): "_x8 1x24 stale",
        element("kube_pod_status_ready", {**of_pod, "condition": "true"}): "_x8 0x8 1x16 stale",
        element("kube_pod_status_phase", {**of_pod, "phase": "Running"}): "_x8 1x24 stale",
        'tgi_batch_current_size{namespace="models",app="llama",version="stable",pod="x"}': "_x16 0x8 2x8 stale",
    }
    check(
        series,
        [
            *((USD, "1m", {}), (TOTAL, "1m", 0)),
            *both({cost("empty"): 8}, "3m"),
            *both({cost("starting"): 8}, "6m"),
            *both({cost("idle"): 8}, "10m"),
            *both({cost("serving"): 8}, "14m"),
            *both({cost("empty"): 8}, "17m30s"),
            *((USD, "22m", {}), (TOTAL, "22m", 0)),
        ],
    )


def test_a_failed_pod_on_a_node_that_came_back_under_its_name_costs_nothing(check: Check) -> None:
    series = {
        **SYSTEM,
        **node("a"),
        **pod("lost", "a", ready=False, phase="Failed"),
        **pod("new", "a", ready=True, running="1x300"),
    }
    check(series, [*both({cost("serving"): 8}), ("count(llm:replica_nodes)", "5m", 1)])
    alone = {**SYSTEM, **node("a"), **pod("lost", "a", ready=False, phase="Failed")}
    check(alone, both({cost("empty"): 8}))


def test_two_pods_on_one_node_never_cost_two(check: Check) -> None:
    series = {**SYSTEM, **node("a"), **pod("one", "a", ready=True), **pod("two", "a", ready=False)}
    check(series, [(TOTAL, "5m", 8), (f"sum({USD})", "5m", 8)])


def test_pods_of_other_namespaces_and_on_other_nodes_are_no_models(check: Check) -> None:
    elsewhere = {
        name.replace('namespace="models"', 'namespace="elsewhere"'): values
        for name, values in pod("other", "a", ready=True).items()
    }
    series = {**SYSTEM, **node("a"), **elsewhere, **pod("job", "system", ready=True)}
    check(series, both({cost("empty"): 8}))


def test_nothing_is_zero_while_somebody_tells_of_nodes_and_else_not_told(check: Check) -> None:
    on_spot = 'kube_node_labels{node="s",label_cloud_google_com_gke_spot="true"}'
    check({**SYSTEM, on_spot: "1x300"}, [(TOTAL, "5m", 0), (USD, "5m", {}), ("llm:unpriced_nodes", "5m", {})])
    check({}, [(TOTAL, "5m", {}), (USD, "5m", {})])


def test_a_node_without_a_price_is_counted_and_not_taken_for_free(check: Check) -> None:
    unpriced = {
        **node("a", SMALL, "on-demand"),
        **node("b", SMALL, "flex-start"),
        **node("c", "a3-highgpu-8g", "on-demand"),
        **node("d", "a3-highgpu-8g", "on-demand"),
    }
    counted = {
        element("", {"machine_type": SMALL, "provisioning": "on-demand"}): 1.0,
        element("", {"machine_type": SMALL, "provisioning": "flex-start"}): 1.0,
        element("", {"machine_type": "a3-highgpu-8g", "provisioning": "on-demand"}): 2.0,
    }
    check({**SYSTEM, **unpriced}, [("llm:unpriced_nodes", "5m", counted), (TOTAL, "5m", {}), (USD, "5m", {})])
    # What has a price is told all the same.
    check({**SYSTEM, **unpriced, **node("e")}, [("llm:unpriced_nodes", "5m", counted), *both({cost("empty"): 8})])


def test_a_million_tokens_cost_what_all_replicas_of_the_hour_did(check: Check) -> None:
    made = 'tgi_request_generated_tokens_sum{namespace="models",app="llama",version="stable",pod="a"}'
    series = {
        **SYSTEM,
        **node("a"),
        **pod("a", "a", ready=True, running="1x300"),
        # Half of the hour only: it starts, and counts with the rest.
        **node("b", values="_x180 1x120"),
        **pod("b", "b", ready=False, values="_x180 1x120"),
        **node("c", SMALL),
        made: "0+1800x300",
    }
    # The hour before had 8 dollars of a, 4 of b, and 120 x 1,800 tokens. Newer versions of Prometheus leave the first
    # sample of a range out, which is a 120th.
    dollars = 1e6 * (8 + 4) / (120 * 1800)
    of_llama = '{namespace="models",model="llama"}'
    query = f"abs(llm:generated_tokens_usd_per_million / {dollars} - 1) < bool 0.015"
    check(
        series,
        [
            (query, "120m", {of_llama: 1}),
            (f'sum({USD}{{use="empty"}})', "120m", 2),
        ],
    )


def test_without_a_token_there_is_no_price_of_one(check: Check) -> None:
    made = 'tgi_request_generated_tokens_sum{namespace="models",app="llama",version="stable",pod="a"}'
    series = {**SYSTEM, **node("a"), **pod("a", "a", ready=True, running="0x300"), made: "5x300"}
    check(series, [("llm:generated_tokens_usd_per_million", "120m", {}), (f"sum({USD})", "120m", 8)])
    assert "million" not in json.dumps(spend_groups([OWN], PRICES, expected_usd_per_hour=None, most_usd_per_hour=None))


MAXIMUM, UNPRICED, FORECAST = "LLMSpendAboveMaximum", "LLMNodesUnpriced", "LLMSpendAboveForecast"


def test_more_than_all_models_may_have_is_told_after_a_quarter_of_an_hour(check: Check) -> None:
    most = {**SYSTEM, **node("a", provisioning="on-demand"), **node("b", provisioning="on-demand")}
    check(most, [(TOTAL, "30m", 45)], [(MAXIMUM, "30m", 0)])
    more = {**most, **node("c", values="_x20 1x280")}
    check(more, [(TOTAL, "30m", 53)], [(MAXIMUM, "24m", 0), (MAXIMUM, "26m", 1)])
    # Exactly what they may have is no alarm.
    check(most, [(TOTAL, "30m", 45)], [(MAXIMUM, "30m", 0)], groups(most=45))


def test_a_node_without_a_price_is_told_after_a_quarter_of_an_hour(check: Check) -> None:
    series = {**SYSTEM, **node("a", "a3-highgpu-8g", values="_x20 1x280")}
    check(series, fires=[(UNPRICED, "24m", 0), (UNPRICED, "26m", 1)])
    check({**SYSTEM, **node("a")}, fires=[(UNPRICED, "30m", 0)])


def test_a_week_above_the_forecast_is_told_once_it_is_a_week(tmp_path: Path, promtool: Path) -> None:
    # Every rule for a week is slow: the alert alone, over the total that the other tests see recorded.
    rules = rules_by_name(groups()[-1]["rules"])
    group = {"name": "alone", "rules": [rules["llm:gpu_expected_usd_per_hour"], rules[FORECAST]]}
    (tmp_path / "rules.json").write_text(json.dumps({"groups": [group]}))
    day = 720
    working_days = f"42x{day // 3 - 1} 0x{day * 2 // 3 - 1} " * 5
    cases = [
        # 12.6 USD an hour from the beginning: judged when there are six days, and told an hour later.
        (f"12.6x{7 * day}", [("143h", 0), ("144h30m", 0), ("146h", 1), ("167h", 1)]),
        # 12.4 is within a quarter.
        (f"12.4x{7 * day}", [("146h", 0), ("167h", 0)]),
        # 42 for eight hours of five days of seven is 10 in the mean: five days alone, 14, are not judged.
        (f"{working_days}0x{2 * day}", [("119h", 0), ("121h", 0), ("146h", 0), ("167h", 0)]),
        # What was spent long ago is over.
        (f"42x{4 * day} 1x{9 * day}", [("168h", 1), ("264h", 0)]),
    ]
    tests = [
        {
            "interval": "2m",
            "input_series": [{"series": TOTAL, "values": values}],
            "promql_expr_test": [
                {"expr": query, "eval_time": at, "exp_samples": [{"labels": "{}", "value": count}]}
                for query, at, count in (alerts(FORECAST, time, wanted) for time, wanted in fires)
            ],
        }
        for values, fires in cases
    ]
    history = tmp_path / "history.json"
    history.write_text(json.dumps({"rule_files": ["rules.json"], "evaluation_interval": "10m", "tests": tests}))
    done = subprocess.run([promtool, "test", "rules", history], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def panel(title: str, target: int) -> str:
    """Give a panel's query as Grafana sends it with these choices."""
    board = json.loads(serving_dashboard([LLAMA, OWN]))
    query: str = next(panel for panel in board["panels"] if panel["title"] == title)["targets"][target]["expr"]
    chosen = {"namespace": "models", "model": "llama", "version": "(stable|canary)"}
    return re.sub(r"\$\{?(\w+)\}?", lambda match: chosen[match[1]], query)


def test_the_panels_show_the_parts_of_the_chosen_models_and_all_nodes(check: Check) -> None:
    by_use = {
        element("", {"model": "llama", "use": use}): usd
        for use, usd in {"serving": 30.5, "idle": 8.0, "starting": 8.0, "draining": 8.0}.items()
    }
    check(
        EVERYTHING | node("unpriced", SMALL, "on-demand"),
        [
            (panel("Dollars an hour by use", 0), "5m", by_use),
            (panel("Dollars an hour by use", 1), "5m", {element("", {"machine_type": SMALL, "use": "empty"}): 2}),
            (
                panel("Dollars an hour of all GPU nodes", 0),
                "5m",
                {'{provisioning="spot"}': 36, '{provisioning="on-demand"}': 22.5},
            ),
            (panel("Dollars an hour of all GPU nodes", 1), "5m", EXPECTED),
            (panel("Dollars an hour of all GPU nodes", 2), "5m", MOST),
            (panel("Dollars an hour of all GPU nodes", 3), "5m", 1),
        ],
    )


def rules_by_name(rules: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {rule.get("record") or rule["alert"]: rule for rule in rules}


def test_without_a_forecast_neither_its_series_nor_its_alert_is_there() -> None:
    unknown = groups(expected=None, most=None)[-1]["rules"]
    of_forecast = {FORECAST, MAXIMUM, "llm:gpu_expected_usd_per_hour", "llm:gpu_most_usd_per_hour"}
    assert not of_forecast & rules_by_name(unknown).keys()
    assert rules_by_name(groups()[-1]["rules"]).keys() - rules_by_name(unknown).keys() == of_forecast


def test_an_unknown_price_is_no_series() -> None:
    told = [rule["labels"] for rule in groups()[-1]["rules"] if rule.get("record") == "llm:node_price_usd_per_hour"]
    assert len(told) == 3
    assert {"machine_type": SMALL, "provisioning": "on-demand"} not in told


def test_rules_and_alerts_pass_promtool(tmp_path: Path, promtool: Path) -> None:
    file = tmp_path / "rules.json"
    scaled = scaling_groups([scaled_version(), scaled_version(version="canary", requests_per_second_per_replica=2.0)])
    file.write_text(json.dumps({"groups": [*groups(), *scaled]}))
    done = subprocess.run(
        [promtool, "check", "rules", "--lint=all", "--lint-fatal", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_says_what_to_do() -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / RUNBOOKS).read_text(encoding="utf-8"), re.MULTILINE)
    every: list[Any] = [*groups(), *scaling_groups([scaled_version()])]
    fired = [rule for group in every for rule in group["rules"] if "alert" in rule]
    assert [rule["alert"] for rule in fired] == [UNPRICED, MAXIMUM, FORECAST, "LLMReplicasHeld"]
    for rule in fired:
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}
        assert rule["annotations"]["runbook"] == f"{RUNBOOKS}#{rule['alert'].lower()}"
        assert rule["alert"] in headings
        assert rule["labels"]["severity"] in {"warning", "info"}


def test_kube_state_metrics_tells_exactly_the_labels_that_the_rules_read(record: Record) -> None:
    values = record("prod").named("monitoring-release").inputs["values"]["kube-state-metrics"]
    assert values["metricLabelsAllowlist"] == labels_allowlist()
    assert labels_allowlist() == [f"nodes=[{ACCELERATOR},{FLEX_START},{SPOT},{MACHINE_TYPE}]", "pods=[app,version]"]
    assert (ACCELERATOR, SPOT) == (pools.ACCELERATOR, pools.SPOT)
    read = set(re.findall(r"\blabel_\w+(?=[!=]|\",)", json.dumps(groups()[-1]).replace("\\", "")))
    allowed = {
        f"label_{re.sub('[^a-z]', '_', key)}" for key in re.findall(r"[\[,]([^\],]+)", " ".join(labels_allowlist()))
    }
    assert read == allowed

"""The dashboard as Grafana gets it, and the names that every query in monitoring/ rests on."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from monitoring.dashboard import SERVING_UID, serving_dashboard
from monitoring.engine_metrics import EngineMetrics
from monitoring.queries import gateway_requests
from monitoring.rules import rule_groups
from monitoring.served_model import ModelVersion, OwnPanel, ServedModel
from monitoring.spend import NodePrice, Provisioning, spend_groups
from tests.scaling import scaling_rules

ARR_COC_QUERIES = (
    "rate(arr_coc_requests_total[5m])",
    "histogram_quantile(0.95, rate(arr_coc_inference_latency_seconds_bucket[5m]))",
    "avg(arr_coc_token_allocation) by (patch_type)",
)
LLAMA = ServedModel(
    name="llama",
    versions=(ModelVersion(name="stable", share=0.9), ModelVersion(name="canary", share=0.1)),
    p95_seconds=12,
    availability=99.9,
)
ARR_COC = ServedModel(
    name="arr-coc-0-1",
    versions=(ModelVersion(name="stable", share=1),),
    engine=EngineMetrics(requests="arr_coc_requests_total", latency_bucket="arr_coc_inference_latency_seconds_bucket"),
    panels=(
        OwnPanel(title="Requests", query=ARR_COC_QUERIES[0], unit="reqps"),
        OwnPanel(title="Inference latency, P95", query=ARR_COC_QUERIES[1], unit="s"),
        OwnPanel(title="Token allocation", query=ARR_COC_QUERIES[2], legend="{{patch_type}}"),
    ),
)
MODELS = (LLAMA, ARR_COC)

KNOWN_SERIES = {
    # https://github.com/huggingface/text-generation-inference/blob/v3.3.7/docs/source/reference/metrics.md
    "tgi_request_count",
    "tgi_request_failure",
    "tgi_queue_size",
    "tgi_batch_current_size",
    "tgi_request_duration_bucket",
    "tgi_request_queue_duration_bucket",
    "tgi_request_mean_time_per_token_duration_bucket",
    "tgi_request_input_length_sum",
    "tgi_request_generated_tokens_sum",
    "kube_deployment_status_replicas_unavailable",
    # https://istio.io/latest/docs/reference/config/metrics/
    "istio_requests_total",
    "istio_request_duration_milliseconds_bucket",
    # https://github.com/kubernetes/kube-state-metrics/blob/main/docs/metrics/workload/deployment-metrics.md
    "kube_deployment_spec_replicas",
    "kube_deployment_status_replicas_available",
    # https://github.com/kubernetes/kube-state-metrics/blob/main/docs/metrics/cluster/node-metrics.md
    "kube_node_labels",
    # https://github.com/kubernetes/kube-state-metrics/blob/main/docs/metrics/workload/pod-metrics.md
    "kube_pod_info",
    "kube_pod_labels",
    "kube_pod_status_phase",
    "kube_pod_status_ready",
    "kube_pod_deletion_timestamp",
    # https://prometheus.io/docs/concepts/jobs_instances/
    "up",
    # what arr-coc-0-1 itself offers
    "arr_coc_requests_total",
    "arr_coc_inference_latency_seconds_bucket",
    "arr_coc_token_allocation",
}

GRAFANA_MACROS = {"__rate_interval": "5m", "__range": "1h"}
GRAFANA_UNITS = {"currencyUSD", "short", "s", "reqps", "percentunit"}


def board(*models: ServedModel) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(serving_dashboard(models or MODELS))
    return loaded


def panels(*models: ServedModel) -> list[dict[str, Any]]:
    return [panel for panel in board(*models)["panels"] if panel["type"] != "row"]


def without_macros(query: str) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda match: GRAFANA_MACROS.get(match[1], "x"), query)


def series_of(query: str) -> set[str]:
    names: set[str] = set()

    def visit(expression: promql_parser.Expr) -> bool:
        match expression:
            case promql_parser.VectorSelector(name=str(name)):
                names.add(name)
            case promql_parser.MatrixSelector(vector_selector=promql_parser.VectorSelector(name=str(name))):
                names.add(name)
        return True

    promql_parser.walk(promql_parser.parse(query), visit)
    return names


def rules_of(*models: ServedModel) -> Iterator[dict[str, Any]]:
    for group in rule_groups(models):
        assert isinstance(group["rules"], list)
        yield from group["rules"]


def spend_of(*models: ServedModel) -> list[dict[str, Any]]:
    prices = [NodePrice(machine_type="a2", provisioning=Provisioning.SPOT, usd_per_hour=2)]
    [group] = spend_groups(models, prices, expected_usd_per_hour=1, most_usd_per_hour=2)
    assert isinstance(group["rules"], list)
    return group["rules"]


RULES = [*rules_of(*MODELS), *(rule for rule in spend_of(*MODELS) if "record" in rule)]
QUERIES = {
    **{f"{panel['title']} {target['refId']}": target["expr"] for panel in panels() for target in panel["targets"]},
    **{f"{rule['record']} {rule.get('labels')}": rule["expr"] for rule in RULES},
    **{rule["alert"]: rule["expr"] for rule in spend_of(*MODELS) if "alert" in rule},
    "gateway_requests": gateway_requests("m"),
    **{
        f"{rule.name} {floor} {target}": rule.expression
        for floor in (0, 1)
        for target in ("requests_per_second_per_replica", "queue_per_replica")
        for rule in scaling_rules(floor=floor, **{target: 4.0})
    },
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_every_query_parses_and_reads_series_that_somebody_offers(query: str) -> None:
    names = series_of(without_macros(query))
    assert names or query.startswith("vector(")
    assert names <= KNOWN_SERIES | {rule["record"] for rule in RULES} | {rule.name for rule in scaling_rules()}


def test_names_of_the_engine_reach_no_panel_but_its_own() -> None:
    own = {own.query for own in ARR_COC.panels}
    shared = {target["expr"] for panel in panels() for target in panel["targets"]} - own
    names = set().union(*(series_of(without_macros(query)) for query in shared))
    assert not [name for name in names if not name.startswith(("llm:", "istio_", "kube_"))]


def test_rules_pass_promtool(tmp_path: Path, promtool: Path) -> None:
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": rule_groups(MODELS)}))
    done = subprocess.run(
        [promtool, "check", "rules", "--lint=all", "--lint-fatal", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_record_only_what_an_engine_has() -> None:
    assert {rule["record"] for rule in rules_of(ARR_COC)} == {
        "llm:requests_total",
        "llm:request_duration_seconds_bucket",
        "llm:traffic_share_ratio",
    }


def test_same_models_give_the_same_bytes() -> None:
    assert serving_dashboard(MODELS) == serving_dashboard(MODELS)
    assert list(board()) == sorted(board())


def test_dashboard_fits_into_a_configmap() -> None:
    many = [ServedModel(name=f"model-{number}", versions=LLAMA.versions, p95_seconds=1) for number in range(100)]
    assert len(serving_dashboard(many)) < 2**20 / 4


def test_dashboard_is_read_only_and_found_again() -> None:
    assert board()["uid"] == SERVING_UID
    assert board()["editable"] is False
    assert board()["graphTooltip"] == 1


def test_titles_and_ids_are_unique() -> None:
    everything = board()["panels"]
    for key in ("title", "id"):
        values = [panel[key] for panel in everything]
        assert len(set(values)) == len(values)


def test_panels_fill_their_lines_and_never_overlap() -> None:
    for models in (MODELS, (LLAMA,), (ARR_COC,)):
        cells = [panel["gridPos"] for panel in board(*models)["panels"]]
        for one, other in combinations(cells, 2):
            beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
            assert beside or above, (one, other)
        lines: dict[int, int] = {}
        for cell in cells:
            lines[cell["y"]] = lines.get(cell["y"], 0) + cell["w"]
        assert set(lines.values()) == {24}


def test_no_data_source_is_wired_in() -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert [panel for panel in panels() if panel["datasource"] != chosen] == []
    assert not [target for panel in panels() for target in panel["targets"] if "datasource" in target]
    assert {variable["name"] for variable in board()["templating"]["list"] if variable.get("datasource") == chosen} == {
        "namespace",
        "model",
        "version",
    }


def test_variables_come_in_the_order_of_their_dependence_and_offer_all() -> None:
    variables = board()["templating"]["list"]
    assert [variable["name"] for variable in variables] == ["datasource", "namespace", "model", "version"]
    assert all(variable["multi"] and variable["includeAll"] for variable in variables[1:])
    known = {variable["name"] for variable in variables} | set(GRAFANA_MACROS)
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    used = {name for query in shown for name in re.findall(r"\$\{?(\w+)\}?", query)}
    assert used == known - {"datasource"}


def test_variables_are_filled_while_every_model_sleeps() -> None:
    wanted = {rule["record"] for rule in RULES if not series_of(rule["expr"])}
    for variable in board()["templating"]["list"][1:]:
        match = re.fullmatch(r"label_values\(([\w:]+)(\{.*\})?, (\w+)\)", variable["query"])
        assert match is not None
        assert match[1] in wanted
        assert match[3] == variable["name"]


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_every_panel_explains_itself(panel: dict[str, Any]) -> None:
    assert panel["description"]
    unit = panel["fieldConfig"]["defaults"]["unit"]
    assert unit in GRAFANA_UNITS or unit.startswith("suffix:")
    if panel["type"] == "timeseries":
        assert panel["options"]["legend"]["showLegend"] is True
    references = [target["refId"] for target in panel["targets"]]
    assert references == sorted(set(references))
    for target in panel["targets"]:
        labels = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
        if panel["title"] not in {f"{ARR_COC.name}: {own.title}" for own in ARR_COC.panels}:
            assert all(label in target["expr"] for label in labels)


def override(title: str, name: str) -> dict[str, Any]:
    """Give the properties that a panel has for the series of this name."""
    panel = next(panel for panel in panels() if panel["title"] == title)
    found = [entry for entry in panel["fieldConfig"]["overrides"] if entry["matcher"]["options"] == name]
    return {property_["id"]: property_["value"] for entry in found for property_ in entry["properties"]}


def test_objectives_color_the_numbers_of_the_models_that_have_them() -> None:
    assert override("Success ratio", "llama")["thresholds"]["steps"] == [
        {"color": "red", "value": None},
        {"color": "green", "value": 0.999},
    ]
    assert override("P95 latency", "llama")["thresholds"]["steps"] == [
        {"color": "green", "value": None},
        {"color": "red", "value": 12},
    ]
    assert override("Success ratio", "arr-coc-0-1") == override("P95 latency", "arr-coc-0-1") == {}


def test_latency_objective_is_a_dashed_line_where_there_is_one() -> None:
    def lines(model: ServedModel) -> list[str]:
        (panel,) = (panel for panel in panels(model) if panel["title"] == "Latency in the engine")
        return [target["expr"] for target in panel["targets"] if target["legendFormat"].startswith("objective")]

    assert [series_of(without_macros(line)) for line in lines(LLAMA)] == [{"llm:slo_p95_seconds"}]
    assert lines(ARR_COC) == []
    assert override("Latency in the engine", "/^objective /")["custom.lineStyle"]["fill"] == "dash"


def test_own_metrics_are_shown_literally() -> None:
    own = [panel["targets"][0]["expr"] for panel in panels() if panel["title"].startswith("arr-coc-0-1: ")]
    assert tuple(own) == ARR_COC_QUERIES
    assert not [panel for panel in board(LLAMA)["panels"] if "own metrics" in panel["title"]]


def test_no_panel_that_the_engines_cannot_fill() -> None:
    recorded = {rule["record"] for rule in [*rules_of(ARR_COC), *spend_of(ARR_COC)] if "record" in rule}
    for panel in panels(ARR_COC):
        needed = {name for target in panel["targets"] for name in series_of(without_macros(target["expr"]))}
        assert {name for name in needed if name.startswith("llm:")} <= recorded


@pytest.mark.parametrize("name", ["arr-coc", "x{", "llm:requests_total", "", "1st"])
def test_text_that_is_no_metric_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a Prometheus metric") as refusal:
        EngineMetrics(queue=name, requests="fine_total")
    assert "queue" in str(refusal.value)
    assert "fine_total" not in str(refusal.value)


def test_monitoring_imports_neither_pulumi_nor_a_warning() -> None:
    program = (
        "import sys, monitoring.dashboard, monitoring.rules, monitoring.scaling, monitoring.spend;"
        "sys.exit('pulumi' in sys.modules and 'monitoring imports pulumi')"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

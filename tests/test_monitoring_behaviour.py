"""What the queries, rules and panels answer in a real Prometheus engine, over made-up histories of series."""

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from monitoring.dashboard import serving_dashboard
from monitoring.engine_metrics import TGI, EngineMetrics
from monitoring.queries import (
    asked_for,
    beyond,
    gateway_requests,
    queue,
    request_rate,
    starting,
    under_way,
)
from monitoring.rules import rule_groups
from monitoring.scaling import ASKED as ASKED_SERIES
from monitoring.scaling import HELD, LOAD, UNSEEN, WANTED, scaling_groups
from monitoring.served_model import ModelVersion, ServedModel
from tests import promtools
from tests.scaling import scaled_version

ARR_COC = EngineMetrics(requests="arr_coc_requests_total", latency_bucket="arr_coc_inference_latency_seconds_bucket")
VERSIONS = (ModelVersion(name="stable", share=0.9), ModelVersion(name="canary", share=0.1))
LLAMA = ServedModel(name="llama", versions=VERSIONS, p95_seconds=12, availability=99.9)

Value = float | Mapping[str, float]
"""What a query must give, to three digits: one element without labels, or each element by its labels."""


class Check(Protocol):
    """Asserts what queries give at a time, over made-up series. `fields` are those of a version that is scaled."""

    def __call__(
        self, series: Mapping[str, str], expected: Sequence[tuple[str, str, Value]], **fields: Any
    ) -> None: ...


@pytest.fixture
def check(tmp_path: Path, promtool: Path) -> Check:
    """Assert what queries give at a time, over series that are scraped every 30 s from 0 on, and rules every 15 s.

    Histories are in promtool's notation: `1x9` ten times 1, `0+2x9` from 0 in steps of 2, `_` nothing, `stale` gone.
    https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/
    """
    rules = tmp_path / "rules.json"

    def run(series: Mapping[str, str], expected: Sequence[tuple[str, str, Value]], **fields: Any) -> None:
        scaled = scaling_groups([scaled_version(**fields)]) if fields else []
        rules.write_text(json.dumps({"groups": [*rule_groups([LLAMA]), *scaled]}))
        test = {
            "interval": "30s",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [
                {
                    "expr": f"round({expr}, 0.001)",
                    "eval_time": time,
                    "exp_samples": [
                        {"labels": labels, "value": number}
                        for labels, number in (value.items() if isinstance(value, Mapping) else [("{}", value)])
                    ],
                }
                for expr, time, value in expected
            ],
        }
        history = tmp_path / "history.json"
        history.write_text(json.dumps({"rule_files": [rules.name], "evaluation_interval": "15s", "tests": [test]}))
        done = subprocess.run([promtool, "test", "rules", history], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return run


def element(name: str, labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{name}{{{inside}}}"


UP = {'up{job="istio-ingress/merged-metrics",pod="gateway-a"}': "1x400"}
POD_UP = 'up{job="models/merged-metrics",app="llama",version="stable",pod="a"}'
"""Scraped every 30 s, as all of these histories."""


def at_gateway(model: str = "llama", pod: str = "gateway-a", code: str = "503", flags: str = "UH", **other: str) -> str:
    """Name a series of the gateway as it is at zero pods, where the destination's workload is unknown."""
    labels = {
        "reporter": "source",
        "source_workload": "istio-ingressgateway",
        "source_workload_namespace": "istio-ingress",
        "destination_service_name": model,
        "destination_service_namespace": "models",
        "destination_workload": "unknown",
        "destination_version": "unknown",
        "response_code": code,
        "response_flags": flags,
        "pod": pod,
        **other,
    }
    return element("istio_requests_total", labels)


def in_pod(metric: str, version: str = "stable", pod: str = "a", **other: str) -> str:
    """Name a series of one replica of the model."""
    return element(metric, {"namespace": "models", "app": "llama", "version": version, "pod": pod, **other})


def pod_up(version: str = "stable", pod: str = "a") -> str:
    """Name a pod's scrapes."""
    return element("up", {"job": "models/merged-metrics", "app": "llama", "version": version, "pod": pod})


def times(first: int, last: int) -> list[str]:
    """Every evaluation, 30 s apart, from second to second inclusive."""
    return [f"{second}s" for second in range(first, last + 1, 30)]


ASKED = f"({gateway_requests('llama')}) > bool 0"
ASKS = f"({asked_for('llama', TGI)}) > bool 0"
"""Whether somebody asks for the model now: what wakes it."""


def test_the_two_prometheus_differ_at_the_left_end_of_a_range(check: Check, promtool: Path) -> None:
    """Else it would show nothing that all the others hold on both."""
    samples = {promtools.found().get(2): 5, promtools.found().get(3): 4}
    check(UP, [("sum(count_over_time(up[2m]))", "10m", samples[promtool])])


def test_no_series_at_all_gives_zero_and_never_nothing(check: Check) -> None:
    every = (
        gateway_requests("llama"),
        ASKS,
        asked_for("llama", ARR_COC),
        starting(["llama-stable"], 2400),
        under_way("llama", "stable", TGI),
        request_rate("llama", 0.9),
        queue("llama", "stable", TGI),
    )
    check({}, [(query, time, 0) for query in every for time in ("0s", "10m")])
    check(UP, [(query, time, 0) for query in every for time in ("0s", "10m")])


def test_first_request_ever_wakes_at_once_and_for_the_whole_window(check: Check) -> None:
    # The series is born with its first sample at 10 min and never moves again.
    series = {**UP, at_gateway(): "_x20 1x40"}
    check(
        series,
        [(ASKS, "570s", 0)]
        + [(ASKS, time, 1) for time in times(600, 690)]
        + [(gateway_requests("llama"), time, 1) for time in times(600, 690)]
        + [(ASKS, time, 0) for time in times(720, 1200)],
    )


def test_every_later_request_wakes_without_a_gap(check: Check) -> None:
    series = {**UP, at_gateway(): "1x20 2x40"}
    # Between the 20th and the 21st sample the counter goes from 1 to 2.
    check(
        series,
        [(ASKED, "600s", 0)]
        + [(ASKED, time, 1) for time in times(630, 720)]
        + [(ASKED, time, 0) for time in times(750, 1200)],
    )


def test_first_request_of_a_new_gateway_pod_wakes(check: Check) -> None:
    series = {**UP, at_gateway(): "5x10 stale", at_gateway(pod="gateway-b"): "_x20 1x40"}
    check(series, [(ASKS, "570s", 0), (ASKS, "600s", 1), (ASKS, "720s", 0)])


@pytest.mark.parametrize(("history", "second"), [("7x10 stale _x8 1x40", 600), ("1x10 stale _x28 1x40", 1200)])
def test_first_request_after_a_restart_of_the_same_gateway_pod_wakes(check: Check, history: str, second: int) -> None:
    # Its counters are gone until the first request.
    check({**UP, at_gateway(): history}, [(ASKED, f"{second - 30}s", 0), (ASKED, f"{second}s", 1)])


def test_second_request_wakes_where_a_restart_hides_the_first(check: Check) -> None:
    # One request before the restart and one after look like none; the caller's next attempt does not.
    check({**UP, at_gateway(): "1x10 stale _x8 1x1 2x40"}, [(ASKED, "630s", 0), (ASKED, "660s", 1)])


@pytest.mark.parametrize("failures", ["stale", "_x2", "stale _x7"])
def test_failed_scrapes_of_the_gateway_wake_nothing(check: Check, failures: str) -> None:
    series = {**UP, at_gateway(code="200", flags="-"): f"1000x20 {failures} 1000x60"}
    check(series, [(ASKS, time, 0) for time in times(300, 1500)])


def test_counter_reset_between_two_scrapes_loses_no_request(check: Check) -> None:
    check({**UP, at_gateway(): "7x20 1x20"}, [(ASKED, "600s", 0), (ASKED, "630s", 1)])


def test_request_counted_by_a_gateway_pod_that_is_gone_still_wakes(check: Check) -> None:
    check({**UP, at_gateway(): "_x20 1 stale"}, [(ASKS, time, 1) for time in times(600, 690)])


def test_return_of_prometheus_after_an_outage_wakes_nothing(check: Check) -> None:
    outage = "1000x10 _x20 1000x40"
    series = {next(iter(UP)): outage.replace("1000", "1"), at_gateway(code="200", flags="-"): outage}
    check(series, [(ASKS, time, 0) for time in times(930, 1500)])


def test_a_second_gateway_pod_wakes_nothing_when_its_scrapes_or_prometheus_are_back(check: Check) -> None:
    """Its counters of a lifetime are no new requests, though the other pod was watched, or seen a scrape earlier."""
    other = 'up{job="istio-ingress/merged-metrics",pod="gateway-b"}'
    series = {at_gateway(): "5000x10 _x20 5000x60", at_gateway(pod="gateway-b"): "7000x10 _x21 7000x60"}
    failed = {
        **UP,
        other: "1x10 0x20 1x60",
        at_gateway(): "5000x100",
        at_gateway(pod="gateway-b"): "7000x10 _x20 7000x60",
    }
    away = {**series, next(iter(UP)): "1x10 _x20 1x60", other: "1x10 _x21 1x60"}
    for history in (away, failed):
        check(history, [(ASKS, f"{second}s", 0) for second in range(615, 2000, 15)])


def test_request_after_an_outage_of_prometheus_wakes(check: Check) -> None:
    series = {next(iter(UP)): "1x10 _x20 1x60", at_gateway(): "1000x10 _x20 1000x5 1001x40"}
    check(series, [(ASKED, "1080s", 0), (ASKED, "1110s", 1)])


@pytest.mark.parametrize(
    "other",
    [
        {"model": "llama-2"},
        {"destination_service_namespace": "staging"},
        {"reporter": "destination"},
        {"source_workload": "notebook"},
        {"source_workload_namespace": "default"},
    ],
)
def test_traffic_that_is_not_the_models_own_at_the_gateway_never_wakes(check: Check, other: dict[str, str]) -> None:
    series = {**UP, at_gateway(code="200", flags="-", **other): "_x10 0+9x60"}
    check(series, [(query, "10m", 0) for query in (ASKS, gateway_requests("llama"), request_rate("llama", 1))])


def test_gateway_pods_repeats_and_kinds_of_answer_add_up(check: Check) -> None:
    series = {
        **UP,
        at_gateway(): "_x20 2x20",
        at_gateway(pod="gateway-b"): "_x20 3x20",
        at_gateway(code="200", flags="-", destination_workload="llama-canary"): "_x20 4x20",
        # Four scrapes in the window, three more requests at each.
        at_gateway(code="200", flags="-", pod="gateway-c"): "100+3x40",
    }
    check(series, [(gateway_requests("llama"), "10m", 2 + 3 + 4 + 12)])


@pytest.mark.parametrize("gauge", ["tgi_batch_current_size", "tgi_queue_size"])
def test_long_generation_keeps_awake_though_the_gateway_counts_it_at_its_end(check: Check, gauge: str) -> None:
    series = {**UP, POD_UP: "1x100", at_gateway(code="200", flags="-"): "1x100", in_pod(gauge): "0x9 1x49 0x40"}
    check(
        series,
        [(ASKS, "270s", 0)]
        + [(ASKS, time, 1) for time in times(300, 1770)]
        + [(ASKS, time, 0) for time in times(1800, 2400)],
    )


@pytest.mark.parametrize(("version", "share"), [("stable", 0.9), ("canary", 0.1)])
def test_work_in_any_version_keeps_every_version_awake(check: Check, version: str, share: float) -> None:
    fields = {"version": version, "share": share}
    check(
        {**UP, pod_up("canary"): "1x200", in_pod("tgi_batch_current_size", version="canary"): "0x9 3x20"},
        [(f"max({ASKED_SERIES})", "270s", 0), (f"max({ASKED_SERIES})", "300s", 1)],
        **fields,
    )
    check(
        {**UP, at_gateway(): "_x20 1x40"},
        [(f"max({ASKED_SERIES})", time, value) for time, value in (("570s", 0), ("600s", 1), ("715s", 1))],
        **fields,
    )


def test_engine_without_gauges_is_awake_by_its_requests(check: Check) -> None:
    check({**UP, at_gateway(): "_x20 1x40"}, [(asked_for("llama", ARR_COC), "600s", 1)])


def test_queue_is_the_total_over_the_replicas_of_one_version(check: Check) -> None:
    series = {
        **{pod_up(pod=pod): "1x20" for pod in "ab"},
        pod_up("canary", "c"): "1x20",
        in_pod("tgi_queue_size", pod="a"): "3x20",
        in_pod("tgi_queue_size", pod="b"): "4x20",
        in_pod("tgi_queue_size", version="canary", pod="c"): "50x20",
        'tgi_queue_size{namespace="models",app="other",version="stable",pod="d"}': "60x20",
        'tgi_queue_size{namespace="staging",app="llama",version="stable",pod="e"}': "70x20",
    }
    check(series, [(queue("llama", "stable", TGI), "5m", 7), (queue("llama", "canary", TGI), "5m", 50)])


def test_a_floor_takes_its_part_of_the_load_and_the_rest_is_never_less_than_nothing(check: Check) -> None:
    waiting = queue("llama", "stable", TGI)
    series = {
        **{pod_up(pod=pod): "1x40" for pod in ("floor", "elastic")},
        in_pod("tgi_queue_size", pod="floor"): "3x10 0x10 9x10",
        in_pod("tgi_queue_size", pod="elastic"): "4x10 1x10 8x10",
    }
    # Two replicas of the floor take four each: 7, then 1, then 17 are waiting.
    query = beyond(waiting, 8)
    check(series, [(query, "2m", 0), (query, "8m", 0), (query, "13m", 9)])
    # No series at all is nothing as well, and one element.
    check({**UP}, [(query, "5m", 0)])
    rate = beyond(request_rate("llama", 0.9), 5)
    check({at_gateway(code="200", flags="-"): "0+180x40"}, [(rate, "10m", 0.4)])


def test_request_rate_is_shared_by_weight_and_leaves_out_who_knocks(check: Check) -> None:
    series = {
        at_gateway(code="200", flags="-"): "0+120x40",
        at_gateway(code="200", flags="-", pod="gateway-b"): "0+60x40",
        at_gateway(): "0+3000x40",
        at_gateway(flags="URX,UH"): "0+3000x40",
    }
    check(series, [(request_rate("llama", 0.9), "10m", 5.4), (request_rate("llama", 0.1), "10m", 0.6)])


@pytest.mark.parametrize("target", [{"requests_per_second_per_replica": 0.01}, {"queue_per_replica": 4.0}])
@pytest.mark.parametrize("share", [0.9, 0.1])
@pytest.mark.parametrize("floor", [0, 1])
def test_nothing_is_wanted_but_what_somebody_asks_for(
    check: Check, share: float, floor: int, target: dict[str, Any]
) -> None:
    """Where it is known what goes on: else all that there are stay."""
    series = {
        **UP,
        POD_UP: "1x200",
        at_gateway(code="200", flags="-"): "_x10 1x5 4x5 4x20 stale _x10 2x150",
        in_pod("tgi_queue_size"): "0x30 9x5 0x165",
        in_pod("tgi_batch_current_size"): "0x30 3x15 0x155",
        deployment("spec_replicas", "llama-stable"): "0x30 1x170",
        deployment("status_replicas_unavailable", "llama-stable"): "0x30 1x2 0x168",
    }
    memory = "[5m]" if floor else "[14m]"
    check(
        series,
        [
            (f"{WANTED} > 0 unless on() max_over_time({ASKED_SERIES}{memory}) == 1", time, {})
            for time in times(25 * 60, 95 * 60)
        ]
        + [(f"max({LOAD}) > 0 unless on() {WANTED}", time, {}) for time in times(25 * 60, 95 * 60)],
        share=share,
        floor=floor,
        startup_seconds=300,
        **target,
    )


def deployment(what: str, name: str = "llama-stable", **other: str) -> str:
    """Name a series of kube-state-metrics."""
    return element(f"kube_deployment_{what}", {"namespace": "models", "deployment": name, **other})


def test_asleep_after_the_idle_time_and_not_before(check: Check) -> None:
    awake = f"max({WANTED})"
    # One request at 40 min: seen for its window of 2 min, and remembered for 14 more; KEDA waits for one itself.
    check(
        {**UP, at_gateway(): "_x80 1x60", deployment("spec_replicas"): "1x200"},
        [
            (awake, "2370s", 0),
            *((awake, time, 1) for time in times(2400, 2400 + 16 * 60 - 30)),
            (awake, f"{2400 + 16 * 60 + 15}s", 0),
        ],
        startup_seconds=300,
    )


def test_a_replica_that_starts_keeps_awake_and_one_that_never_does_not_for_ever(check: Check) -> None:
    query = starting(["llama-stable", "llama-canary"], 1200)
    missing, wanted = deployment("status_replicas_unavailable"), deployment("spec_replicas")
    woken = {wanted: "0x10 1x90"}
    check(
        {**woken, missing: "0x10 1x60 0x10"},
        [(query, "270s", 0), (query, "330s", 1), (query, "1470s", 1), (query, "1530s", 0)],
    )
    check({**woken, missing: "0x10 1x90"}, [(query, "20m", 1), (query, "30m", 0)])
    # Lost again and again, though nobody asked for one more.
    check({wanted: "1x100", missing: "0x60 1x5 0x5 1x5 0x5 1x20"}, [(query, time, 0) for time in times(1500, 3000)])
    # Two pods of kube-state-metrics, one after the other, are one history.
    check(
        {
            deployment("spec_replicas", instance="a"): "0x10 1x10 stale",
            deployment("spec_replicas", instance="b"): "_x21 1x40",
            deployment("status_replicas_unavailable", instance="a"): "0x10 1x10 stale",
            deployment("status_replicas_unavailable", instance="b"): "_x21 1x40",
        },
        [(query, "15m", 1), (query, "28m", 0)],
    )
    other = "llama-2-stable"
    check(
        {
            deployment("status_replicas_unavailable", other): "0x10 1x30",
            deployment("spec_replicas", other): "0x10 1x30",
        },
        [(query, "10m", 0)],
    )


HOLD = f"max({HELD})"
BY_RATE: dict[str, Any] = {"requests_per_second_per_replica": 2.0, "startup_seconds": 27 * 60}
"""All are held for half an hour: 27 minutes, and three in which no new series of the gateway counts."""
THREE = {deployment("spec_replicas"): "3x400"}


def test_nothing_is_held_once_all_was_watched(check: Check) -> None:
    check({**UP, **THREE, POD_UP: "1x200"}, [(HOLD, "28m", 3), (HOLD, "31m", 0), (HOLD, "60m", 0)], **BY_RATE)


def test_nothing_that_sleeps_is_held(check: Check) -> None:
    check({deployment("spec_replicas"): "0x400"}, [(HOLD, time, 0) for time in ("1m", "31m", "60m")], **BY_RATE)


@pytest.mark.parametrize(
    ("series", "held_again_until"),
    [
        ({next(iter(UP)): "1x80 _x10 1x200"}, 45 + 30),  # Prometheus away for five minutes
        ({next(iter(UP)): "1x80 0x10 1x200"}, 45 + 30),  # the gateway's scrapes fail
        ({**UP, POD_UP: "1x80 0x10 1x200"}, 45),  # a replica's do
        ({**UP, POD_UP: "1x200", in_pod("tgi_batch_current_size"): "7x80 _x10 7x100"}, 45),  # an engine tells nothing
    ],
)
def test_all_are_held_as_long_as_it_is_not_known(check: Check, series: dict[str, str], held_again_until: int) -> None:
    check(
        {**THREE, **series},
        [(HOLD, "39m", 0), (HOLD, "43m30s", 3), (HOLD, "44m", 3), (HOLD, f"{held_again_until + 2}m", 0)],
        **BY_RATE,
    )


def test_a_second_gateway_that_is_not_scraped_is_enough(check: Check) -> None:
    other = 'up{job="istio-ingress/merged-metrics",pod="gateway-b"}'
    check(
        {**UP, **THREE, other: "1x80 0x10 1x100"}, [(HOLD, "39m", 0), (HOLD, "43m30s", 3), (HOLD, "47m", 0)], **BY_RATE
    )
    # One that is gone is not.
    check({**UP, **THREE, other: "1x80 stale"}, [(HOLD, "42m", 0)], **BY_RATE)


def test_a_pod_that_ends_holds_nobody(check: Check) -> None:
    """Seen with KEDA's operator: one proposal to stay is remembered by the HPA, and the next step is late by it."""
    ends = 'up{job="models/merged-metrics",app="llama",version="stable",pod="b"}'
    drains = {
        in_pod("tgi_batch_current_size", pod="b"): "7x80 stale",
        'kube_pod_deletion_timestamp{namespace="models",pod="b",uid="1"}': "_x80 2430x20 stale",
    }
    series = {**UP, **THREE, POD_UP: "1x200", in_pod("tgi_batch_current_size"): "0x200"}
    every = [(HOLD, f"{second}s", 0) for second in range(2400, 3100, 15)]
    check({**series, **drains, ends: "1x100 0x1 stale"}, every, **BY_RATE)
    # A gateway pod that ends, or begins, fails a scrape as well.
    gateway = 'up{job="istio-ingress/merged-metrics",pod="gateway-b"}'
    check({**series, gateway: "1x80 0x1 stale"}, every, **BY_RATE)
    check({**series, gateway: "_x80 0x2 1x100"}, every, **BY_RATE)


def test_a_pod_holds_for_an_hour_after_it_was_last_seen(check: Check) -> None:
    """TGI has no series before its first request: a restarted engine that nobody asks is silent as well."""
    series = {**UP, **THREE, POD_UP: "1x400", in_pod("tgi_batch_current_size"): "7x80 stale"}
    check(series, [(HOLD, "43m30s", 3), (HOLD, "95m", 3), (HOLD, "102m", 0)], **BY_RATE)
    series = {**UP, **THREE, POD_UP: "1x80 0x300"}
    check(series, [(HOLD, "43m30s", 3), (HOLD, "95m", 3), (HOLD, "102m", 0)], **BY_RATE)


def test_a_pod_that_was_never_scraped_holds_nobody_unless_it_is_ready(check: Check) -> None:
    never = {pod_up(pod="llama-stable-7f9c-abcde"): "_x80 0x300"}
    series = {**UP, **THREE, POD_UP: "1x400", **never}
    check(series, [(HOLD, "60m", 0), (f"max({UNSEEN})", "60m", 0)], **BY_RATE)
    ready = element(
        "kube_pod_status_ready", {"namespace": "models", "condition": "true", "pod": "llama-stable-7f9c-abcde"}
    )
    for seen in (never, {}):
        there = {**UP, **THREE, POD_UP: "1x400", **seen, ready: "_x80 1x300"}
        check(there, [(HOLD, "39m", 0), (HOLD, "60m", 3), (f"max({UNSEEN})", "60m", 1)], **BY_RATE)
    # Another version's pod is not this one's.
    check({**UP, **THREE, ready.replace("stable-7f9c", "canary-7f9c"): "1x300"}, [(HOLD, "60m", 0)], **BY_RATE)


@pytest.mark.parametrize("fields", [{**BY_RATE, "startup_seconds": 3600}, {"queue_per_replica": 4.0}])
def test_while_kube_state_metrics_is_silent_its_last_word_counts_for_a_while(
    check: Check, fields: dict[str, Any]
) -> None:
    """Then nothing is said: an error, on which nothing changes. A model that sleeps wakes all the same."""
    said = f"count({WANTED}) or vector(0)"
    busy = {in_pod("tgi_queue_size"): "9x200", in_pod("tgi_batch_current_size"): "9x200"}
    series = {**UP, POD_UP: "1x200", **busy, deployment("spec_replicas"): "3x80 stale"}
    check(series, [(said, "44m30s", 1), (HOLD, "44m30s", 3), (said, "46m", 0), (said, "70m", 0)], **fields)
    asleep = {**UP, at_gateway(): "_x120 1x40"}
    check(asleep, [(f"max({WANTED})", "59m30s", 0), (f"max({WANTED})", "60m30s", 1)], **fields)


def test_a_prometheus_without_a_past_says_nothing_before_it_knows_the_pods(check: Check) -> None:
    """Neither kube-state-metrics nor pods are scraped in its first minute: that is no model at zero."""
    said = f"count({WANTED}) or vector(0)"
    series = {next(iter(UP)): "_ 1x100", POD_UP: "_x4 1x100", deployment("spec_replicas"): "_x4 3x100"}
    check(series, [(said, "1m", 0), (said, "90s", 0), (f"max({WANTED})", "150s", 3)], **BY_RATE)


@pytest.mark.parametrize("scrapes", [5, 11, 13, 14, 16])
@pytest.mark.parametrize("fields", [{**BY_RATE}, {"floor": 1}])
def test_the_first_evaluation_after_an_outage_takes_nothing_and_wakes_nothing(
    check: Check, scrapes: int, fields: dict[str, Any]
) -> None:
    """Seen with Prometheus 3.16: what each part of a query takes for its past reaches back differently far."""
    gap = f"1x120 _x{scrapes} 1x100"
    back = 3600 + 30 * scrapes + 30
    evaluations = [f"{second}s" for second in range(back, back + 900, 15)]
    gone = [f"{second}s" for second in range(3615, back, 15)]
    gateway, counted = next(iter(UP)), at_gateway(code="200", flags="-")
    up = {gateway: gap, POD_UP: gap, counted: gap.replace("1x", "5000x"), in_pod("tgi_batch_current_size"): gap}
    # While it is away it is not asked, and what a rule would give then is not looked at.
    there = {**up, deployment("spec_replicas"): gap.replace("1x", "3x")}
    check(there, [(f"max({WANTED}) or vector(3)", time, 3) for time in evaluations], **fields)
    asleep = {gateway: gap, counted: up[counted], deployment("spec_replicas"): gap.replace("1x", "0x")}
    check(asleep, [(f"max({WANTED}) > 0", time, {}) for time in (*gone, *evaluations)], **fields)


@pytest.mark.parametrize(("floor", "held"), [(0, (3, 3, 2, 0)), (1, (3, 3, 1, 0)), (2, (3, 2, 0, 0))])
def test_requests_under_way_hold_the_replicas_that_they_need(check: Check, floor: int, held: tuple[int, ...]) -> None:
    """A queue of four a replica: 40, 16, 8 and none under way, of which the floor may have four waiting for each."""
    series = {
        **UP,
        **THREE,
        **{pod_up(pod=pod): "1x200" for pod in "ab"},
        in_pod("tgi_queue_size"): "0x400",
        in_pod("tgi_batch_current_size", pod="a"): "20x100 8x20 4x20 0x20",
        in_pod("tgi_batch_current_size", pod="b"): "20x100 8x20 4x20 0x20",
    }
    at = ("45m", "55m", "65m", "75m")
    check(
        series,
        [(f"ceil({HOLD})", time, number) for time, number in zip(at, held, strict=True)],
        floor=floor,
        queue_per_replica=4.0,
    )


def test_rules_keep_counters_by_pod_under_the_names_that_readers_use(check: Check) -> None:
    series = {
        in_pod("tgi_request_count", instance="10.0.0.1:15020", container="istio-proxy"): "0+3x20",
        in_pod("tgi_request_count", version="canary", pod="b"): "0+6x20",
        in_pod("tgi_request_failure", err="overloaded"): "0+1x20",
        in_pod("tgi_request_failure", err="validation"): "0+2x20",
        'tgi_request_count{namespace="models",app="other",version="stable",pod="z"}': "0+9x20",
    }
    stable, canary = (
        f'{{namespace="models",model="llama",version="{version}",pod="{pod}"}}'
        for version, pod in (("stable", "a"), ("canary", "b"))
    )
    check(
        series,
        [
            ("llm:requests_total", "5m", {stable: 30, canary: 60}),
            ("llm:request_failures_total", "5m", {stable: 30}),
        ],
    )


def test_rules_give_what_is_wanted_at_zero_pods(check: Check) -> None:
    of_model = 'namespace="models",model="llama"'
    check(
        {},
        [
            (
                "llm:traffic_share_ratio",
                "1m",
                {f'{{{of_model},version="{version.name}"}}': version.share for version in VERSIONS},
            ),
            ("llm:slo_p95_seconds", "1m", {f"{{{of_model}}}": 12}),
            ("llm:slo_availability_ratio", "1m", {f"{{{of_model}}}": 0.999}),
        ],
    )


def panel(title: str, target: int = 0) -> str:
    """Give a panel's query as Grafana sends it with these choices."""
    board = json.loads(serving_dashboard([LLAMA]))
    query: str = next(panel for panel in board["panels"] if panel["title"] == title)["targets"][target]["expr"]
    chosen = {
        "namespace": "models",
        "model": "llama",
        "version": "(stable|canary)",
        "__rate_interval": "2m",
        "__range": "5m",
    }
    return re.sub(r"\$\{?(\w+)\}?", lambda match: chosen[match[1]], query)


LLAMA_SERVICE = '{destination_service_name="llama"}'


def test_panel_success_ratio(check: Check) -> None:
    query = panel("Success ratio")
    good, bad = at_gateway(code="200", flags="-"), at_gateway()
    left = at_gateway(code="0", flags="DC")
    check({good: "0+9x20", bad: "0+1x20"}, [(query, "10m", {LLAMA_SERVICE: 0.9})])
    check({good: "0+3x20", left: "0+1x20"}, [(query, "10m", {LLAMA_SERVICE: 0.75})])
    check({good: "0+9x20"}, [(query, "10m", {LLAMA_SERVICE: 1})])
    check({bad: "0+1x20"}, [(query, "10m", {LLAMA_SERVICE: 0})])
    check({good: "5x20"}, [(query, "10m", {})])


@pytest.mark.parametrize(("wanted", "available", "shown"), [(0, 0, 0), (0, 1, 0), (2, 0, 1), (2, 1, 2)])
def test_panel_state(check: Check, wanted: int, available: int, shown: int) -> None:
    labels = '{namespace="models",deployment="llama-canary"}'
    series = {
        f"kube_deployment_spec_replicas{labels}": f"{wanted}x20",
        f"kube_deployment_status_replicas_available{labels}": f"{available}x20",
        **{
            f'{name}{{namespace="models",deployment="llama-2-canary"}}': "1x20"
            for name in ("kube_deployment_spec_replicas", "kube_deployment_status_replicas_available")
        },
    }
    check(series, [(panel("State"), "5m", {'{deployment="llama-canary"}': shown})])


def test_panel_share_of_the_traffic(check: Check) -> None:
    reached = {
        at_gateway(code="200", flags="-", destination_version="stable"): "0+27x20",
        at_gateway(code="200", flags="-", destination_version="canary"): "0+3x20",
        at_gateway(code="200", flags="-", destination_version="canary", pod="gateway-b"): "0+6x20",
        at_gateway(): "0+50x20",
    }
    measured = {
        f'{{destination_service_name="llama",destination_version="{version}"}}': share
        for version, share in (("stable", 0.75), ("canary", 0.25))
    }
    wanted = {f'{{namespace="models",model="llama",version="{version.name}"}}': version.share for version in VERSIONS}
    title = "Share of the traffic"
    check(reached, [(panel(title), "10m", measured), (panel(title, 1), "10m", wanted)])


def test_panel_latency_is_the_engines_own(check: Check) -> None:
    buckets = {"4": "0+50x20", "8": "0+90x20", "16": "0+100x20", "+Inf": "0+100x20"}
    series = {in_pod("tgi_request_duration_bucket", le=le): values for le, values in buckets.items()}
    title = "Latency in the engine"
    # The 95th of 100 lies halfway into the bucket from 8 to 16.
    check(series, [(panel(title, 1), "10m", {'{model="llama"}': 12}), (panel(title), "10m", {'{model="llama"}': 4})])

"""The simulator's own PromQL, held against Prometheus: its engine answers over the same histories."""

import json
import math
import random
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from planning.simulate.promql import Prometheus, Value
from tests import promtools
from tests.scaling import scaling_rules

STEP = 17
"""Seconds between scrapes. Seldom at a whole minute: there it matters that ranges were closed on the left until 3.0."""
MINUTES = 70
TIMES = [*range(7, 300, 61), *range(307, MINUTES * 60, 211)]


def history(chance: random.Random, *, counter: bool) -> list[float | None]:
    """Make a series by scrapes: None is no sample, as after a failed scrape."""
    value, values = float(chance.randrange(5)), list[float | None]()
    born, gone = chance.randrange(60), chance.choice([10**9, 150, 220])
    for number in range(MINUTES * 60 // STEP + 1):
        if counter:
            value = 0.0 if chance.random() < 0.01 else value + chance.choice([0, 0, 1, 7])
        elif chance.random() < 0.2:
            value = float(chance.choice([0, 0, 1, 3, 12]))
        values.append(None if not born <= number < gone or chance.random() < 0.05 else value)
    return values


def at_gateway(flags: str, pod: str) -> dict[str, str]:
    return {
        "reporter": "source",
        "source_workload": "istio-ingressgateway",
        "source_workload_namespace": "istio-ingress",
        "destination_service_name": "llama",
        "destination_service_namespace": "models",
        "response_flags": flags,
        "pod": pod,
    }


def histories(seed: int) -> list[tuple[str, dict[str, str], list[float | None]]]:
    """Make the series that the scaling queries read, with gaps, births, ends and restarts."""
    chance = random.Random(seed)  # noqa: S311  (no secret)
    up = [None if 80 <= number < 80 + chance.choice([0, 9, 40]) else 1.0 for number in range(MINUTES * 60 // STEP + 1)]
    made: list[tuple[str, dict[str, str], list[float | None]]] = [
        ("up", {"job": "istio-ingress/merged-metrics", "pod": "gateway-a"}, list(up))
    ]
    for pod in ("gateway-a", "gateway-b"):
        made += [
            ("istio_requests_total", at_gateway(flags, pod), history(chance, counter=True)) for flags in ("-", "UH")
        ]
    for number in range(3):
        of = {"namespace": "models", "app": "llama", "version": "stable", "pod": f"p{number}"}
        made += [(name, of, history(chance, counter=False)) for name in ("tgi_queue_size", "tgi_batch_current_size")]
        made.append(("up", {"job": "models/merged-metrics", **of}, [1.0] * (MINUTES * 60 // STEP + 1)))
    for number in range(2):
        ready = {"namespace": "models", "condition": "true", "pod": f"llama-stable-7f9c-p{number}"}
        made.append(("kube_pod_status_ready", ready, [1.0] * (MINUTES * 60 // STEP + 1)))
    deployment = {"namespace": "models", "deployment": "llama-stable"}
    made.append(("kube_deployment_spec_replicas", deployment, history(chance, counter=False)))
    made.append(("kube_deployment_status_replicas_unavailable", deployment, history(chance, counter=False)))
    return made


def queries() -> list[str]:
    """Give every query of a few ScaledObjects, and parts that they do not have."""
    targets: list[dict[str, Any]] = [{"queue_per_replica": 4.0}, {"requests_per_second_per_replica": 0.02}]
    rendered = [
        rule.expression
        for target in targets
        for floor in (0, 1)
        for rule in scaling_rules(floor=floor, startup_seconds=300, deadline_seconds=600, **target)
    ]
    series = 'tgi_queue_size{app="llama"}'
    return [
        *rendered,
        f"sum by (pod) ({series})",
        f"{series} * 2 >= 6",
        f"2 / {series} != bool 1",
        f"min by (version) ({series}) or on() vector(5)",
        f"{series} and on(pod) tgi_batch_current_size > 2",
        f"{series} unless tgi_batch_current_size",
        "rate(istio_requests_total[2m])",
        f"min_over_time(({series} - 1)[5m:1m] offset 1m) <= 0",
        f"vector(scalar({series}))",
    ]


def ours(series: Sequence[tuple[str, dict[str, str], list[float | None]]]) -> list[tuple[str, int, Value]]:
    """Ask between the scrapes, as time goes on."""
    prometheus, asked = Prometheus(), []
    every = queries()
    for query in every:
        prometheus.compiled(query)
    for number in range(MINUTES * 60 // STEP + 1):
        # A failed scrape is no word on what is gone, so series are scraped each by itself here.
        prometheus.scrape(
            float(number * STEP),
            [(name, labels, value) for name, labels, values in series if (value := values[number]) is not None],
        )
        for time in TIMES:
            if number * STEP <= time < (number + 1) * STEP:
                asked += [(query, time, prometheus.ask(query, float(time))) for query in every]
    return asked


def theirs(folder: Path, promtool: Path, series: Any, expected: Sequence[tuple[str, int, Value]]) -> str:
    """Let promtool compare; it prints what differs."""
    test = {
        "interval": f"{STEP}s",
        "input_series": [
            {"series": _name(name, labels), "values": " ".join(_sample(values, at) for at in range(len(values)))}
            for name, labels, values in series
        ],
        "promql_expr_test": [
            {
                "expr": f"round({query}, 0.0001)",
                "eval_time": f"{time}s",
                "exp_samples": [
                    {"labels": _name("", dict(labels)), "value": round(value * 1e4) / 1e4}
                    for labels, value in (value.items() if isinstance(value, Mapping) else [])
                    if not math.isnan(value)
                ],
            }
            for query, time, value in expected
            if not (isinstance(value, Mapping) and any(math.isnan(one) for one in value.values()))
        ],
    }
    (folder / "rules.json").write_text(json.dumps({"groups": []}))
    (folder / "test.json").write_text(
        json.dumps({"rule_files": [], "evaluation_interval": f"{STEP}s", "tests": [test]})
    )
    done = subprocess.run(
        [promtool, "test", "rules", folder / "test.json"], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _name(name: str, labels: Mapping[str, str]) -> str:
    return name + "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"


def _sample(values: Sequence[float | None], at: int) -> str:
    """Write a sample as promtool reads it; a series that ends is told so, as Prometheus notes it."""
    value = values[at]
    if value is not None:
        return f"{value:g}"
    return "stale" if at and values[at - 1] is not None else "_"


@pytest.mark.parametrize("seed", range(4))
def test_every_answer_is_prometheuss_own(tmp_path: Path, promtool: Path, seed: int) -> None:
    series = histories(seed)
    expected = ours(series)
    assert len(expected) == len(TIMES) * len(queries())
    assert len({repr(value) for _, _, value in expected}) > 20
    # Before 3.0 a rate near a counter's birth was another.
    compared = [one for one in expected if promtool != promtools.found().get(2) or "rate(" not in one[0]]
    assert len(compared) > len(expected) / 2
    assert theirs(tmp_path, promtool, series, compared) == ""


@pytest.mark.parametrize(
    "query",
    [
        "a @ 5",
        "topk(2, a)",
        "sum without (pod) (a)",
        "a + ignoring(b) c",
        "a * on(b) group_left() c",
        "absent(a)",
        "1 + 1",
    ],
)
def test_what_is_not_known_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match="not known here"):
        Prometheus().ask(query, 0.0)


def test_what_is_no_promql_is_refused() -> None:
    with pytest.raises(ValueError, match=r".+"):
        Prometheus().ask("sum(", 0.0)


def test_several_elements_that_match_one_are_refused() -> None:
    prometheus = Prometheus()
    prometheus.scrape(0.0, [("a", {"x": "1"}, 1.0), ("b", {"x": "1", "y": "1"}, 1.0), ("b", {"x": "1", "y": "2"}, 1.0)])
    with pytest.raises(ValueError, match="several elements match one"):
        prometheus.ask("a + on(x) b", 0.0)


def test_the_past_is_kept_as_long_as_a_query_looks_back() -> None:
    prometheus, query = Prometheus(), "max_over_time(a[20m] offset 10m)"
    prometheus.compiled(query)
    for number in range(1000):
        prometheus.scrape(number * 15.0, [("a", {}, float(number))])
    assert prometheus.ask(query, 999 * 15.0) == {(): 959.0}
    assert prometheus.ask("min_over_time(a[20m] offset 10m)", 999 * 15.0) == {(): 880.0}
    [series] = prometheus._series["a"].values()
    assert len(series.times) < 400

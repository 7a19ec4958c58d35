"""The serving dashboard as code: one function a panel. It reads `llm:*`, `istio_*` and `kube_*` only.

In the v1 model of Grafana's Foundation SDK, which is what the dashboard sidecar's file provisioning takes.
"""

import warnings
from collections.abc import Iterator, Sequence
from itertools import count
from string import ascii_uppercase

from monitoring.queries import GATEWAY
from monitoring.served_model import OwnPanel, ServedModel

with warnings.catch_warnings():
    # The SDK tells on import that v2 is newer.
    warnings.filterwarnings("ignore", message="Prefer using dashboardv2", category=DeprecationWarning)
    from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import common as common_models
    from grafana_foundation_sdk.models import dashboard as models

SERVING_UID = "llmserve-serving"

Panel = stat.Panel | timeseries.Panel
Target = tuple[str, str]
"""A query and the legend of its series."""

_GRID_COLUMNS = 24
_DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")

_MODELS = 'namespace=~"$namespace",model=~"$model"'
_VERSIONS = f'{_MODELS},version=~"$version"'
_AT_GATEWAY = f'{GATEWAY},destination_service_namespace=~"$namespace",destination_service_name=~"$model"'
_AT_GATEWAY_BY_VERSION = f'{_AT_GATEWAY},destination_version=~"$version"'
_DEPLOYMENTS = 'namespace=~"$namespace",deployment=~"${model}-${version}"'
_WANTED_REPLICAS = f"max by (deployment) (kube_deployment_spec_replicas{{{_DEPLOYMENTS}}})"
_READY_REPLICAS = f"max by (deployment) (kube_deployment_status_replicas_available{{{_DEPLOYMENTS}}})"

_SERVICE = "destination_service_name"
_SERVICE_VERSION = "destination_service_name, destination_version"
_MODEL_LEGEND = "{{model}}"
_VERSION_LEGEND = "{{model}} {{version}}"
_SERVICE_LEGEND = "{{destination_service_name}}"
_SERVICE_VERSION_LEGEND = "{{destination_service_name}} {{destination_version}}"

_DASHED = [
    models.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 10]}),
    models.DynamicConfigValue("custom.fillOpacity", 0),
]
_STACKED = common.StackingConfig().mode(common_models.StackingMode.NORMAL)
_APART = models.DynamicConfigValue("custom.stacking", {"mode": "none"})


def serving_dashboard(served: Sequence[ServedModel]) -> str:
    """Give the dashboard's JSON: the same bytes for the same models, no panel that none of them can fill."""
    board = (
        dashboard.Dashboard("LLM serving")
        .uid(SERVING_UID)
        .description("What callers get, what the engines do and how many replicas there are, by model and version.")
        .tags(["llmserve"])
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("30s")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_variable("namespace", ""))
        .with_variable(_variable("model", '{namespace=~"$namespace"}'))
        .with_variable(_variable("version", f"{{{_MODELS}}}"))
    )
    # Ids of our own, so that a link to one panel outlives the next deployment.
    ids = count(1)
    for title, lines in _rows(served):
        board.with_row(dashboard.Row(title).id(next(ids)))
        for line in lines:
            for panel in line:
                board.with_panel(panel.id(next(ids)).span(_GRID_COLUMNS // len(line)).datasource(_DATASOURCE))
    return JSONEncoder(sort_keys=True, indent=1).encode(board.build()) + "\n"


def _rows(served: Sequence[ServedModel]) -> Iterator[tuple[str, Sequence[Sequence[Panel]]]]:
    """Give each row's title and its lines of panels; the panels of a line share the width."""

    def told(metric: str, panel: Panel) -> list[Panel]:
        return [panel] if any(getattr(model.engine, metric) is not None for model in served) else []

    yield "Now", [[success_ratio(served), *told("latency_bucket", p95_now(served)), state(), requests_now()]]
    yield (
        "Latency and throughput",
        [
            [*told("latency_bucket", latency(served)), gateway_latency()],
            [responses(), *told("generated_tokens", tokens())],
        ],
    )
    inside = [
        *told("queue", waiting()),
        *told("in_flight", running()),
        *told("queue_time_bucket", time_in_queue()),
        *told("token_time_bucket", time_per_token()),
    ]
    if inside:
        yield "Queue and batch", [inside]
    yield "Scaling", [[replicas(), turned_away()]]
    yield (
        "Stable against canary",
        [[traffic_share(), success_by_version(), *told("latency_bucket", p95_by_version())]],
    )
    yield (
        "Cost",
        [[dollars_an_hour(), dollars_against_forecast(), *told("generated_tokens", dollars_a_million_tokens())]],
    )
    for model in served:
        own = [own_panel(model, panel) for panel in model.panels]
        if own:
            yield (
                f"{model.name}: its own metrics",
                [own[start : start + 3] for start in range(0, len(own), 3)],
            )


def success_ratio(served: Sequence[ServedModel]) -> stat.Panel:
    """Part of the requests that callers got answered, against each model's availability objective."""
    panel = _stat(
        "Success ratio",
        "percentunit",
        "Requests at the gateway that neither ended in 5xx nor were given up by the caller, over the range "
        "shown. Red below the model's objective. What a cold model turned away has failed.",
        (_success(_SERVICE, _AT_GATEWAY, "$__range"), _SERVICE_LEGEND),
    )
    for model in served:
        if model.availability_ratio is not None:
            panel.override_by_name(model.name, _colored((None, "red"), (model.availability_ratio, "green")))
    return panel.decimals(3).no_value("no requests")


def p95_now(served: Sequence[ServedModel]) -> stat.Panel:
    """P95 in the engine, against each model's latency objective."""
    panel = _stat(
        "P95 latency",
        "s",
        "95 of 100 requests took no longer in the engine, over the range shown. Red above the objective.",
        (
            _quantile(0.95, "llm:request_duration_seconds_bucket", "model", _VERSIONS, "$__range"),
            _MODEL_LEGEND,
        ),
    )
    for model in served:
        if model.p95_seconds is not None:
            panel.override_by_name(model.name, _colored((None, "green"), (model.p95_seconds, "red")))
    return panel.no_value("no requests")


def state() -> stat.Panel:
    """Whether each version is cold, waking or awake."""
    texts = (("cold", "blue"), ("waking", "orange"), ("awake", "green"))
    options = {
        str(value): models.ValueMappingResult(text=text, color=color, index=value)
        for value, (text, color) in enumerate(texts)
    }
    return _stat(
        "State",
        "short",
        "Cold: no replica is wanted. Waking: none is ready yet (node, image, weights). Awake: one answers.",
        (f"({_WANTED_REPLICAS} > bool 0) * (1 + ({_READY_REPLICAS} > bool 0))", "{{deployment}}"),
    ).mappings([models.ValueMap(options)])


def requests_now() -> stat.Panel:
    """Requests a second."""
    return _stat(
        "Requests",
        "reqps",
        "Requests a second at the gateway, whatever came of them.",
        (f"sum by ({_SERVICE}) (rate(istio_requests_total{{{_AT_GATEWAY}}}[5m]))", _SERVICE_LEGEND),
    ).no_value("0")


def latency(served: Sequence[ServedModel]) -> timeseries.Panel:
    """P50, P95 and P99 in the engine, with the objective."""
    targets = [
        (
            _quantile(quantile, "llm:request_duration_seconds_bucket", "model", _VERSIONS),
            f"{name} {_MODEL_LEGEND}",
        )
        for name, quantile in (("P50", 0.5), ("P95", 0.95), ("P99", 0.99))
    ]
    if any(model.p95_seconds is not None for model in served):
        targets.append((f"llm:slo_p95_seconds{{{_MODELS}}}", f"objective P95 {_MODEL_LEGEND}"))
    return _timeseries(
        "Latency in the engine",
        "s",
        "From arrival at the engine to the last token: queue, prefill, decode. Dashed: the objective.",
        *targets,
    ).override_by_regexp("/^objective /", [*_color("red"), *_DASHED])


def gateway_latency() -> timeseries.Panel:
    """P50, P95 and P99 as callers see them."""
    answered = f'{_AT_GATEWAY},response_code=~"2.."'
    bucket = "istio_request_duration_milliseconds_bucket"
    return _timeseries(
        "Latency at the gateway",
        "s",
        "Answered requests to their last byte. Istio's buckets are coarse: 5, 10, 30, 60, 300 s.",
        *(
            (f"{_quantile(quantile, bucket, _SERVICE, answered)} / 1000", f"{name} {_SERVICE_LEGEND}")
            for name, quantile in (("P50", 0.5), ("P95", 0.95), ("P99", 0.99))
        ),
    )


def responses() -> timeseries.Panel:
    """Requests a second by class of response."""
    classes = (
        ("2xx", 'response_code=~"2.."', "green"),
        ("4xx", 'response_code=~"4..",response_code!="429"', "orange"),
        ("429", 'response_code="429"', "purple"),
        ("5xx", 'response_code=~"5.."', "red"),
        ("given up", 'response_code="0"', "#808080"),
    )
    panel = _timeseries(
        "Responses",
        "reqps",
        "429: more than an engine takes at once. Given up: the caller left before the answer began.",
        *(
            (f"sum(rate(istio_requests_total{{{_AT_GATEWAY},{matching}}}[$__rate_interval]))", name)
            for name, matching, _ in classes
        ),
    )
    for name, _, color in classes:
        panel.override_by_name(name, _color(color))
    return panel.stacking(_STACKED).fill_opacity(40)


def tokens() -> timeseries.Panel:
    """Tokens a second, out and in."""
    return _timeseries(
        "Tokens",
        "suffix: tok/s",
        "Booked when a request ends, so that long responses show late and in lumps.",
        *(
            (
                f"sum by (model) (rate(llm:{kind}_tokens_total{{{_VERSIONS}}}[$__rate_interval]))",
                f"{kind} {_MODEL_LEGEND}",
            )
            for kind in ("generated", "prompt")
        ),
    )


def waiting() -> timeseries.Panel:
    """Requests in the engines' queues."""
    return _timeseries(
        "Waiting requests",
        "short",
        "Requests that wait for a batch, over all replicas of a version.",
        (f"sum by (model, version) (llm:waiting_requests{{{_VERSIONS}}})", _VERSION_LEGEND),
    )


def running() -> timeseries.Panel:
    """Requests in the engines' batches."""
    return _timeseries(
        "Running requests",
        "short",
        "How many requests share the GPUs: the batches of all replicas of a version.",
        (f"sum by (model, version) (llm:running_requests{{{_VERSIONS}}})", _VERSION_LEGEND),
    )


def time_in_queue() -> timeseries.Panel:
    """P95 of the time before a request joins a batch."""
    return _timeseries(
        "Time in queue, P95",
        "s",
        "How long a request waits before it joins a batch. Rises before the latency does.",
        (_quantile(0.95, "llm:queue_duration_seconds_bucket", "model, version", _VERSIONS), _VERSION_LEGEND),
    )


def time_per_token() -> timeseries.Panel:
    """P95 of the mean time for one generated token."""
    return _timeseries(
        "Time per token, P95",
        "s",
        "How fast a response reads once it has begun. Rises with the batch.",
        (_quantile(0.95, "llm:token_duration_seconds_bucket", "model, version", _VERSIONS), _VERSION_LEGEND),
    )


def replicas() -> timeseries.Panel:
    """Replicas that the autoscaler wants, and those that are ready."""
    return (
        _timeseries(
            "Replicas",
            "short",
            "Dashed: what the autoscaler wants. A lasting gap: no GPU to be had, or a failing model.",
            (_WANTED_REPLICAS, "wanted {{deployment}}"),
            (_READY_REPLICAS, "available {{deployment}}"),
        )
        .decimals(0)
        .line_interpolation(common_models.LineInterpolation.STEP_AFTER)
        .override_by_regexp("/^wanted /", _DASHED)
    )


def turned_away() -> timeseries.Panel:
    """Requests that found no replica."""
    matching = f'{_AT_GATEWAY},response_flags=~".*UH.*"'
    return _timeseries(
        "Requests that found no replica",
        "reqps",
        "503 with flag UH: the knock that wakes a cold model, and its repeats until a replica is ready.",
        (
            f"sum by ({_SERVICE}) (rate(istio_requests_total{{{matching}}}[$__rate_interval]))",
            _SERVICE_LEGEND,
        ),
    )


def traffic_share() -> timeseries.Panel:
    """Each version's part of the traffic, measured and wanted."""
    rate = f"rate(istio_requests_total{{{_AT_GATEWAY_BY_VERSION}}}[$__rate_interval])"
    total = f"sum by ({_SERVICE}) ({rate}) > 0"
    return (
        _timeseries(
            "Share of the traffic",
            "percentunit",
            "Of what reached the selected versions. Dashed: the weight that the settings ask for.",
            (
                f"sum by ({_SERVICE_VERSION}) ({rate}) / on ({_SERVICE}) group_left () ({total})",
                _SERVICE_VERSION_LEGEND,
            ),
            (f"llm:traffic_share_ratio{{{_VERSIONS}}}", f"wanted {_VERSION_LEGEND}"),
        )
        .max(1)
        .override_by_regexp("/^wanted /", _DASHED)
    )


def success_by_version() -> timeseries.Panel:
    """Success ratio of each version."""
    return _timeseries(
        "Success ratio by version",
        "percentunit",
        "Of the requests that reached a replica of the version.",
        (_success(_SERVICE_VERSION, _AT_GATEWAY_BY_VERSION, "$__rate_interval"), _SERVICE_VERSION_LEGEND),
    ).max(1)


def p95_by_version() -> timeseries.Panel:
    """P95 in the engine of each version."""
    return _timeseries(
        "P95 latency by version",
        "s",
        "In the engine. A tenth of the traffic means a tenth of the samples: choose a longer range.",
        (
            _quantile(0.95, "llm:request_duration_seconds_bucket", "model, version", _VERSIONS),
            _VERSION_LEGEND,
        ),
    )


def dollars_an_hour() -> timeseries.Panel:
    """US dollars an hour by model and use, and those of nodes that no model uses."""
    return (
        _timeseries(
            "Dollars an hour by use",
            "currencyUSD",
            "GPU nodes at list prices, by what their replicas do. Unknown: ready, and the engine does not tell whether "
            "it computes. Empty: no replica is on the node.",
            (f"sum by (model, use) (llm:gpu_usd_per_hour{{{_VERSIONS}}})", f"{_MODEL_LEGEND} {{{{use}}}}"),
            ('sum by (machine_type, use) (llm:gpu_usd_per_hour{use="empty"})', "{{use}} {{machine_type}}"),
        )
        .stacking(_STACKED)
        .fill_opacity(40)
    )


def dollars_against_forecast() -> timeseries.Panel:
    """US dollars an hour of all GPU nodes by how they are bought, with the forecast, and the nodes without a price."""
    return (
        _timeseries(
            "Dollars an hour of all GPU nodes",
            "currencyUSD",
            "At list prices, whatever is chosen above. Dashed: the mean that a month is expected to have, and what "
            "every model at its maximum costs. Nodes without a price, drawn as a number, are in no sum.",
            ("sum by (provisioning) (llm:gpu_usd_per_hour)", "{{provisioning}}"),
            ("llm:gpu_expected_usd_per_hour", "expected"),
            ("llm:gpu_most_usd_per_hour", "most"),
            ("sum(llm:unpriced_nodes)", "nodes without a price"),
        )
        .stacking(_STACKED)
        .fill_opacity(40)
        .override_by_regexp("/^(expected|most)$/", [*_DASHED, _APART])
        .override_by_name("nodes without a price", [*_color("red"), _APART, models.DynamicConfigValue("unit", "short")])
    )


def dollars_a_million_tokens() -> timeseries.Panel:
    """US dollars for a million generated tokens, all that a model's replicas cost included."""
    return _timeseries(
        "Dollars per million tokens",
        "currencyUSD",
        "Generated tokens of the last hour, at all that the model's replicas cost in it: start, idle and drain too. "
        "Nothing where there was no token.",
        (f"llm:generated_tokens_usd_per_million{{{_MODELS}}}", _MODEL_LEGEND),
    )


def own_panel(model: ServedModel, own: OwnPanel) -> timeseries.Panel:
    """A metric that only this model has, as its settings ask for it."""
    return _timeseries(f"{model.name}: {own.title}", own.unit, own.query, (own.query, own.legend))


def _success(by: str, matching: str, window: str) -> str:
    """Give 0, not nothing, where every request failed, and nothing where there was none.

    Response code 0 is a caller that gave up before the response began.
    """
    total = f"sum by ({by}) (rate(istio_requests_total{{{matching}}}[{window}]))"
    failed = f'sum by ({by}) (rate(istio_requests_total{{{matching},response_code=~"5..|0"}}[{window}]))'
    return f"1 - ({failed} or {total} * 0) / ({total} > 0)"


def _quantile(quantile: float, bucket: str, by: str, matching: str, window: str = "$__rate_interval") -> str:
    return f"histogram_quantile({quantile}, sum by ({by}, le) (rate({bucket}{{{matching}}}[{window}])))"


def _variable(name: str, matching: str) -> dashboard.QueryVariable:
    """Offer a label's values of the wanted shares: those series are there when every model sleeps, too."""
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .datasource(_DATASOURCE)
        .query(f"label_values(llm:traffic_share_ratio{matching}, {name})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _timeseries(title: str, unit: str, description: str, *targets: Target) -> timeseries.Panel:
    return (
        timeseries.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .height(8)
        .min(0)
        .line_width(1)
        .fill_opacity(10)
        .show_points(common_models.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .show_legend(show_legend=True)
            .display_mode(common_models.LegendDisplayMode.LIST)
            .placement(common_models.LegendPlacement.BOTTOM)
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_models.TooltipDisplayMode.MULTI)
            .sort(common_models.SortOrder.DESCENDING)
        )
        .targets([query.range() for query in _queries(targets)])
    )


def _stat(title: str, unit: str, description: str, *targets: Target) -> stat.Panel:
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .height(5)
        .graph_mode(common_models.BigValueGraphMode.NONE)
        .color_mode(common_models.BigValueColorMode.VALUE)
        .text_mode(common_models.BigValueTextMode.VALUE_AND_NAME)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_steps((None, "text")))
        .targets([query.instant() for query in _queries(targets)])
    )


def _queries(targets: Sequence[Target]) -> Iterator[prometheus.Dataquery]:
    for letter, (query, legend) in zip(ascii_uppercase, targets, strict=False):
        yield prometheus.Dataquery().ref_id(letter).expr(query).legend_format(legend)


def _steps(*steps: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value, color) for value, color in steps])
    )


def _colored(*steps: tuple[float | None, str]) -> list[models.DynamicConfigValue]:
    return [models.DynamicConfigValue("thresholds", _steps(*steps).build())]


def _color(color: str) -> list[models.DynamicConfigValue]:
    return [models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color})]

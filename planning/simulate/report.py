"""A run for a person and for a program: the same figures as text and as a JSON document."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from planning.schema import WeightsFrom
from planning.simulate.results import Moment, Quantiles, Results, quantiles
from planning.simulate.scenario import NAT_USD_PER_GB, Scenario

Document = dict[str, Any]


def document(scenario: Scenario, results: Results) -> Document:
    """Gather all figures: seconds, hours, USD; null is unknown, and what could not be priced is listed."""
    hours = results.seconds / 3600
    ready = {name: _mean_ready(version.moments, results.seconds) for name, version in results.versions.items()}
    return {
        "model": scenario.model,
        "hours": rounded(hours),
        "requests": {
            "arrived": results.arrived,
            "served": results.served,
            "servedShare": rounded(results.served_share),
            "gaveUp": results.refused,
            "cut": results.cut,
            "tooLong": results.too_long,
            "answerTokens": results.tokens,
            "attempts": {
                "nobodyThere": results.knocks,
                "overloaded": results.overloaded,
                "replicaEnded": results.reset,
            },
        },
        "seconds": {
            "queue": _quantiles(quantiles(results.queue)),
            "firstToken": _quantiles(quantiles(results.first_token)),
            "whole": _quantiles(quantiles(results.whole)),
            "waitForStart": {
                "callers": len(results.woken),
                "mean": _mean(results.woken),
                **_quantiles(quantiles(results.woken)),
            },
        },
        "replicas": {
            "mean": rounded(sum(ready.values())),
            "most": max((moment.ready for v in results.versions.values() for moment in v.moments), default=0),
            "meanByVersion": {name: rounded(mean) for name, mean in ready.items()},
            "starts": len(results.starts),
            "meanStartSeconds": _mean(results.starts),
            "spotLosses": results.losses,
            "stockOuts": results.stock_outs,
        },
        "gpuHours": {
            "total": rounded(results.gpu_hours),
            "parts": [
                {"provisioning": str(provisioning), "use": str(use), "hours": rounded(seconds * results.gpus / 3600)}
                for (provisioning, use), seconds in sorted(results.node_seconds.items())
            ],
        },
        "cost": _cost(scenario, results),
        "alwaysOn": _always_on(scenario, hours),
        "assumptions": [asdict(assumption) for assumption in scenario.assumptions],
    }


def _cost(scenario: Scenario, results: Results) -> Document:
    prices = {kind: price for kind, price in scenario.usd_per_hour.items() if price is not None}
    used = {kind for kind, _ in results.node_seconds}
    unpriced = [f"{kind} nodes" for kind in sorted(used - prices.keys())]
    parts = results.cost({kind: prices.get(kind, 0.0) for kind in used})
    lines: list[Document] = [
        {"part": str(use), "provisioning": str(kind), "usd": rounded(usd)}
        for (kind, use), usd in parts.items()
        if kind in prices
    ]
    if scenario.weights_from is WeightsFrom.BUCKET:
        # Reading it in its own region costs nothing, and the way to it is not the NAT.
        unpriced.append("what the bucket keeps")
    elif scenario.weights_gb is None:
        unpriced.append("what a start downloads")
    else:
        download = len(results.starts) * scenario.weights_gb * NAT_USD_PER_GB
        lines.append({"part": "weights through the NAT", "provisioning": None, "usd": rounded(download)})
    unpriced.append("what a stack pays without GPUs: make preview ARGS=--cost")
    return {
        "currency": "USD",
        "total": rounded(sum(line["usd"] for line in lines)),
        "lines": lines,
        "unpriced": unpriced,
    }


def _always_on(scenario: Scenario, hours: float) -> Document:
    """The same replicas for the whole time, at either price."""
    prices = scenario.usd_per_hour
    return {
        "replicas": scenario.always_on,
        "usd": {
            str(kind): None if price is None else rounded(scenario.always_on * hours * price)
            for kind, price in sorted(prices.items())
        },
    }


def text(found: Mapping[str, Any]) -> str:
    """Write a document as lines."""
    lines = [f"Model {found['model']}, {hours_of(found['hours'])}"]
    written = [*rows(found)]
    lines += [f"  {name:<12}  {value}" for name, value in written]
    lines += ["", "  It rests on (sources: --html, --format json, docs/simulator.md):"]
    about, by = (max(len(assumption[key]) for assumption in found["assumptions"]) for key in ("what", "by"))
    lines += [
        f"    {assumption['what']:<{about}}  {assumption['by']:<{by}}  {assumption['value']}"
        for assumption in found["assumptions"]
    ]
    return "\n".join(lines)


def rows(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Say a document's figures in sentences, each with what it is about."""
    requests, seconds, replicas = found["requests"], found["seconds"], found["replicas"]
    ends = f"{requests['gaveUp']:,} callers gave up, {requests['cut']:,} answers were cut"
    if requests["tooLong"]:
        ends += f", {requests['tooLong']:,} were too long for any replica"
    yield "requests", f"{requests['arrived']:,}: {requests['servedShare']:.3%} served; {ends}"
    attempts = requests["attempts"]
    yield (
        "attempts",
        f"{attempts['nobodyThere']:,} found no replica (503), {attempts['overloaded']:,} a full one (429), "
        f"{attempts['replicaEnded']:,} one that ended before their first token; they came again",
    )
    for name, key in (("queue", "queue"), ("first token", "firstToken"), ("whole", "whole")):
        yield name, _spread(seconds[key])
    woken = seconds["waitForStart"]
    if woken["callers"]:
        yield (
            "cold start",
            f"{woken['callers']:,} callers waited until there was a replica, {duration(woken['mean'])} on average, "
            f"{duration(woken['most'])} at the most",
        )
    else:
        yield "cold start", "nobody waited for one"
    yield (
        "replicas",
        f"{replicas['mean']:.2f} on average, at most {replicas['most']}; {count(replicas['starts'], 'start')}"
        + (f" of {duration(replicas['meanStartSeconds'])} on average" if replicas["starts"] else "")
        + f"; {count(replicas['spotLosses'], 'spot node')} lost, "
        f"{count(replicas['stockOuts'], 'time')} none to be had",
    )
    gpu, cost = found["gpuHours"], found["cost"]
    used = [(part["provisioning"], part["use"], part["hours"]) for part in gpu["parts"]]
    paid = [(line["provisioning"], line["part"], line["usd"]) for line in cost["lines"]]
    yield "GPU hours", f"{gpu['total']:,.1f}: {_parts(used)}"
    yield "cost", f"{cost['total']:,.2f} USD: {_parts(paid)}"
    yield "not in it", "; ".join(cost["unpriced"])
    yield "always on", _saved(found)


def _saved(found: Mapping[str, Any]) -> str:
    always, total, woken = found["alwaysOn"], found["cost"]["total"], found["seconds"]["waitForStart"]
    written = []
    for kind, usd in always["usd"].items():
        if usd is None:
            written.append(f"{kind} unknown")
            continue
        saved = f"{1 - total / usd:.0%} saved" if usd and total <= usd else "nothing saved"
        written.append(f"{usd:,.2f} USD {kind} ({saved})")
    waited = f"; for that {woken['callers']:,} callers waited for a start" if woken["callers"] else ""
    return f"{count(always['replicas'], 'replica')} all the time: {', '.join(written)}{waited}"


def _parts(parts: Iterable[tuple[str | None, str, float]]) -> str:
    """Write parts by how their nodes were bought, and leave out what is nothing to two digits."""
    groups: dict[str | None, list[str]] = {}
    for provisioning, name, value in parts:
        if round(value, 2):
            groups.setdefault(provisioning, []).append(f"{name} {value:,.2f}")
    written = [(f"{kind}: " if kind else "") + ", ".join(names) for kind, names in groups.items()]
    return "; ".join(written) or "none"


def _spread(found: Mapping[str, float | None]) -> str:
    if found["p50"] is None:
        return "nobody was served"
    return ", ".join(f"{name} {duration(found[name])}" for name in ("p50", "p95", "p99", "most"))


def count(number: int, what: str) -> str:
    """A number of things, in the plural unless it is one."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def duration(seconds: float | None) -> str:
    """Seconds, or minutes where they are many."""
    if seconds is None:
        return "unknown"
    if seconds < 120:
        return f"{seconds:.2f} s"
    return f"{seconds / 60:.1f} min"


def hours_of(hours: float) -> str:
    """Hours, or days where they are many."""
    return f"{hours / 24:g} days" if hours >= 48 else f"{round(hours, 2):g} hours"


def _mean(values: Sequence[float]) -> float | None:
    return rounded(sum(values) / len(values)) if values else None


def _quantiles(found: Quantiles) -> dict[str, float | None]:
    return {name: None if value is None else rounded(value) for name, value in asdict(found).items()}


def rounded(value: float) -> float:
    """To six digits, so that a document reads well."""
    return round(value, 6)


def _mean_ready(moments: Sequence[Moment], seconds: float) -> float:
    ends = [moment.at for moment in moments[1:]] + [seconds]
    area = sum(
        moment.ready * max(0.0, min(end, seconds) - min(moment.at, seconds))
        for moment, end in zip(moments, ends, strict=True)
    )
    return area / seconds

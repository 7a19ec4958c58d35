"""A drill for a person and for a program: the same figures as text and as a JSON document."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean, median
from typing import Any

from planning.simulate.drill import (
    Outcome,
    Part,
    Played,
    cuts_of,
    extra_usd_a_day,
    first_share,
    served_share,
    streams,
    too_early,
)
from planning.simulate.report import count, duration, hours_of, rounded

Document = dict[str, Any]


def document(outcome: Outcome) -> Document:
    """Gather all figures: seconds, hours, USD; null is unknown, or not there to be measured."""
    done, losses, stops = outcome.drill, outcome.of(Part.LOSSES), outcome.of(Part.STOPS)
    budgets = done.budgets
    return {
        "model": done.model,
        "passed": outcome.passed,
        "reasons": list(outcome.reasons),
        "notes": list(outcome.notes),
        "seeds": [run.seed for run in losses],
        "hours": rounded(losses[0].seconds / 3600),
        "replicas": [
            {"version": version.name, "atStart": version.initial, "floor": version.floor} for version in done.versions
        ],
        "losses": {
            "nodes": sum(len(run.losses) for run in losses),
            "nodesByRun": [len(run.losses) for run in losses],
            "serving": sum(loss.serving for run in losses for loss in run.losses),
        },
        "requests": {
            "arrived": sum(run.arrived for run in losses),
            "objective": done.objective,
            "objectiveFrom": done.objective_from,
            "servedShare": rounded(served_share(outcome)),
            "servedShareByRun": [rounded(run.share) for run in losses],
            "servedAtFirstTry": rounded(first_share(outcome)),
            "gaveUp": sum(run.gave_up for run in losses),
            "longestWaitSeconds": rounded(max(run.longest_wait for run in losses)),
            "reset": sum(run.reset for run in losses),
            "toClosedPort": None
            if any(run.lingering is None for run in losses)
            else sum(run.lingering or 0 for run in losses),
        },
        "cut": {
            "nodeCalledBack": _cut(outcome, losses, called_back=True, budget=budgets.spot),
            "toldToStop": _cut(outcome, losses, called_back=False, budget=budgets.voluntary),
        },
        "recovery": _recovery(losses),
        "stops": {
            "replicas": sum(run.stops for run in stops),
            "hours": rounded(stops[0].seconds / 3600),
            "requests": sum(run.arrived for run in stops),
            "cut": _cut(outcome, stops, called_back=False, budget=budgets.voluntary),
        }
        if stops
        else None,
        "extraCost": _extra(outcome),
        "assumptions": [asdict(assumption) for assumption in done.assumptions],
    }


def _cut(outcome: Outcome, runs: Sequence[Played], *, called_back: bool, budget: float | None) -> Document:
    cuts = cuts_of(runs, called_back=called_back)
    return {
        "streams": len(cuts),
        "youngestSeconds": rounded(min(cut.seconds for cut in cuts)) if cuts else None,
        "budgetSeconds": budget,
        "youngerThanBudget": len(too_early(outcome.drill, cuts)),
    }


def _recovery(runs: Sequence[Played]) -> Document:
    """Recoveries that a run's end cut off count as open; their time is unknown, and in no other figure."""
    seconds = [recovery.seconds for run in runs for recovery in run.recoveries]
    known = [value for value in seconds if value is not None]
    return {
        "losses": len(seconds),
        "medianSeconds": rounded(median(known)) if known else None,
        "longestSeconds": rounded(max(known)) if known else None,
        "open": len(seconds) - len(known),
    }


def _extra(outcome: Outcome) -> Document:
    extra = extra_usd_a_day(outcome)
    return {
        "currency": "USD",
        "aDay": None if extra is None else rounded(fmean(extra)),
        "unpriced": outcome.drill.unpriced or None,
        "aDayByRun": None if extra is None else [rounded(usd) for usd in extra],
    }


def text(found: Mapping[str, Any]) -> str:
    """Write a document as lines."""
    verdict = "passed" if found["passed"] else "FAILED"
    runs = count(len(found["seeds"]), "run")
    lines = [f"Model {found['model']}: {verdict}, {runs} of {hours_of(found['hours'])}"]
    lines += [f"  {name:<12}  {value}" for name, value in rows(found)]
    lines += ["", "  It rests on (sources: --html, --format json, docs/drill.md):"]
    about, by = (max(len(assumption[key]) for assumption in found["assumptions"]) for key in ("what", "by"))
    lines += [
        f"    {assumption['what']:<{about}}  {assumption['by']:<{by}}  {assumption['value']}"
        for assumption in found["assumptions"]
    ]
    return "\n".join(lines)


def rows(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Say a document's figures in sentences, each with what it is about."""
    losses, requests, cut, stops = found["losses"], found["requests"], found["cut"], found["stops"]
    yield "replicas", "; ".join(_replicas(version) for version in found["replicas"]) + ", at the start"
    nodes = losses["nodes"]
    spread = losses["nodesByRun"]
    yield (
        "losses",
        f"{count(nodes, 'spot node')} called back"
        + (f", {min(spread)} to {max(spread)} a run" if len(spread) > 1 else "")
        + f"; {losses['serving']:,} with a replica that served",
    )
    yield "cut by them", _cut_in_words(cut["nodeCalledBack"])
    yield (
        "reset",
        f"{count(requests['reset'], 'request')} before the first token; "
        + (
            "attempts at a closed port cannot be seen"
            if requests["toClosedPort"] is None
            else f"{count(requests['toClosedPort'], 'attempt')} at a closed port, which the gateway repeated"
        ),
    )
    yield "recovery", _recovery_in_words(found["recovery"])
    shares = requests["servedShareByRun"]
    objective = f"objective {requests['objective']:.3%}, " if requests["objective"] else ""
    yield (
        "served",
        f"{requests['servedShare']:.3%} of {requests['arrived']:,}, at least {min(shares):.3%} a run "
        f"({objective}{requests['objectiveFrom']}); {requests['servedAtFirstTry']:.3%} "
        f"at the first try; {requests['gaveUp']:,} gave up; the longest wait for a first token "
        f"{duration(requests['longestWaitSeconds'])}",
    )
    if stops is None:
        yield "stops", "not tried"
    else:
        yield (
            "stops",
            f"{count(stops['replicas'], 'replica')} told to stop, in {stops['hours']:.1f} hours a run: "
            f"{_cut_in_words(stops['cut'])}",
        )
    if cut["toldToStop"]["streams"]:
        yield "scaled down", f"between the losses: {_cut_in_words(cut['toldToStop'])}"
    extra, by_run = found["extraCost"], found["extraCost"]["aDayByRun"] or []
    if extra["aDay"] is None:
        yield "extra cost", f"unknown: {extra['unpriced'] or 'a kind of node has no price'}"
    else:
        yield (
            "extra cost",
            f"{extra['aDay']:+,.2f} USD a day against the same without a loss"
            + (f", {min(by_run):+,.2f} to {max(by_run):+,.2f} a run" if len(by_run) > 1 else "")
            + (f"; without {extra['unpriced']}" if extra["unpriced"] else ""),
        )
    yield "verdict", "passed" if found["passed"] else "FAILED: " + "; ".join(found["reasons"])
    for note in found["notes"]:
        yield "note", note


def _replicas(version: Mapping[str, Any]) -> str:
    floor = f" ({version['floor']} on on-demand nodes)" if version["floor"] else ""
    return f"{version['version']} {version['atStart']}{floor}"


def _cut_in_words(cut: Mapping[str, Any]) -> str:
    if cut["budgetSeconds"] is None:
        return "nothing can be"
    budget = f"budget {cut['budgetSeconds']:g} s"
    if not cut["streams"]:
        return f"no stream ({budget})"
    return (
        f"{streams(cut['streams'])} cut, the youngest after {cut['youngestSeconds']:.1f} s; "
        f"{cut['youngerThanBudget']:,} younger than the {budget}"
    )


def _recovery_in_words(recovery: Mapping[str, Any]) -> str:
    if not recovery["losses"]:
        return "no serving replica was lost"
    unknown = f"; {recovery['open']:,} not before the end" if recovery["open"] else ""
    return (
        f"until as many replicas served again: median {duration(recovery['medianSeconds'])}, "
        f"longest {duration(recovery['longestSeconds'])}{unknown}"
    )

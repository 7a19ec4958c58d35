"""Recorded PrometheusRules, as far as a query rests on them: what KEDA asks for is what such a rule wrote."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import promql_parser

from planning.cost.recorded import Recorded, at, each


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingRule:
    """One rule: the series that it writes, its labels, and its query."""

    name: str
    expression: str
    labels: tuple[tuple[str, str], ...] = ()


def recording_rules(resources: Sequence[Recorded]) -> tuple[RecordingRule, ...]:
    """Read every recording rule of every PrometheusRule, in their order."""
    groups = (
        group
        for resource in resources
        if resource.type.rpartition(":")[2] == "PrometheusRule"
        for group in each(at(resource.inputs, "spec", "groups"))
    )
    return tuple(rule for group in groups for rule in rules_of(each(at(group, "rules"))))


def rules_of(rules: Iterable[Any]) -> Iterator[RecordingRule]:
    """Read the recording rules among the rules of a group."""
    for rule in rules:
        if (name := at(rule, "record")) is not None:
            labels = at(rule, "labels") or {}
            yield RecordingRule(name=str(name), expression=str(at(rule, "expr")), labels=tuple(labels.items()))


def rests_on(query: str, rules: Sequence[RecordingRule]) -> tuple[RecordingRule, ...]:
    """Find the rules that write what a query reads, and what they read themselves; in the order of `rules`.

    None for what is no PromQL: the query of a ScaledObject may be anything.
    """
    found, waiting = set[RecordingRule](), [query]
    while waiting:
        for selector in _selectors(waiting.pop()):
            new = {rule for rule in rules if _reads(selector, rule)} - found
            found |= new
            waiting += [rule.expression for rule in new]
    return tuple(rule for rule in rules if rule in found)


def look_back_seconds(query: str, rules: Sequence[RecordingRule]) -> float:
    """Say how long a query remembers what rules wrote: the longest `max_over_time` of such a series; 0 without one."""
    needed = rests_on(query, rules)
    return max(
        (
            call.args[0].range.total_seconds()
            for text in (query, *(rule.expression for rule in needed))
            for call in _parts(text)
            if isinstance(call, promql_parser.Call) and call.func.name == "max_over_time"
            if isinstance(call.args[0], promql_parser.MatrixSelector)
            and any(_reads(call.args[0].vector_selector, rule) for rule in needed)
        ),
        default=0.0,
    )


def _reads(selector: Any, rule: RecordingRule) -> bool:
    """Whether a selector may find what a rule writes, as far as both name labels."""
    labels = dict(rule.labels)
    return selector.name == rule.name and all(
        labels.get(matcher.name, matcher.value) == matcher.value
        for matcher in selector.matchers.matchers
        if matcher.op == promql_parser.MatchOp.Equal
    )


def _selectors(query: str) -> Iterator[Any]:
    for part in _parts(query):
        if isinstance(part, promql_parser.VectorSelector):
            yield part


def _parts(query: str) -> Iterator[Any]:
    """Yield every expression in a query, itself included; nothing for what is no PromQL."""
    try:
        waiting: list[Any] = [promql_parser.parse(query)]
    except ValueError:
        return
    while waiting:
        part = waiting.pop()
        yield part
        match part:
            case promql_parser.Call():
                waiting += part.args
            case promql_parser.BinaryExpr():
                waiting += [part.lhs, part.rhs]
            case promql_parser.MatrixSelector():
                waiting.append(part.vector_selector)
            case (
                promql_parser.AggregateExpr()
                | promql_parser.ParenExpr()
                | promql_parser.UnaryExpr()
                | promql_parser.SubqueryExpr()
            ):
                waiting.append(part.expr)

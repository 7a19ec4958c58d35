"""Prometheus in small: series in memory, and the part of PromQL that scaling queries are written in.

So the simulator decides by the queries of the recorded ScaledObjects themselves. What is not known here is refused, and
tests hold every answer against Prometheus's own: range selectors are left-open, as since Prometheus 3.0.
"""

import itertools
import math
import operator
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import promql_parser

from planning.recording_rules import RecordingRule

Labels = tuple[tuple[str, str], ...]
"""Sorted, without the name of the metric."""
Vector = Mapping[Labels, float]
Value = float | Vector
"""A scalar, or an instant vector."""
Evaluation = Callable[[float], Value]
"""What an expression is at a time in seconds."""
_Ranges = Callable[[float], Iterable[tuple[Labels, Sequence[float], Sequence[float], float, float]]]
"""Each element's labels, times and values within a range, and where the range begins and ends."""

LOOKBACK_SECONDS: Final = 300.0
"""Prometheus's own `--query.lookback-delta`."""
_NOTHING: Final[Vector] = {}


@dataclass(slots=True)
class _Series:
    labels: Mapping[str, str]
    key: Labels
    times: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    stale: bool = False
    """Whether the last scrape found it gone."""


@dataclass(slots=True)
class Prometheus:
    """What was scraped so far; times must not fall. It keeps as much of the past as its queries can look back."""

    _series: dict[str, dict[Labels, _Series]] = field(default_factory=dict)
    _queries: dict[str, Evaluation] = field(default_factory=dict)
    _compiled: dict[str, Evaluation] = field(default_factory=dict)
    """By the text of the expression: many queries share parts."""
    _recorded: set[str] = field(default_factory=set)
    """Names of series that rules write."""
    _keep_seconds: float = LOOKBACK_SECONDS
    _change: int = 0
    """Counts series that came and went."""

    def scrape(self, time: float, samples: Iterable[tuple[str, Mapping[str, str], float]]) -> None:
        """Write samples of one scrape: name, labels, value. Series of before that are not in it are gone."""
        told = {id(self._written(time, *sample)) for sample in samples}
        self._leave_out(time, told, [name for name in self._series if name not in self._recorded])

    def record(self, time: float, rules: Iterable[RecordingRule]) -> None:
        """Evaluate recording rules, one after the other; what one of them gives no more is gone."""
        for rule in rules:
            self._recorded.add(rule.name)
            told = {
                id(self._written(time, rule.name, dict(labels) | dict(rule.labels), value))
                for labels, value in _vector(self.ask(rule.expression, time)).items()
            }
            self._leave_out(time, told, [rule.name], dict(rule.labels))

    def _written(self, time: float, name: str, labels: Mapping[str, str], value: float) -> _Series:
        key = tuple(sorted(labels.items()))
        series = self._series.setdefault(name, {}).get(key)
        if series is None:
            series = self._series[name][key] = _Series(labels=labels, key=key)
            self._change += 1
        series.times.append(time)
        series.values.append(value)
        series.stale = False
        return series

    def _leave_out(
        self, time: float, told: set[int], names: Iterable[str], labels: Mapping[str, str] | None = None
    ) -> None:
        """End the series of these names, and with these labels, that were not told."""
        wanted = (labels or {}).items()
        for name in names:
            series = self._series.get(name, {})
            for key, one in list(series.items()):
                if not wanted <= one.labels.items():
                    continue
                if id(one) not in told and not one.stale:
                    one.stale = True
                    one.times.append(time)
                    one.values.append(math.nan)
                if one.times[-1] < time - self._keep_seconds:
                    del self._series[name][key]
                    self._change += 1
                elif len(one.times) > 64 and one.times[len(one.times) // 2] < time - self._keep_seconds:
                    half = len(one.times) // 2
                    del one.times[:half], one.values[:half]

    def _reach(self, selector: Any) -> tuple[float, float]:
        """Give a range's length and offset in seconds, and keep so much more: ranges lie within one another."""
        length, offset = _seconds(getattr(selector, "range", None)), _seconds(getattr(selector, "offset", None))
        self._keep_seconds += length + offset
        return length, offset

    def ask(self, query: str, time: float) -> Value:
        """Answer a query. Raises ValueError for what is no PromQL, or none that is known here."""
        return self.compiled(query)(time)

    def compiled(self, query: str) -> Evaluation:
        """Make a function of a query, once. Raises ValueError as `ask` does."""
        if query not in self._queries:
            self._queries[query] = self._expression(promql_parser.parse(query))
        return self._queries[query]

    def _expression(self, expression: Any) -> Evaluation:
        """Make one function of each distinct expression; what it gave last is kept, as many queries share parts."""
        text = expression.prettify()
        if text not in self._compiled:
            self._compiled[text] = _remembering(self._made(expression))
        return self._compiled[text]

    def _made(self, expression: Any) -> Evaluation:
        match expression:
            case promql_parser.NumberLiteral():
                number = float(expression.val)
                return lambda _: number
            case promql_parser.ParenExpr():
                return self._expression(expression.expr)
            case promql_parser.VectorSelector():
                return self._selector(expression)
            case promql_parser.AggregateExpr():
                return self._aggregate(expression)
            case promql_parser.BinaryExpr():
                return self._binary(expression)
            case promql_parser.Call():
                return self._call(expression)
        raise ValueError(f"not known here: {expression.prettify()}")

    # Selectors

    def _matching(self, selector: Any) -> Callable[[], list[_Series]]:
        if selector.at is not None or selector.matchers.or_matchers:
            raise ValueError(f"not known here: {selector.prettify()}")
        series, tests = (
            self._series.setdefault(selector.name, {}),
            [_test(found) for found in selector.matchers.matchers],
        )
        found, change = list[_Series](), -1

        def matching() -> list[_Series]:
            nonlocal found, change
            if change != self._change:
                found, change = (
                    [one for one in series.values() if all(test(one.labels) for test in tests)],
                    self._change,
                )
            return found

        return matching

    def _selector(self, selector: Any) -> Evaluation:
        matching, (_, offset) = self._matching(selector), self._reach(selector)

        def evaluate(time: float) -> Vector:
            at = time - offset
            found = {}
            for one in matching():
                last = bisect_right(one.times, at) - 1
                if last >= 0 and one.times[last] > at - LOOKBACK_SECONDS and not math.isnan(one.values[last]):
                    found[one.key] = one.values[last]
            return found

        return evaluate

    def _ranges(self, expression: Any) -> _Ranges:
        match expression:
            case promql_parser.MatrixSelector():
                return self._matrix(expression)
            case promql_parser.SubqueryExpr() if expression.at is None and expression.step is not None:
                return self._subquery(expression)
        raise ValueError(f"not known here: {expression.prettify()}")

    def _matrix(self, expression: Any) -> _Ranges:
        selector, (length, _) = expression.vector_selector, self._reach(expression)
        matching, (_, offset) = self._matching(selector), self._reach(selector)

        def evaluate(time: float) -> Iterable[tuple[Labels, Sequence[float], Sequence[float], float, float]]:
            end = time - offset
            for one in matching():
                first, last = bisect_right(one.times, end - length), bisect_right(one.times, end)
                times, values = one.times[first:last], one.values[first:last]
                if any(map(math.isnan, values)):
                    there = [number for number, value in enumerate(values) if not math.isnan(value)]
                    times, values = [times[number] for number in there], [values[number] for number in there]
                if times:
                    yield one.key, times, values, end - length, end

        return evaluate

    def _subquery(self, expression: Any) -> _Ranges:
        inner, step = self._expression(expression.expr), _seconds(expression.step)
        length, offset = self._reach(expression)
        known, done = dict[Labels, tuple[list[float], list[float]]](), -1

        def evaluate(time: float) -> Iterable[tuple[Labels, Sequence[float], Sequence[float], float, float]]:
            nonlocal done
            end = time - offset
            # Steps are whole multiples of their length, so an answer of the past serves again.
            first, last = math.floor((end - length) / step) + 1, math.floor(end / step)
            if last < done:
                known.clear()
                done = -1
            for number in range(max(first, done + 1), last + 1):
                for labels, value in _vector(inner(number * step)).items():
                    times, values = known.setdefault(labels, ([], []))
                    times.append(number * step)
                    values.append(value)
            done = last
            for labels, (times, values) in list(known.items()):
                old = bisect_left(times, first * step)
                del times[:old], values[:old]
                if not times:
                    del known[labels]
            return ((labels, *both, end - length, end) for labels, both in known.items())

        return evaluate

    # Functions and operators

    def _call(self, call: Any) -> Evaluation:
        name, arguments = call.func.name, call.args
        if (over := _OVER_TIME.get(name)) is not None:
            ranges = self._ranges(_bare(arguments[0]))
            return lambda time: {
                labels: value
                for labels, times, values, begin, end in ranges(time)
                if (value := over(times, values, begin, end)) is not None
            }
        inner = [self._expression(argument) for argument in arguments]
        match name, len(inner):
            case "vector", 1:
                return lambda time: {(): _scalar(inner[0](time))}
            case "scalar", 1:
                return lambda time: _scalar_of(_vector(inner[0](time)))
            case "clamp_min" | "clamp_max", 2:
                limit = max if name == "clamp_min" else min
                return lambda time: _clamped(_vector(inner[0](time)), _scalar(inner[1](time)), limit)
        raise ValueError(f"not known here: {call.prettify()}")

    def _aggregate(self, aggregate: Any) -> Evaluation:
        inner, modifier, combine = (
            self._expression(aggregate.expr),
            aggregate.modifier,
            _COMBINED.get(str(aggregate.op)),
        )
        by = () if modifier is None else tuple(modifier.labels)
        if combine is None or (modifier is not None and modifier.type != promql_parser.AggModifierType.By):
            raise ValueError(f"not known here: {aggregate.prettify()}")

        def evaluate(time: float) -> Vector:
            groups = dict[Labels, list[float]]()
            for labels, value in _vector(inner(time)).items():
                groups.setdefault(_kept(labels, by), []).append(value)
            return {labels: combine(values) for labels, values in groups.items()}

        return evaluate

    def _binary(self, binary: Any) -> Evaluation:
        left, right, sign, modifier = (
            self._expression(binary.lhs),
            self._expression(binary.rhs),
            str(binary.op),
            binary.modifier,
        )
        matching = None if modifier is None else modifier.matching
        on: tuple[str, ...] | None = None
        if matching is not None:
            if matching.type != promql_parser.LabelModifierType.Include or modifier.card in _GROUPED:
                raise ValueError(f"not known here: {binary.prettify()}")
            on = tuple(matching.labels)
        if sign in _SETS:
            return _set_operation(sign, left, right, on)
        with_bool = modifier is not None and modifier.return_bool
        if (compare := _COMPARISONS.get(sign)) is not None:
            return _comparison(compare, left, right, on, with_bool=with_bool)
        if (compute := _ARITHMETIC.get(sign)) is not None:
            return _arithmetic(compute, left, right, on)
        raise ValueError(f"not known here: {binary.prettify()}")


def _remembering(evaluate: Evaluation) -> Evaluation:
    last: tuple[float, Value] | None = None

    def remembered(time: float) -> Value:
        nonlocal last
        if last is None or last[0] != time:
            last = time, evaluate(time)
        return last[1]

    return remembered


def _bare(expression: Any) -> Any:
    while isinstance(expression, promql_parser.ParenExpr):
        expression = expression.expr
    return expression


def _seconds(length: timedelta | None) -> float:
    return 0.0 if length is None else length.total_seconds()


def _test(matcher: Any) -> Callable[[Mapping[str, str]], bool]:
    name, value, kind = matcher.name, matcher.value, matcher.op
    if kind in (promql_parser.MatchOp.Equal, promql_parser.MatchOp.NotEqual):
        equal = kind == promql_parser.MatchOp.Equal
        return lambda labels: (labels.get(name, "") == value) is equal
    pattern, wanted = re.compile(value), kind == promql_parser.MatchOp.Re
    return lambda labels: (pattern.fullmatch(labels.get(name, "")) is not None) is wanted


def _vector(value: Value) -> Vector:
    if isinstance(value, float):
        raise ValueError("a vector is wanted, and there is a scalar")
    return value


def _scalar(value: Value) -> float:
    if not isinstance(value, float):
        raise ValueError("a scalar is wanted, and there is a vector")
    return value


def _scalar_of(vector: Vector) -> float:
    return next(iter(vector.values())) if len(vector) == 1 else math.nan


def _clamped(vector: Vector, limit: float, choose: Callable[[float, float], float]) -> Vector:
    return {labels: math.nan if math.isnan(limit) else choose(value, limit) for labels, value in vector.items()}


def _kept(labels: Labels, names: tuple[str, ...] | None) -> Labels:
    """Only these labels; None keeps all."""
    return labels if names is None else tuple(pair for pair in labels if pair[0] in names)


def _set_operation(sign: str, left: Evaluation, right: Evaluation, on: tuple[str, ...] | None) -> Evaluation:
    def evaluate(time: float) -> Vector:
        here, there = _vector(left(time)), _vector(right(time))
        if sign == "or":
            taken = {_kept(labels, on) for labels in here}
            return {**here, **{labels: value for labels, value in there.items() if _kept(labels, on) not in taken}}
        matched = {_kept(labels, on) for labels in there}
        return {labels: value for labels, value in here.items() if (_kept(labels, on) in matched) is (sign == "and")}

    return evaluate


def _pairs(left: Value, right: Value, on: tuple[str, ...] | None) -> Iterable[tuple[Labels, Labels, float, float]]:
    """Yield each pair of values with the labels of a filtered and of a computed result; one side may be a scalar."""
    match left, right:
        case float(), float():
            raise ValueError("two scalars are not known here")
        case float(), _:
            yield from ((labels, labels, left, value) for labels, value in _vector(right).items())
        case _, float():
            yield from ((labels, labels, value, right) for labels, value in _vector(left).items())
        case _:
            others = {_kept(labels, on): value for labels, value in _vector(right).items()}
            if len(others) < len(_vector(right)):
                raise ValueError("several elements match one")
            for labels, value in _vector(left).items():
                if (key := _kept(labels, on)) in others:
                    yield labels, key, value, others[key]


def _comparison(
    compare: Callable[[float, float], bool],
    left: Evaluation,
    right: Evaluation,
    on: tuple[str, ...] | None,
    *,
    with_bool: bool,
) -> Evaluation:
    def evaluate(time: float) -> Vector:
        pairs = _pairs(left(time), right(time), on)
        if with_bool:
            return {key: float(compare(one, other)) for _, key, one, other in pairs}
        return {labels: one for labels, _, one, other in pairs if compare(one, other)}

    return evaluate


def _arithmetic(
    compute: Callable[[float, float], float], left: Evaluation, right: Evaluation, on: tuple[str, ...] | None
) -> Evaluation:
    return lambda time: {key: compute(one, other) for _, key, one, other in _pairs(left(time), right(time), on)}


def _rate(times: Sequence[float], values: Sequence[float], begin: float, end: float) -> float | None:
    """Extrapolate as Prometheus does: https://github.com/prometheus/prometheus/blob/v3.16.0/promql/functions.go."""
    if len(times) < 2:
        return None
    gained = values[-1] - values[0] + sum(one for one, other in itertools.pairwise(values) if other < one)
    sampled = times[-1] - times[0]
    between = sampled / (len(times) - 1)
    to_start, to_end = times[0] - begin, end - times[-1]
    if to_start >= between * 1.1:
        to_start = between / 2
    if gained > 0 <= values[0]:
        # A counter is not below 0: it began no earlier than there.
        to_start = min(to_start, sampled * values[0] / gained)
    if to_end >= between * 1.1:
        to_end = between / 2
    return gained * (sampled + to_start + to_end) / sampled / (end - begin)


_OVER_TIME: Final[Mapping[str, Callable[[Sequence[float], Sequence[float], float, float], float | None]]] = {
    "rate": _rate,
    "last_over_time": lambda _times, values, _begin, _end: values[-1],
    "max_over_time": lambda _times, values, _begin, _end: max(values),
    "min_over_time": lambda _times, values, _begin, _end: min(values),
    "count_over_time": lambda _times, values, _begin, _end: float(len(values)),
}
_COMBINED: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "sum": math.fsum,
    "max": max,
    "min": min,
    "count": lambda values: float(len(values)),
    "group": lambda _: 1.0,
}
_GROUPED: Final = (
    promql_parser.VectorMatchCardinality.ManyToOne,
    promql_parser.VectorMatchCardinality.OneToMany,
)
_SETS: Final = ("and", "or", "unless")
_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}


def _divided(left: float, right: float) -> float:
    if right == 0:
        return math.nan if left == 0 or math.isnan(left) else math.copysign(math.inf, left)
    return left / right


_ARITHMETIC: Final[Mapping[str, Callable[[float, float], float]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divided,
}

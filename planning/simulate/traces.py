"""Requests that really came: traces in CSV, told apart by their header.

- Ours: `seconds,input_tokens,output_tokens`, seconds since the start.
- Azure LLM inference 2023 and 2024, https://github.com/Azure/AzurePublicDataset at commit b469a113: one header for
  both; timestamps of 2023 have seven digits and no zone, those of 2024 six digits or none, and a zone.
- BurstGPT, https://github.com/HPMLL/BurstGPT at commit ff1a7c63: seconds, which begin anywhere; its third file has
  `Session ID` and `Elapsed time` between the other columns. A request that failed has an answer of 0 tokens.
"""

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from operator import itemgetter
from pathlib import Path

from planning.refusal import Problem
from planning.simulate.arrivals import Request

MOST_TOKENS = 10_000_000
"""Of a question or an answer: beyond every model's context, so that more is a slip."""
SHOWN = 5
"""Wrong lines that an error tells of; it counts the others."""


class Format(StrEnum):
    """Who wrote a trace."""

    OURS = "llmserve"
    AZURE = "Azure LLM inference"
    BURSTGPT = "BurstGPT"


class TraceError(ValueError):
    """A file that is no trace, with all that is wrong with it: where, what stands there, what is allowed, the fix."""

    def __init__(self, file: Path, problems: Iterable[Problem], more: int = 0) -> None:
        """Take the file, what is wrong in the order of its lines, and how many more lines are wrong."""
        self.file = file
        self.problems = tuple(problems)
        shown = [f"  {problem}".replace("\n", "\n  ") for problem in self.problems]
        rest = [f"  and {more:,} more wrong line{'s' if more > 1 else ''}"] if more else []
        super().__init__("\n".join([f"{file}: this is no trace", *shown, *rest]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """The requests of a file in the order of their times, and how many rows of failed requests were left out.

    Times are in seconds: of our own format as they stand in the file, of the others since the first request.
    """

    requests: tuple[Request, ...]
    format: Format
    left_out: int


def read_trace(path: Path) -> Trace:
    """Read a file. Raises TraceError where it is no trace, and OSError where it cannot be read.

    A row of a published trace with a question or an answer of 0 tokens is a failed request and left out; in our own
    format it is an error.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            return _read(path, file)
        except (UnicodeDecodeError, csv.Error) as error:
            raise TraceError(path, [Problem(key="file", reason=f"is no CSV in UTF-8: {error}", fix=_EXPORT)]) from error


def as_csv(requests: Iterable[Request]) -> str:
    """Write requests as a trace in our own format; `read_trace` reads the same ones back."""
    rows = (f"{str(float(one.at)).removesuffix('.0')},{one.input_tokens},{one.output_tokens}" for one in requests)
    return "\n".join([",".join(_OURS.columns), *rows, ""])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """One format: its columns, the three of them that count, how a time is read and what it may be."""

    format: Format
    columns: tuple[str, ...]
    time: str
    question: str
    answer: str
    read_time: Callable[[str], float]
    times: str
    published: bool = True
    may_have_more: bool = False

    @property
    def least(self) -> int:
        """The fewest tokens that may stand there."""
        return 0 if self.published else 1

    @property
    def fields(self) -> tuple[tuple[str, Callable[[str], float], str], ...]:
        """The three columns that count: the name, what reads a value or raises ValueError, and what is allowed."""
        tokens = partial(_tokens, least=self.least)
        allowed = f"a whole number from {self.least} to {MOST_TOKENS:,}, in digits"
        return (
            (self.time, self.read_time, self.times),
            (self.question, tokens, allowed),
            (self.answer, tokens, allowed),
        )

    def is_of(self, header: Sequence[str]) -> bool:
        """Whether a file with such a header, in any order, has this format."""
        return set(self.columns) <= set(header) and (self.may_have_more or len(header) == len(self.columns))


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise ValueError(text)
    return seconds


def _timestamp(text: str) -> float:
    # Digits beyond the sixth are dropped, as the standard library promises from Python 3.11 on.
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _tokens(text: str, least: int) -> int:
    # int() by itself takes more than digits.
    if not text.isascii() or not text.isdigit() or not least <= (tokens := int(text)) <= MOST_TOKENS:
        raise ValueError(text)
    return tokens


_OURS = _Known(
    format=Format.OURS,
    columns=("seconds", "input_tokens", "output_tokens"),
    time="seconds",
    question="input_tokens",
    answer="output_tokens",
    read_time=_seconds,
    times="seconds since the start, 0 or more",
    published=False,
)
_KNOWN = (
    _OURS,
    _Known(
        format=Format.AZURE,
        columns=("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
        time="TIMESTAMP",
        question="ContextTokens",
        answer="GeneratedTokens",
        read_time=_timestamp,
        times="a time such as 2023-11-16 18:17:03.9799600 or 2024-05-10 00:00:00.009930+00:00",
    ),
    _Known(
        format=Format.BURSTGPT,
        columns=("Timestamp", "Model", "Request tokens", "Response tokens", "Total tokens", "Log Type"),
        time="Timestamp",
        question="Request tokens",
        answer="Response tokens",
        read_time=_seconds,
        times="seconds, 0 or more",
        may_have_more=True,
    ),
)
_EXPORT = f"write it as CSV in UTF-8, with the header {','.join(_OURS.columns)} and a line for each request"


def _read(path: Path, file: Iterable[str]) -> Trace:
    rows = csv.reader(file, skipinitialspace=True)
    header = next(filter(None, rows), [])
    if not header:
        raise TraceError(path, [Problem(key="file", reason="is empty", fix=_EXPORT)])
    known = next((known for known in _KNOWN if known.is_of(header)), None)
    if known is None:
        raise TraceError(path, [_unknown(header, rows.line_num)])
    when, asked, answered = (header.index(name) for name in (known.time, known.question, known.answer))
    width, read_time, least = len(header), known.read_time, known.least
    found: list[tuple[float, int, int]] = []
    problems: list[Problem] = []
    wrong = left_out = 0
    for row in filter(None, rows):
        try:
            if len(row) != width:
                raise ValueError(row)
            one = (read_time(row[when]), _tokens(row[asked], least), _tokens(row[answered], least))
        except ValueError:
            wrong += 1
            if wrong <= SHOWN:
                problems += _problems(known, header, row, rows.line_num)
            continue
        if one[1] and one[2]:
            found.append(one)
        else:
            left_out += 1
    if wrong:
        raise TraceError(path, problems, max(0, wrong - SHOWN))
    if not found:
        of_failed = f", and {left_out:,} of failed ones" if left_out else ""
        reason = f"has the header of {known.format}, but no line of a request{of_failed}"
        raise TraceError(path, [Problem(key="file", reason=reason, fix="take one with at least one request")])
    # Times alone: requests of the same time stay in their order.
    found.sort(key=itemgetter(0))
    requests = _since(found[0][0], found) if known.published else found
    return Trace(
        requests=tuple(Request(at=at, input_tokens=i, output_tokens=o) for at, i, o in requests),
        format=known.format,
        left_out=left_out,
    )


def _since(first: float, found: Iterable[tuple[float, int, int]]) -> Iterator[tuple[float, int, int]]:
    """Count times from the first one on; a float since 1970 is good to the microsecond, and to no more."""
    return ((round(at - first, 6), question, answer) for at, question, answer in found)


def _problems(known: _Known, header: Sequence[str], row: Sequence[str], line: int) -> Iterator[Problem]:
    """Tell all that is wrong with a line."""
    fix = "correct it, or take the line out"
    if len(row) != len(header):
        reason = f"{len(row)} values; allowed is one for each of {','.join(header)}"
        yield Problem(key=f"line {line}", value=_shown(",".join(row)), reason=reason, fix=fix)
        return
    for column, value, allowed in known.fields:
        text = row[header.index(column)]
        try:
            value(text)
        except ValueError:
            reason = f"allowed is {allowed}"
            yield Problem(key=f"line {line}, {column}", value=_shown(text), reason=reason, fix=fix)


def _unknown(header: Sequence[str], line: int) -> Problem:
    known = "".join(
        f"\n      {','.join(known.columns)}{' and any others' if known.may_have_more else ''} ({known.format})"
        for known in _KNOWN
    )
    return Problem(
        key=f"line {line}",
        value=_shown(",".join(header)),
        reason=f"is the header of no known trace; allowed are, in any order:{known}",
        fix=f"name the columns {','.join(_OURS.columns)}, and take others out",
    )


def _shown(text: str) -> str:
    """Show a value on one line, also where there is none or it is long."""
    return repr(text if len(text) <= 80 else f"{text[:80]}...")

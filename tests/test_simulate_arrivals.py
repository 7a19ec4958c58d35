"""Where the simulator's requests come from: what is drawn has the distribution it is said to have, traces are read."""

import math
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planning.simulate.arrivals import (
    DAY,
    HOUR,
    WEEK,
    Bursts,
    BusinessHours,
    Constant,
    Lengths,
    Profile,
    Request,
    Shape,
    poisson,
)
from planning.simulate.traces import MOST_TOKENS, Format, TraceError, as_csv, read_trace
from scripts.example_trace import FILE, main, trace

SHORT = Lengths(mean=10, maximum=10, shape=Shape.FIXED)
OFFICE = BusinessHours(rate=0.05, from_hour=9, to_hour=17.5, days=5, outside=0.1)


def drawn(profile: Profile, seconds: float, seed: int = 1) -> list[float]:
    return [request.at for request in poisson(profile, seconds, SHORT, SHORT, seed)]


def lengths(of: Lengths, count: int = 50_000) -> list[int]:
    random = Random(3)  # noqa: S311  (no secret)
    return [of.draw(random) for _ in range(count)]


def expect_count(times: list[float], expected: float) -> None:
    """A Poisson count is within four standard deviations of its mean, but for one in 16,000."""
    assert abs(len(times) - expected) < 4 * math.sqrt(expected)


def farthest(values: list[float], of: float) -> float:
    """Kolmogorov and Smirnov's distance from an exponential distribution of such a mean, by the root of the count."""
    values, count = sorted(values), len(values)
    below = [1 - math.exp(-value / of) for value in values]
    distance = max(max((i + 1) / count - p, p - i / count) for i, p in enumerate(below))
    return distance * math.sqrt(count)


# Arrivals


@pytest.mark.parametrize("seed", range(5))
def test_constant_arrivals_are_a_poisson_process(seed: int) -> None:
    times = drawn(Constant(rate=2.5), 10_000, seed)
    expect_count(times, 25_000)
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] < 10_000
    gaps = [after - before for before, after in pairwise([0.0, *times])]
    assert farthest(gaps, 1 / 2.5) < 1.95  # one in a thousand is beyond
    assert farthest([gap + 0.02 for gap in gaps], 1 / 2.5) > 1.95  # which 20 ms more would be
    # The next gap knows nothing of the last.
    mean = fmean(gaps)
    covariance = fmean((a - mean) * (b - mean) for a, b in pairwise(gaps))
    assert abs(covariance) / mean**2 < 4 / math.sqrt(len(gaps))


def test_a_thinned_process_is_a_poisson_process_in_its_own_time() -> None:
    """With time counted in requests to be expected, the gaps are exponential whatever the profile is."""
    times = drawn(OFFICE, 8 * WEEK)

    def expected_by(at: float) -> float:
        weeks, rest = divmod(at, WEEK)
        days, second = divmod(rest, DAY)
        within = min(days, 5) * 8.5 * HOUR
        if days < 5:
            within += min(max(second - 9 * HOUR, 0), 8.5 * HOUR)
        within += weeks * 5 * 8.5 * HOUR
        return 0.05 * (within + 0.1 * (at - within))

    expect_count(times, expected_by(8 * WEEK))
    clock = [expected_by(at) for at in times]
    gaps = [after - before for before, after in pairwise([0.0, *clock])]
    assert farthest(gaps, 1) < 1.95


def test_nobody_asks_outside_of_business_hours() -> None:
    times = drawn(BusinessHours(rate=0.05, from_hour=9, to_hour=17.5, days=5), 4 * WEEK)
    expect_count(times, 0.05 * 20 * 8.5 * HOUR)
    assert all(at % WEEK < 5 * DAY and 9 <= at % DAY / HOUR < 17.5 for at in times)
    assert {int(at % WEEK // DAY) for at in times} == {0, 1, 2, 3, 4}
    assert {int(at % DAY // HOUR) for at in times} == set(range(9, 18))


def test_a_part_asks_outside_of_business_hours() -> None:
    times = drawn(OFFICE, 8 * WEEK)
    within = [at for at in times if at % WEEK < 5 * DAY and 9 <= at % DAY / HOUR < 17.5]
    expect_count(within, 0.05 * 8 * 5 * 8.5 * HOUR)
    outside = sorted(set(times) - set(within))
    expect_count(outside, 0.005 * 8 * (WEEK - 5 * 8.5 * HOUR))
    assert {int(at % WEEK // DAY) for at in outside} == set(range(7))


def test_business_hours_are_those_hours() -> None:
    shown = [
        (hour, OFFICE.rate_at(hour * HOUR)) for hour in (0, 8.99, 9, 17.49, 17.5, 4 * 24 + 9, 5 * 24 + 9, 7 * 24 + 9)
    ]
    assert [rate for _, rate in shown] == pytest.approx([0.005, 0.005, 0.05, 0.05, 0.005, 0.05, 0.005, 0.05])
    always = BusinessHours(rate=1, from_hour=0, to_hour=24, days=7)
    assert {always.rate_at(second) for second in range(0, WEEK, 599)} == {1}


def test_bursts_are_as_many_and_as_long_and_as_busy_as_they_are_said_to_be() -> None:
    bursts = Bursts(of=Constant(rate=0.5), factor=6, length=120, every=600, seed=4)
    assert bursts.peak == 3
    rates = [bursts.rate_at(second) for second in range(600 * 500)]
    assert set(rates) == {0.5, 3}
    starts = [i for i in range(1, len(rates)) if rates[i - 1] < rates[i]]
    ends = [i for i in range(starts[0], len(rates)) if rates[i - 1] > rates[i]]
    # A burst within one second is seen by chance only, which is less than one in a hundred.
    assert len(starts) == pytest.approx(500, rel=0.15)
    long = [float(end - start) for start, end in zip(starts, ends, strict=False)]
    assert fmean(long) == pytest.approx(120, rel=0.15)
    assert farthest(long, 120) < 1.95
    gaps = [float(start - end) for start, end in zip(starts[1:], ends, strict=False)]
    assert farthest(gaps, 480) < 1.95
    times = drawn(bursts, 600 * 500)
    expect_count(times, sum(rates))
    expect_count([at for at in times if bursts.rate_at(at) == 3], 3 * rates.count(3))


def test_bursts_have_begun_at_the_start_as_often_as_at_any_time() -> None:
    begun = sum(Bursts(of=Constant(rate=1), factor=2, length=1, every=4, seed=i).rate_at(0) == 2 for i in range(2000))
    assert begun == pytest.approx(500, abs=4 * math.sqrt(2000 * 0.25 * 0.75))


def test_bursts_come_when_their_seed_says_in_whatever_order_one_asks() -> None:
    def rates(seed: int, seconds: range) -> list[float]:
        bursts = Bursts(of=OFFICE, factor=3, length=100, every=1000, seed=seed)
        return [bursts.rate_at(second) for second in seconds]

    forward = rates(11, range(0, 200_000, 7))
    assert forward == rates(11, range(0, 200_000, 7)[::-1])[::-1]
    assert forward != rates(12, range(0, 200_000, 7))
    assert {round(rate / 0.005) for rate in forward} == {1, 3, 10, 30}


def test_a_seed_always_gives_the_same_requests_and_another_one_others() -> None:
    profile, long = Bursts(of=OFFICE, factor=3, length=100, every=1000, seed=2), Lengths(mean=200, maximum=4000)
    one, same, other = (list(poisson(profile, WEEK, long, long, seed)) for seed in (1, 1, 2))
    assert one == same
    assert not {request.at for request in one} & {request.at for request in other}
    # Of any length of time, the beginning is the same.
    assert list(poisson(profile, DAY, long, long, 1)) == [request for request in one if request.at < DAY]


def test_lengths_change_no_times_and_not_each_other() -> None:
    some, others = (
        Lengths(mean=mean, maximum=9000, shape=shape)
        for mean, shape in ((100, Shape.LOGNORMAL), (300, Shape.EXPONENTIAL))
    )
    a, b, c = (list(poisson(Constant(rate=1), 2000, *of, 1)) for of in ((some, some), (others, some), (some, others)))
    assert [r.at for r in a] == [r.at for r in b] == [r.at for r in c]
    assert [r.output_tokens for r in a] == [r.output_tokens for r in b] != [r.output_tokens for r in c]
    assert [r.input_tokens for r in a] == [r.input_tokens for r in c] != [r.input_tokens for r in b]
    assert [r.input_tokens for r in a] != [r.output_tokens for r in a]


@pytest.mark.parametrize(
    "profile", [Constant(rate=0), BusinessHours(rate=0), Bursts(of=Constant(rate=0), factor=2, length=1, every=2)]
)
def test_where_nobody_asks_there_are_no_requests(profile: Profile) -> None:
    assert not drawn(profile, DAY)


def test_no_time_has_no_requests() -> None:
    assert not drawn(Constant(rate=1000), 0)


@pytest.mark.parametrize("profile", [OFFICE, Bursts(of=OFFICE, factor=0.2, length=300, every=900), Constant(rate=3)])
def test_no_rate_is_above_the_peak(profile: Profile) -> None:
    rates = [profile.rate_at(second) for second in range(0, WEEK, 97)]
    assert max(rates) == profile.peak


# Lengths


def test_fixed_lengths_are_the_mean() -> None:
    assert set(lengths(Lengths(mean=300, maximum=4000, shape=Shape.FIXED), 100)) == {300}


@pytest.mark.parametrize("mean", [1, 2, 7, 250])
def test_exponential_lengths_have_their_mean_and_their_tail(mean: int) -> None:
    found = lengths(Lengths(mean=mean, maximum=10**6, shape=Shape.EXPONENTIAL))
    assert min(found) == 1
    assert fmean(found) == pytest.approx(mean, rel=0.02)
    longer = sum(tokens > 2 * mean for tokens in found) / len(found)
    assert longer == pytest.approx((1 - 1 / mean) ** (2 * mean), abs=0.008)


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_lognormal_lengths_have_their_mean_and_their_spread(spread: float) -> None:
    found = lengths(Lengths(mean=2000, maximum=10**7, spread=spread))
    assert fmean(found) == pytest.approx(2000, rel=0.03)
    logarithms = [math.log(tokens) for tokens in found]
    centre = fmean(logarithms)
    assert centre == pytest.approx(math.log(2000) - spread**2 / 2, abs=0.02)
    assert math.sqrt(fmean((log - centre) ** 2 for log in logarithms)) == pytest.approx(spread, abs=0.02)
    # Symmetric in the logarithm, as no exponential distribution is.
    assert sum(log > centre for log in logarithms) / len(found) == pytest.approx(0.5 if spread else 0, abs=0.02)


@pytest.mark.parametrize("shape", Shape)
def test_no_length_is_below_one_or_above_the_maximum(shape: Shape) -> None:
    found = lengths(Lengths(mean=100, maximum=80, shape=shape), 5000)
    assert max(found) == 80
    assert found.count(80) > 1000
    assert min(lengths(Lengths(mean=1, maximum=5, shape=shape, spread=3), 5000)) == 1
    assert max(lengths(Lengths(mean=10, maximum=50, spread=1000), 100)) <= 50


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Lengths(mean=0, maximum=10), "mean and maximum must be one token or more: 0, 10"),
        (lambda: Lengths(mean=10, maximum=0), "mean and maximum must be one token or more: 10, 0"),
        (lambda: Lengths(mean=10, maximum=10, spread=-1), "spread must be a number, zero or more: -1"),
        (lambda: Lengths(mean=10, maximum=10, spread=math.nan), "spread must be a number, zero or more: nan"),
        (lambda: Constant(rate=-1), "rate must be a number of requests a second, zero or more: -1"),
        (lambda: Constant(rate=math.inf), "rate must be a number of requests a second, zero or more: inf"),
        (lambda: BusinessHours(rate=math.nan), "rate must be a number of requests a second, zero or more: nan"),
        (lambda: BusinessHours(rate=1, from_hour=22, to_hour=6), "hours must be in order, from 0 to 24: 22 to 6"),
        (lambda: BusinessHours(rate=1, to_hour=25), "hours must be in order, from 0 to 24: 8 to 25"),
        (lambda: BusinessHours(rate=1, from_hour=-1), "hours must be in order, from 0 to 24: -1 to 18"),
        (lambda: BusinessHours(rate=1, days=8), "working days must be 1 to 7: 8"),
        (lambda: BusinessHours(rate=1, days=0), "working days must be 1 to 7: 0"),
        (lambda: BusinessHours(rate=1, outside=1.1), "the part of the rate outside must be 0 to 1: 1.1"),
        (lambda: Bursts(of=OFFICE, factor=-1, length=1, every=2), "factor must be a number, zero or more: -1"),
        (
            lambda: Bursts(of=OFFICE, factor=2, length=60, every=60),
            "a burst must be shorter than every so often: 60 s every 60 s",
        ),
        (
            lambda: Bursts(of=OFFICE, factor=2, length=0, every=60),
            "a burst must be shorter than every so often: 0 s every 60 s",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match="must be") as refused:
        make()
    assert str(refused.value) == said


# Traces


OURS = "seconds,input_tokens,output_tokens"
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens"
BURSTGPT = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"
BURSTGPT_3 = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type"


def read(folder: Path, *lines: str) -> tuple[Format, int, list[tuple[float, int, int]]]:
    path = folder / "trace.csv"
    path.write_text("\n".join(lines), encoding="utf-8", newline="")
    found = read_trace(path)
    return found.format, found.left_out, [(r.at, r.input_tokens, r.output_tokens) for r in found.requests]


def test_our_own_format_is_read_as_it_stands(tmp_path: Path) -> None:
    rows = [(0.5, 10, 20), (7.0, 1, 1), (7.25, 1_000_000, 3)]
    lines = ("seconds,input_tokens,output_tokens", "0.5,10,20", "7,1,1", "7.25,1000000,3")
    assert read(tmp_path, *lines) == (Format.OURS, 0, rows)
    # As an editor or a spreadsheet leaves it: a last newline, Windows lines, a mark of the encoding, blanks, quotes.
    for changed in (
        [*lines, "", ""],
        ["\n", *lines[:2], "", *lines[2:]],
        [f"{line}\r" for line in lines],
        ["\ufeff" + lines[0], *lines[1:]],
        [line.replace(",", ", ") for line in lines],
        [",".join(f'"{value}"' for value in line.split(",")) for line in lines],
        [",".join(line.split(",")[i] for i in (2, 0, 1)) for line in lines],
    ):
        assert read(tmp_path, *changed) == (Format.OURS, 0, rows)


def test_requests_are_sorted_by_time_and_else_stay_in_their_order(tmp_path: Path) -> None:
    _, _, rows = read(tmp_path, "seconds,input_tokens,output_tokens", "9,1,1", "5,9,9", "5,2,2", "1,3,3")
    assert rows == [(1, 3, 3), (5, 9, 9), (5, 2, 2), (9, 1, 1)]


def test_azure_2023_has_seven_digits_and_no_zone(tmp_path: Path) -> None:
    """The first two lines of AzureLLMInferenceTrace_code.csv, two seconds over midnight, and no newline at the end."""
    lines = (
        "2023-11-16 18:17:03.9799600,4808,10",
        "2023-11-16 18:17:04.0319600,3180,8",
        "2023-11-16 23:59:59.9799609,110,27",
        "2023-11-17 00:00:01.9799600,110,27",
    )
    expected = [(0.0, 4808, 10), (0.052, 3180, 8), (20576.0, 110, 27), (20578.0, 110, 27)]
    assert read(tmp_path, AZURE, *lines) == (Format.AZURE, 0, expected)


def test_azure_2024_has_a_zone_and_no_fraction_on_the_full_second(tmp_path: Path) -> None:
    """The first two lines of AzureLLMInferenceTrace_code_1week.csv, and a third as its notebook warns of."""
    lines = (
        "2024-05-10 00:00:00.009930+00:00,2162,5",
        "2024-05-10 00:00:00.017335+00:00,2399,6",
        "2024-05-12 00:00:00+00:00,76,15",
        "2024-05-12 02:00:00+02:00,77,15",
    )
    expected = [(0.0, 2162, 5), (0.007405, 2399, 6), (172799.99007, 76, 15), (172799.99007, 77, 15)]
    assert read(tmp_path, AZURE, *lines) == (Format.AZURE, 0, expected)


def test_a_time_without_a_zone_is_not_that_of_the_computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as context:
        context.setenv("TZ", "FAR-5")
        time.tzset()
        found = read(tmp_path, AZURE, "2023-11-16 18:17:03,1,1", "2023-11-16 18:17:04+00:00,1,1")
    time.tzset()
    assert found[2] == [(0.0, 1, 1), (1.0, 1, 1)]


def test_burstgpt_is_read_without_its_failed_requests(tmp_path: Path) -> None:
    lines = (
        "3,ChatGPT,0,0,0,API log",
        "5,ChatGPT,472,18,490,Conversation log",
        "45,ChatGPT,1087,230,1317,Conversation log",
        "50,GPT-4,417,0,417,Conversation log",
        "51,GPT-4,0,20,20,Conversation log",
        "118,GPT-4,417,276,693,API log",
    )
    expected = [(0.0, 472, 18), (40.0, 1087, 230), (113.0, 417, 276)]
    assert read(tmp_path, BURSTGPT, *lines) == (Format.BURSTGPT, 3, expected)


def test_burstgpt_3_has_two_columns_between_the_others(tmp_path: Path) -> None:
    lines = (
        "19440110.0,1722ac82-0a46-4bf0-aa08-89794e7a2b3f,43,GPT-4,906,446,1352,Conversation log",
        "19440161.0,,2,ChatGPT,36,29,65,API log",
        "19440192.5,,8,GPT-4,1779,0,1779,API log",
    )
    expected = [(0.0, 906, 446), (51.0, 36, 29)]
    assert read(tmp_path, BURSTGPT_3, *lines) == (Format.BURSTGPT, 1, expected)
    assert read(tmp_path, f"{BURSTGPT_3},Region", *(f"{line},eu" for line in lines))[2] == expected


TOKENS = st.integers(1, MOST_TOKENS)
SECONDS = st.floats(0, 1e300) | st.integers(0, 10**9).map(float) | st.decimals(0, 10**7, places=2).map(float)


@settings(max_examples=300, deadline=None)
@given(
    requests=st.lists(st.builds(Request, at=SECONDS, input_tokens=TOKENS, output_tokens=TOKENS), min_size=1, max_size=8)
)
def test_what_is_written_is_read_back(requests: list[Request], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("trace") / "trace.csv"
    path.write_text(as_csv(requests), encoding="utf-8")
    assert read_trace(path).requests == tuple(sorted(requests, key=lambda request: request.at))


def test_numbers_are_written_short() -> None:
    rows = [Request(at=5, input_tokens=1, output_tokens=2), Request(at=0.1, input_tokens=3, output_tokens=4)]
    assert as_csv(rows) == "seconds,input_tokens,output_tokens\n5,1,2\n0.1,3,4\n"


def test_a_hundred_thousand_lines_are_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    lines = (
        f"2024-05-10 {i // 3600:02}:{i // 60 % 60:02}:{i % 60:02}.12{i % 10}+00:00,{i + 1},7" for i in range(86_400)
    )
    path.write_text("\n".join([AZURE, *lines]), encoding="utf-8")
    started = time.process_time()
    assert len(read_trace(path).requests) == 86_400
    # A third of a second; ten times that is another algorithm, not another computer.
    assert time.process_time() - started < 4


def refused(folder: Path, content: str | bytes) -> str:
    path = folder / "trace.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TraceError) as error:
        read_trace(path)
    assert error.value.file == path
    message = str(error.value)
    assert message.startswith(f"{path}: this is no trace\n")
    return message.partition("\n")[2]


EXPORT = "fix: write it as CSV in UTF-8, with the header seconds,input_tokens,output_tokens and a line for each request"


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    for nothing in ("", "\n\r\n\n"):
        assert refused(tmp_path, nothing) == f"  file\n      is empty\n      {EXPORT}"


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    bytes_said = "'utf-8' codec can't decode byte 0xff in position 39: invalid start byte"
    said = refused(tmp_path, OURS.encode() + b"\n1,2,\xff3\n")
    assert said == f"  file\n      is no CSV in UTF-8: {bytes_said}\n      {EXPORT}"
    endless = f"{OURS}\n1,2," + "3" * 200_000
    assert "is no CSV in UTF-8: field larger than field limit" in refused(tmp_path, endless)


@pytest.mark.parametrize(
    ("header", "more"),
    [
        ("seconds,input_tokens,output_tokens", ""),
        (AZURE, ""),
        (f"{BURSTGPT}\n5,GPT-4,417,0,417,API log\n6,GPT-4,0,0,0,API log", ", and 2 of failed ones"),
    ],
)
def test_a_file_without_requests_is_refused(tmp_path: Path, header: str, more: str) -> None:
    said = refused(tmp_path, header).splitlines()
    assert said[1].startswith("      has the header of ")
    assert said[1].endswith(f", but no line of a request{more}")
    assert said[2] == "      fix: take one with at least one request"


@pytest.mark.parametrize(
    "header",
    [
        "0.5,10,20",
        "seconds,input_tokens",
        "seconds,input_tokens,output_tokens,model",
        "seconds,input_tokens,input_tokens",
        "Seconds,input_tokens,output_tokens",
        "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens",
        "Timestamp,Model,Request tokens,Response tokens",
    ],
)
def test_an_unknown_header_is_shown_beside_the_known_ones(tmp_path: Path, header: str) -> None:
    assert refused(tmp_path, f"\n{header}\n1,2,3\n") == (
        f"  line 2 = '{header}'\n"
        "      is the header of no known trace; allowed are, in any order:\n"
        "        seconds,input_tokens,output_tokens (llmserve)\n"
        "        TIMESTAMP,ContextTokens,GeneratedTokens (Azure LLM inference)\n"
        "        Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type and any others (BurstGPT)\n"
        "      fix: name the columns seconds,input_tokens,output_tokens, and take others out"
    )


WHOLE = "allowed is a whole number from 1 to 10,000,000, in digits"
OR_NONE = "allowed is a whole number from 0 to 10,000,000, in digits"
SINCE = "allowed is seconds since the start, 0 or more"
TIME = "allowed is a time such as 2023-11-16 18:17:03.9799600 or 2024-05-10 00:00:00.009930+00:00"
WIDTH = "allowed is one for each of seconds,input_tokens,output_tokens"


@pytest.mark.parametrize(
    ("header", "line", "field", "reason"),
    [
        (OURS, "x,2,3", ", seconds = 'x'", SINCE),
        (OURS, "-1,2,3", ", seconds = '-1'", SINCE),
        (OURS, "nan,2,3", ", seconds = 'nan'", SINCE),
        (OURS, "inf,2,3", ", seconds = 'inf'", SINCE),
        (OURS, ",2,3", ", seconds = ''", SINCE),
        (OURS, "1,0,3", ", input_tokens = '0'", WHOLE),
        (OURS, "1,2,0", ", output_tokens = '0'", WHOLE),
        (OURS, "1,2,3.0", ", output_tokens = '3.0'", WHOLE),
        (OURS, "1,-2,3", ", input_tokens = '-2'", WHOLE),
        (OURS, "1,1_0,3", ", input_tokens = '1_0'", WHOLE),
        (OURS, "1,²,3", ", input_tokens = '²'", WHOLE),
        (OURS, "1,2,\u0663", ", output_tokens = '\u0663'", WHOLE),
        (OURS, "1,10000001,3", ", input_tokens = '10000001'", WHOLE),
        (OURS, "1,2," + "9" * 9000, f", output_tokens = '{'9' * 80}...'", WHOLE),
        (OURS, "1,2", " = '1,2'", f"2 values; {WIDTH}"),
        (OURS, "1,2,3,4", " = '1,2,3,4'", f"4 values; {WIDTH}"),
        (AZURE, "16/11/2023 18:17,2,3", ", TIMESTAMP = '16/11/2023 18:17'", TIME),
        (AZURE, "12.5,2,3", ", TIMESTAMP = '12.5'", TIME),
        (AZURE, "2024-05-10 00:00:00+00:00,-2,3", ", ContextTokens = '-2'", OR_NONE),
        (BURSTGPT, "-5,GPT-4,2,3,5,API log", ", Timestamp = '-5'", "allowed is seconds, 0 or more"),
        (BURSTGPT, "5,GPT-4,2,,5,API log", ", Response tokens = ''", OR_NONE),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(
    tmp_path: Path, header: str, line: str, field: str, reason: str
) -> None:
    said = f"  line 3{field}\n      {reason}\n      fix: correct it, or take the line out"
    assert refused(tmp_path, f"{header}\n\n{line}\n") == said


def test_all_that_is_wrong_with_five_lines_is_told_and_how_many_more_there_are(tmp_path: Path) -> None:
    def wrong(lines: int) -> list[str]:
        said = refused(tmp_path, "\n".join([OURS, "1,2,3", *["x,0,3"] * lines, "1,2,3"]))
        return [line for line in said.splitlines() if not line.startswith("      ")]

    both = [f"  line {line}, {field}" for line in range(3, 8) for field in ("seconds = 'x'", "input_tokens = '0'")]
    assert wrong(1) == both[:2]
    assert wrong(5) == both
    assert wrong(6) == [*both, "  and 1 more wrong line"]
    assert wrong(1205) == [*both, "  and 1,200 more wrong lines"]


def test_a_file_that_is_not_there_is_no_wrong_trace(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_trace(tmp_path / "none.csv")


# The example


def test_the_example_is_the_one_that_the_command_makes() -> None:
    assert FILE.read_bytes() == trace().encode(), "stale: .venv/bin/python -m scripts.example_trace --write"


def test_the_example_is_a_business_day(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    assert capsys.readouterr().out.encode() == FILE.read_bytes()
    found = read_trace(FILE)
    assert (found.format, found.left_out) == (Format.OURS, 0)
    assert len(found.requests) == pytest.approx(2000, rel=0.05)
    assert 0 <= found.requests[0].at < HOUR
    assert 23 * HOUR < found.requests[-1].at < DAY
    within = sum(8 * HOUR <= request.at < 18 * HOUR for request in found.requests)
    assert within / len(found.requests) > 0.95
    assert max(len(line) for line in FILE.read_text(encoding="utf-8").splitlines()[1:]) <= 17

"""The tables of docs/simulator.md: batching over load and lengths, a month's bills, the parts of a cold start."""

from collections.abc import Iterable, Sequence

from planning.cold_start import DRIVER, IMAGE, NODE, WARM_UP
from planning.simulate.claims import LONGEST, Bill, Experiment, Gain, bills, load_sweep, saved

SATURATED = 10.0
"""Requests a second, more than the replica serves in any of the four experiments."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _gain(gain: Gain) -> tuple[str, ...]:
    return (
        f"{gain.static:.2f}",
        f"{gain.continuous:.2f}",
        f"{gain.continuous / gain.static:.1f}",
        f"{gain.paged:.2f}",
        f"{gain.paged / gain.static:.1f}",
    )


_GAIN = ("static", "continuous", "times", "continuous, paged", "times")


def batching() -> str:
    """Answers a second at each load, with the longest answers of the experiment."""
    return table(("requests a second", *_GAIN), ((f"{gain.rate:g}", *_gain(gain)) for gain in load_sweep()))


def lengths() -> str:
    """Answers a second with more requests than can be served, by the longest answer."""
    rows = []
    for longest in LONGEST:
        [gain] = load_sweep(longest, [SATURATED])
        places = Experiment(longest=longest).limits(paged=False).sequences
        rows.append((f"{longest:,}", f"{places}", *_gain(gain)))
    return table(("longest answer", "places", *_GAIN), rows)


def bills_table() -> str:
    """The brief's month, and what is left of it like for like."""
    found = bills()
    managed, spot = found[0], found[2]
    header = ("one GPU for a month", "GPU hours", "USD an hour", "USD", "saved against always on", "callers who waited")
    return table(header, (_bill(bill, managed, spot) for bill in found))


def _bill(bill: Bill, managed: Bill, spot: Bill) -> tuple[str, ...]:
    less = [f"{saved(bill, other):.1%} of {other.usd:,.0f}" for other in (managed, spot) if bill.usd < other.usd]
    waited = "not counted" if bill.waiting_callers is None else "nobody"
    if bill.waiting_callers and bill.mean_wait_seconds is not None:
        waited = f"{bill.waiting_callers:,}, {bill.mean_wait_seconds / 60:.1f} minutes on average"
    return (
        bill.what,
        f"{bill.gpu_hours:,.0f}",
        f"{bill.usd_per_hour:.2f}",
        f"{bill.usd:,.0f}",
        ", ".join(less) or "-",
        waited,
    )


def starts() -> str:
    """The parts of a cold start that do not depend on the model."""
    parts = (NODE, DRIVER, IMAGE, WARM_UP)
    rows = ((p.name, f"{p.least:g} to {p.most:g}", f"{p.likely:g}", f"{p.by}: {p.source}") for p in parts)
    return table(("part", "seconds", "mostly", "from"), rows)

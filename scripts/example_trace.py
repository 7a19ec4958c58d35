"""`.venv/bin/python -m scripts.example_trace`: a made-up Monday of chat, as planning/simulate/example_trace.csv has it.

Two thousand requests: business hours, a little at night, and about every hour a few minutes of four times as many.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from planning.simulate.arrivals import DAY, Bursts, BusinessHours, Lengths, poisson
from planning.simulate.traces import as_csv

FILE = Path(__file__).parent.parent / "planning" / "simulate" / "example_trace.csv"
PROFILE = Bursts(
    of=BusinessHours(rate=0.049, from_hour=8, to_hour=18, outside=0.02), factor=4, length=300, every=3600, seed=1
)
QUESTIONS = Lengths(mean=600, maximum=4096)
ANSWERS = Lengths(mean=250, maximum=1024)


def trace() -> str:
    """Make the trace: times to a tenth of a second, which is as exact as anybody needs here."""
    requests = poisson(PROFILE, DAY, QUESTIONS, ANSWERS, seed=1)
    return as_csv(dataclasses.replace(request, at=round(request.at, 1)) for request in requests)


def main(arguments: Sequence[str]) -> None:
    """Print the trace, or write it."""
    parser = argparse.ArgumentParser(prog="example_trace", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {FILE.name} instead of printing it")
    if parser.parse_args(arguments).write:
        FILE.write_text(trace(), encoding="utf-8", newline="\n")
    else:
        print(trace(), end="")


if __name__ == "__main__":
    main(sys.argv[1:])

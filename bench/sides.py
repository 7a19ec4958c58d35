"""Times commands against each other: whole processes from a cold interpreter, in turns, medians."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MEGABYTE = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One thing to time: a command, where to run it, and with which environment beside the usual."""

    name: str
    command: Sequence[str]
    folder: Path = ROOT
    environment: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Medians of one side: seconds, and peak memory of its largest process in MB."""

    seconds: float
    peak: float


def measure(sides: Sequence[Side], rounds: int) -> dict[str, Measured]:
    """Run every side once unmeasured, then `rounds` times in turns."""
    taken: dict[str, list[tuple[float, float]]] = {side.name: [] for side in sides}
    for number in range(rounds + 1):
        for side in sides:
            figures = run(side)
            if number:
                taken[side.name].append(figures)
            label = f"round {number}/{rounds}" if number else "warming up"
            if sys.stderr.isatty():
                print(f"\r\x1b[K{label}: {side.name} {figures[0]:.2f} s", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    return {
        name: Measured(
            seconds=statistics.median(seconds for seconds, _ in figures),
            peak=statistics.median(peak for _, peak in figures),
        )
        for name, figures in taken.items()
    }


def run(side: Side) -> tuple[float, float]:
    """Run one side once: seconds and peak memory in MB. SystemExit with its last words where it fails."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(side.environment or {})}
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            list(side.command), cwd=side.folder, env=environment, stdout=subprocess.DEVNULL, stderr=errors
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{side.name} failed:\n{errors.read().decode(errors='replace')[-2000:]}")
    return seconds, usage.ru_maxrss / MEGABYTE


def verdict(name: str, figure: float, limit: float, shown: Callable[[float], str]) -> bool:
    """Print one promise, its figure, and whether it holds."""
    holds = figure <= limit
    print(f"{'pass' if holds else 'FAIL'}  {name}: {shown(figure)} (at most {shown(limit)})")
    return holds


def ratio(value: float) -> str:
    """A ratio for a person."""
    return f"{value:.2f}x"

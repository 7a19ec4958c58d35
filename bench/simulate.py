"""Times the simulator: a day of 100,000 requests on ten replicas, and how that grows with requests.

`.venv/bin/python -m bench.simulate [--rounds N]`; the exit code is 1 if a promise is broken.
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.sides import Side, measure, ratio, verdict

PROGRAM = """
from functools import partial
from planning.simulate.arrivals import DAY, Constant, Lengths, poisson
from planning.cold_start import DRIVER, IMAGE, NODE, WARM_UP, ColdStart
from planning.simulate.engine import Limits, Timing
from planning.simulate.platform import Platform, Supply, Version, simulate
from planning.simulate.results import Provisioning
from planning.simulate.scalers import Keda

days = {days}
version = Version(
    name="stable",
    timing=Timing(prefill=0.02, prefill_a_token=0.0001, step=0.02, step_a_sequence=0.0002, step_a_cached_token=1e-7),
    limits=Limits(sequences=128, cached_tokens=400_000, prefill_tokens=8192, requests=128),
    scaler=partial(Keda, minimum=10, maximum=10, startup_seconds=1800, requests_per_second_per_replica=0.15),
    initial=10,
)
platform = Platform(
    versions=(version,),
    supply=Supply(order=(Provisioning.SPOT, Provisioning.ON_DEMAND), losses_per_day=2),
    cold_start=ColdStart(parts=(NODE, DRIVER, IMAGE, WARM_UP)),
)
requests = poisson(
    Constant(rate=100_000 / DAY), days * DAY, Lengths(mean=500, maximum=6000), Lengths(mean=200, maximum=2000), seed=1
)
results = simulate(platform, requests, seconds=days * DAY) if days else None
assert results is None or results.served > 99_000 * days
"""


def main() -> None:
    """Measure none, one, two and four days in one run and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with TemporaryDirectory() as work:
        sides = []
        for days in (0, 1, 4):
            program = Path(work) / f"{days}.py"
            program.write_text(PROGRAM.format(days=days))
            sides.append(Side(name=f"{days} days", command=[sys.executable, str(program)]))
        measured = measure(sides, rounds)
    imports, one, four = (measured[side.name].seconds for side in sides)
    print(f"a day of 100,000 requests on ten replicas: {one - imports:.2f} s beside {imports:.2f} s of imports")
    holds = verdict("four days to one, without the imports", (four - imports) / (one - imports), 4.6, ratio)
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()

"""`make simulate STACK=prod`: what a stack's models would do with a day of requests: waits, replicas, losses, money.

Offline, and without a GPU: docs/simulator.md says what is computed from what.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from planning.cost.recorded import Recorded
from planning.plan import Plan
from planning.serving import ModelPlan
from planning.simulate.arrivals import Request
from planning.simulate.platform import Balancing, simulate
from planning.simulate.report import Document, document, text
from planning.simulate.results import Results
from planning.simulate.scenario import Options, Pattern, Policy, Scenario, scenario
from planning.simulate.traces import TraceError, read_trace
from scripts.stack_plan import read_plan, read_resources
from scripts.terminal import OperationError, run, say


def parser() -> argparse.ArgumentParser:
    """Describe the arguments; what is not given comes from the stack, or is assumed and said to be."""
    made = argparse.ArgumentParser(prog="scripts.simulate", description=(__doc__ or "").splitlines()[0])
    add_options(made, Options())
    return made


def add_options(made: argparse.ArgumentParser, defaults: Options) -> None:
    """Add the arguments by which `options_of` makes the options, and how to report them."""
    made.add_argument("stack", help="the stack whose models are simulated: Pulumi.STACK.yaml")
    made.add_argument("--model", help="only this model")
    made.add_argument("--days", type=positive, help="how long (default: one day, or as long as the trace)")
    made.add_argument("--seed", type=int, default=defaults.seed, help="another seed, another run of luck")
    made.add_argument(
        "--trace", type=Path, metavar="FILE", help="requests from a CSV file; docs/simulator.md has formats"
    )
    made.add_argument("--pattern", type=Pattern, choices=list(Pattern), default=defaults.pattern)
    made.add_argument("--from-hour", type=float, default=defaults.from_hour)
    made.add_argument("--to-hour", type=float, default=defaults.to_hour)
    made.add_argument("--requests-per-second", type=positive)
    made.add_argument("--question-tokens", type=int, metavar="MEAN")
    made.add_argument("--answer-tokens", type=int, metavar="MEAN")
    made.add_argument("--service-seconds", type=positive, metavar="MEAN", help="of one request to a custom engine")
    made.add_argument("--policy", type=Policy, choices=list(Policy), default=defaults.policy, help="who scales")
    made.add_argument(
        "--balancing", type=Balancing, choices=list(Balancing), help="in place of what the stack's gateway does"
    )
    made.add_argument("--losses-per-day", type=number, default=defaults.losses_per_day, help="of a spot node")
    made.add_argument("--outages-per-day", type=number, default=defaults.outages_per_day, help="without any spot node")
    made.add_argument("--outage-hours", type=positive, default=defaults.outage_hours, help="their mean length")
    made.add_argument("--retry-after", type=positive, default=defaults.retry_after, metavar="SECONDS")
    made.add_argument("--patience-minutes", type=number, default=defaults.patience_minutes)
    made.add_argument("--tail-minutes", type=number, default=defaults.tail_minutes, help="how long empty nodes stay")
    made.add_argument("--format", choices=("text", "json"), default="text")
    made.add_argument("--html", type=Path, metavar="FILE", help="also write a page with pictures")


def number(text_: str) -> float:
    """Read 0 or more."""
    value = float(text_)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text_} is not 0 or more")
    return value


def positive(text_: str) -> float:
    """Read more than 0."""
    if not (value := number(text_)):
        raise argparse.ArgumentTypeError("must be more than 0")
    return value


def options_of(arguments: argparse.Namespace) -> Options:
    """Read the trace and gather the rest. Raises OperationError where it is no trace."""
    fields = {name: getattr(arguments, name) for name in Options.__dataclass_fields__ if name != "trace"}
    try:
        trace: tuple[Request, ...] | None = read_trace(arguments.trace).requests if arguments.trace else None
    except (TraceError, OSError) as error:
        raise OperationError(str(error)) from error
    return Options(**fields, trace=trace)


def chosen(plan: Plan, name: str | None) -> Sequence[ModelPlan]:
    """Find the models to run. Raises OperationError for a name that is none."""
    found = [model for model in plan.models if name in (None, model.name)]
    if not found:
        raise OperationError(f"there is no model {name} here: one of {', '.join(model.name for model in plan.models)}")
    return found


def runs(
    plan: Plan, models: Sequence[ModelPlan], options: Options, resources: Sequence[Recorded]
) -> Iterator[tuple[Scenario, Results]]:
    """Run one model after the other. Raises OperationError for one that cannot be simulated."""
    for model in models:
        try:
            made = scenario(plan, model, options, resources)
        except ValueError as error:
            raise OperationError(str(error)) from error
        if sys.stderr.isatty():
            print(f"\r\x1b[Ksimulating {made.model} …", end="", file=sys.stderr, flush=True)
        results = simulate(made.platform, made.requests(), seconds=made.seconds, seed=made.seed)
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr)
        yield made, results


def main(argv: Sequence[str]) -> int:
    """Simulate and tell."""
    arguments = parser().parse_args(argv)
    options, plan = options_of(arguments), read_plan(arguments.stack).plan
    models = chosen(plan, arguments.model)
    done = list(runs(plan, models, options, read_resources(arguments.stack)))
    documents: list[Document] = [document(made, results) for made, results in done]
    if arguments.html is not None:
        # The drawing library takes longer to load than a run to run.
        from planning.simulate.page import page  # noqa: PLC0415

        arguments.html.write_text(page(arguments.stack, done), encoding="utf-8")
    if arguments.format == "json":
        say(json.dumps({"stack": arguments.stack, "models": documents}, indent=2))
    else:
        say("\n\n".join(text(found) for found in documents))
    return 0


if __name__ == "__main__":
    run(main)

"""`make drill STACK=prod`: call a stack's spot nodes back, simulated, and judge what becomes of its callers' streams.

Offline, and without a GPU: docs/drill.md says what is drawn, what the verdict means and how to make it fail.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from planning.cost.recorded import Recorded
from planning.plan import Plan
from planning.serving import ModelPlan
from planning.simulate.drill import (
    LOSSES_PER_DAY,
    Drill,
    Faults,
    Outcome,
    Played,
    Task,
    drill,
    judge,
    play,
    read_losses,
)
from planning.simulate.drill_report import document, text
from planning.simulate.scenario import Options, Pattern
from scripts.simulate import add_options, chosen, number, options_of
from scripts.stack_plan import read_plan, read_resources
from scripts.terminal import OperationError, run, say


def parser() -> argparse.ArgumentParser:
    """Describe the arguments: those of the simulator, what is lost, and what is put wrong on purpose."""
    made = argparse.ArgumentParser(prog="scripts.drill", description=(__doc__ or "").splitlines()[0])
    add_options(made, Options(pattern=Pattern.CONSTANT))
    made.set_defaults(losses_per_day=None)
    made.add_argument("--seeds", type=_count, default=5, metavar="N", help="runs, from --seed on (default 5)")
    lost = made.add_argument_group(
        f"what is lost (without any of these, each spot node {LOSSES_PER_DAY:g} times a day)"
    )
    lost.add_argument(
        "--losses", type=Path, metavar="FILE", help="times at which all spot nodes go: seconds, one a line"
    )
    lost.add_argument(
        "--zone-losses-per-day", type=number, default=0.0, help="of each zone, all its spot nodes at once"
    )
    wrong = made.add_argument_group("what is put wrong on purpose (left out, it is as the stack declares it)")
    wrong.add_argument("--pre-stop", type=number, metavar="SECONDS", help="until the engine closes its port")
    wrong.add_argument("--spot-window", type=number, metavar="SECONDS", help="from the notice until the pod is killed")
    wrong.add_argument("--engine-timeout", type=number, metavar="SECONDS", help="how long it goes on with what it has")
    wrong.add_argument("--endpoint-lag", type=number, metavar="SECONDS", help="until the gateway stops sending to it")
    wrong.add_argument("--floor", type=_none_or_more, metavar="N", help="replicas on on-demand nodes")
    wrong.add_argument("--replicas", type=_count, metavar="N", help="so many at all times, shared out by weight")
    return made


def _none_or_more(text_: str) -> int:
    if (value := int(text_)) < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return value


def _count(text_: str) -> int:
    if (value := int(text_)) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def faults_of(arguments: argparse.Namespace) -> Faults:
    """Read the losses and gather the rest. Raises OperationError where the file holds no times."""
    fields = {name: getattr(arguments, name) for name in Faults.__dataclass_fields__ if name != "losses"}
    if arguments.losses is None:
        return Faults(**fields)
    try:
        return Faults(**fields, losses=read_losses(arguments.losses.read_text(encoding="utf-8")))
    except (ValueError, OSError) as error:
        raise OperationError(f"{arguments.losses}: {error}") from error


def prepared(
    plan: Plan, models: Sequence[ModelPlan], arguments: argparse.Namespace, resources: Sequence[Recorded]
) -> list[Drill]:
    """Set the drills up. Raises OperationError for a model that cannot be simulated, and for a loss after the end."""
    faults = faults_of(arguments)
    if arguments.losses_per_day is None:
        elsewhere = bool(faults.losses) or faults.zone_losses_per_day > 0
        arguments.losses_per_day = 0.0 if elsewhere else LOSSES_PER_DAY
    options = options_of(arguments)
    try:
        made = [drill(plan, model, options, faults, resources, seeds=arguments.seeds) for model in models]
    except ValueError as error:
        raise OperationError(str(error)) from error
    for found in made:
        seconds = found.tasks[0].scenario.seconds
        if faults.losses and faults.losses[-1] > seconds:
            raise OperationError(
                f"{arguments.losses}: a loss at {faults.losses[-1]:g} s is after the end of a run, {seconds:g} s: "
                "take it out, or more --days"
            )
    return made


def outcomes(drills: Sequence[Drill]) -> Iterator[Outcome]:
    """Run the drills, on every core that there is, and judge them in their order."""
    tasks = [(place, task) for place, made in enumerate(drills) for task in made.tasks]
    done: dict[int, list[Played]] = {place: [] for place in range(len(drills))}
    for count, (place, played) in enumerate(_played(tasks), start=1):
        done[place].append(played)
        if sys.stderr.isatty():
            print(f"\r\x1b[K{count} of {len(tasks)} runs …", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    for place, made in enumerate(drills):
        yield judge(made, done[place])


def _played(tasks: Sequence[tuple[int, Task]]) -> Iterator[tuple[int, Played]]:
    cores = min(os.cpu_count() or 1, len(tasks))
    if cores == 1:
        yield from ((place, play(task)) for place, task in tasks)
        return
    # Of ctrl-C the parent tells; its children just end.
    children = ProcessPoolExecutor(
        cores, mp_context=get_context("spawn"), initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_DFL)
    )
    with children:
        running = {children.submit(play, task): place for place, task in tasks}
        for ended in as_completed(running):
            yield running[ended], ended.result()


def main(argv: Sequence[str]) -> int:
    """Drill and tell; exit 1 where a model's verdict is that it failed."""
    arguments = parser().parse_args(argv)
    plan = read_plan(arguments.stack).plan
    models = chosen(plan, arguments.model)
    done = list(outcomes(prepared(plan, models, arguments, read_resources(arguments.stack))))
    documents = [document(outcome) for outcome in done]
    if arguments.html is not None:
        # The drawing library takes longer to load than many runs to run.
        from planning.simulate.drill_page import page  # noqa: PLC0415

        arguments.html.write_text(page(arguments.stack, done), encoding="utf-8")
    if arguments.format == "json":
        passed = all(outcome.passed for outcome in done)
        say(json.dumps({"stack": arguments.stack, "passed": passed, "models": documents}, indent=2))
    else:
        say("\n\n".join(text(found) for found in documents))
    return 0 if all(outcome.passed for outcome in done) else 1


if __name__ == "__main__":
    run(main)

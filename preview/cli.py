"""The command line of the preview."""

# ruff: noqa: PLC0415, T201 - imports wait until the child has been forked; printing is what this module is for

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from preview.children import Child, reap
from preview.errors import ExitCode, PreviewError, SeveralFailed

if TYPE_CHECKING:
    from preview.snapshot import Snapshot

_DESCRIPTION: Final = """\
Show what `pulumi up` would make of a stack, from the real program in this folder: without the Pulumi CLI, a login,
a credential, a provider or a network. Nothing is written and nothing in the cloud is read, so every resource counts
as new. What only exists after creation shows as [unknown], what is secret as [secret]."""

_EPILOG: Final = """\
exit codes:
  0  shown
  1  the program itself failed; its own line and message are on standard error
  2  a wrong call, or a refusal: a stack or setting that the project or its program does not accept
  3  shown, and a mandatory policy is violated (--policy), or --fail-on says no
With several stacks nothing is shown unless all of them can be: the exit code is 2 if one is refused, else 1.

examples:
  python -m preview prod
  python -m preview dev prod --format json
  python -m preview prod --explain
  python -m preview prod -c capacity=on-demand
  python -m preview prod --config-path -c 'models[0].scaling.min=1'
  python -m preview prod --cost
  python -m preview prod --cost --format html > cost.html
  python -m preview dev prod --against origin/main
  python -m preview dev prod --against --format markdown --fail-on delete,replace,policy
  python -m preview prod --policy
  python -m preview prod --manifests build/prod
"""


_FAIL_ON: Final = ("delete", "replace", "policy", "budget")


def _fail_on(text: str) -> tuple[str, ...]:
    wanted = tuple(part.strip() for part in text.split(","))
    if unknown := [part for part in wanted if part not in _FAIL_ON]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is none of {', '.join(_FAIL_ON)}")
    return wanted


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"python -m preview: {message}\n(python -m preview --help says what there is)", file=sys.stderr)
        raise SystemExit(int(ExitCode.REFUSED))


def parser() -> argparse.ArgumentParser:
    """Describe every argument."""
    made = _Parser(
        prog="python -m preview",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("stacks", metavar="STACK", nargs="+", help="a stack with a Pulumi.STACK.yaml")
    made.add_argument(
        "--project", metavar="DIR", type=Path, default=Path(), help="the project's folder (default: this one)"
    )
    made.add_argument(
        "-c",
        "--config",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="set a configuration value for this run only, in every stack named;"
        " a KEY without namespace is the project's",
    )
    made.add_argument(
        "--config-path",
        action="store_true",
        help="KEY of -c is a path as for `pulumi config set --path`; what stands beside it stays",
    )
    made.add_argument(
        "--format",
        choices=("text", "json", "markdown", "html"),
        default="text",
        help="text: a tree (default); json: the document of `pulumi preview --json`, several stacks by name;"
        " markdown and html: with --cost or --against",
    )
    made.add_argument("--lines", action="store_true", help="text: name the line that made each resource")
    made.add_argument("--details", action="store_true", help="text: show each resource's inputs")
    made.add_argument(
        "--explain",
        action="store_true",
        help="show the plan in words and numbers, as the program's own explain() tells it, instead of its resources",
    )
    made.add_argument(
        "--cost",
        action="store_true",
        help="show what it costs a month, as the program's own cost() reckons it, instead of its resources",
    )
    made.add_argument(
        "--policy",
        action="store_true",
        help="show the verdict of the policy pack in policy/ instead, that of `pulumi up --policy-pack policy`",
    )
    made.add_argument(
        "--usage",
        metavar="FILE",
        type=Path,
        help='with --cost: take the use of models from what `make simulate ARGS="--format json"` wrote',
    )
    made.add_argument(
        "--against",
        metavar="REVISION",
        nargs="?",
        const="origin/main",
        help="show what differs from the merge base with REVISION (default: origin/main), both as git has them",
    )
    made.add_argument("--head", metavar="REVISION", help="with --against: the later revision (default: HEAD)")
    made.add_argument(
        "--uncommitted", action="store_true", help="with --against: the later revision is the folder as it stands"
    )
    made.add_argument(
        "--charts",
        metavar="DIR",
        type=Path,
        help="with --against: also show what changed releases make of their charts, by helm, from archives in DIR",
    )
    made.add_argument(
        "--real",
        metavar="FILE",
        type=Path,
        help="with --against and one stack: hold the prediction beside the document of a real `pulumi preview --json`",
    )
    made.add_argument(
        "--fail-on",
        metavar="LIST",
        type=_fail_on,
        default=(),
        help=f"with --against: exit with 3 on any of {','.join(_FAIL_ON)}, separated by commas",
    )
    made.add_argument(
        "--manifests",
        metavar="DIR",
        type=Path,
        help="also write each Kubernetes object as a YAML file into DIR, which must be new or empty;"
        " values known only later show as ⟦Kind/name.property⟧",
    )
    made.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=300.0, help="stop a program after this (default: 300)"
    )
    return made


def main(arguments: Sequence[str] | None = None, *, prepared: Child | None = None) -> NoReturn:
    """Run the command line and end the process at once: tearing the SDKs down would take longer than the
    preview.
    """
    try:
        code = run(arguments, prepared=prepared)
        sys.stdout.flush()
        reap()
    except BrokenPipeError:
        code = int(ExitCode.OK)
    except KeyboardInterrupt:
        code = 130
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ExitCode.REFUSED)
    sys.stderr.flush()
    os._exit(code)


def run(arguments: Sequence[str] | None = None, *, prepared: Child | None = None) -> int:
    """Do what the arguments say and return the exit code; SystemExit for a wrong call and --help.

    `prepared` is a child that waits to be told what to run; it is used where there is one stack to run.
    """
    progress = _Progress()
    try:
        options = parser().parse_args(arguments)
        stacks = list(dict.fromkeys(options.stacks))
        several = len(stacks) > 1 or options.manifests is not None or options.against is not None
        if prepared is not None and several:
            # Several programs share what this process loads for them.
            prepared.close()
            prepared = None
        if options.against is not None:
            shown, code = _compare(options, stacks, progress)
        else:
            shown, code = _show(options, stacks, prepared, progress)
    except PreviewError as error:
        progress.clear()
        print(error, file=sys.stderr)
        return int(error.exit_code)
    finally:
        if prepared is not None:
            prepared.close()
    progress.clear()
    print(shown)
    return int(code)


def _compare(options: argparse.Namespace, stacks: Sequence[str], progress: _Progress) -> tuple[str, ExitCode]:
    """Show what differs between two revisions, and say how the process has to end."""
    from preview.diff import markdown, text
    from preview.diff.report import report
    from preview.errors import Refused
    from preview.project import Override

    unused = [
        f"--{name.replace('_', '-')}"
        for name in ("cost", "explain", "manifests", "usage", "lines", "details")
        if getattr(options, name)
    ]
    if unused:
        raise Refused(f"{', '.join(unused)} is not for --against, which shows all that differs: take it out")
    if options.head is not None and options.uncommitted:
        raise Refused("--head and --uncommitted name two later revisions: take one of them out")
    made = report(
        options.project,
        stacks,
        against=options.against,
        head=options.head,
        uncommitted=options.uncommitted,
        overrides=[Override.parse(argument, is_path=options.config_path) for argument in options.config],
        real=options.real,
        charts=options.charts,
        timeout=options.timeout,
        progress=progress.show,
    )
    failing = made.fails_on(options.fail_on)
    code = ExitCode.SAYS_NO if failing else ExitCode.OK
    if any(one.head_failed for one in made.stacks):
        code = ExitCode.REFUSED if any(one.refused for one in made.stacks) else ExitCode.PROGRAM_FAILED
    if options.format == "json":
        return json.dumps(text.document(made, failing), indent=4, ensure_ascii=False), code
    if options.format == "html":
        from preview.diff.page import page

        return page(made, failing=failing), code
    if options.format == "markdown":
        return markdown.markdown(made, failing=failing).removesuffix("\n"), code
    from preview.text import Style

    return text.text(made, style=Style(color=_wants_color()), failing=failing), code


def _show(
    options: argparse.Namespace, stacks: Sequence[str], prepared: Child | None, progress: _Progress
) -> tuple[str, ExitCode]:
    # Imported late: a wrong call and --help need none of it, and neither does a child.
    from preview.document import document
    from preview.project import Override, load_project, load_stack
    from preview.request import Run
    from preview.run import preload, run_all
    from preview.text import Style, render

    simulation = _simulation(options)
    overrides = [Override.parse(argument, is_path=options.config_path) for argument in options.config]
    if options.manifests is not None:
        from preview.manifests import check_folder

        check_folder(options.manifests)
    project = load_project(options.project)
    if options.fail_on or options.uncommitted or any((options.head, options.real, options.charts)):
        from preview.errors import Refused

        raise Refused("--fail-on, --head, --uncommitted, --real and --charts are for --against: add it")
    if options.policy:
        _check_policy(options, project.root)
    configs = _all_or_nothing([_attempt(lambda s=stack: load_stack(project, s, overrides)) for stack in stacks])

    progress.show("loading the SDKs")
    wanted = [
        Run(
            project=project,
            config=config,
            explain=options.explain,
            cost=options.cost,
            policy=options.policy,
            simulation=simulation,
        )
        for config in configs
    ]
    if options.manifests is not None:
        wanted += [Run(project=project, config=config, placeholders=True) for config in configs]
    if prepared is None:
        preload(wanted)
    results = run_all(
        wanted,
        timeout=options.timeout,
        prepared=prepared,
        progress=lambda running: progress.show(f"running {', '.join(dict.fromkeys(running))}"),
    )
    snapshots: list[Snapshot] = _all_or_nothing(results[: len(stacks)])
    documents = [document(snapshot) for snapshot in snapshots]
    if options.manifests is not None:
        _write_manifests(options.manifests, results[len(stacks) :], progress)
    code = _verdict(snapshots) if options.policy else ExitCode.OK
    if options.format == "json":
        whole: Any = documents[0] if len(stacks) == 1 else dict(zip(stacks, documents, strict=True))
        return json.dumps(whole, indent=4, ensure_ascii=False), code
    if options.cost:
        return _costs(options.format, documents, snapshots), code
    if options.policy:
        return _policies(snapshots), code
    style = Style(color=_wants_color(), lines=options.lines, details=options.details)
    trees = [
        render(shown, stack=f"{snapshot.stack} ({snapshot.project})", style=style) + _unanswered(snapshot)
        for shown, snapshot in zip(documents, snapshots, strict=True)
    ]
    return "\n\n\n".join(trees), code


def _check_policy(options: argparse.Namespace, root: Path) -> None:
    """Refuse arguments that ask for two texts at once, and a project without a pack."""
    from preview.errors import Refused
    from preview.policies import need_pack

    if options.format != "json" and (options.cost or options.explain):
        raise Refused("--policy is shown in place of --cost and --explain: take one out, or add --format json")
    need_pack(root)


def _policies(snapshots: Sequence[Snapshot]) -> str:
    from preview import policies

    return "\n\n\n".join(f"{found.stack} ({found.project})\n{policies.text(policies.of(found))}" for found in snapshots)


def _verdict(snapshots: Sequence[Snapshot]) -> ExitCode:
    from preview import policies

    stopped = any(policies.is_stopped(policies.of(snapshot)) for snapshot in snapshots)
    return ExitCode.SAYS_NO if stopped else ExitCode.OK


def _simulation(options: argparse.Namespace) -> Any:
    """Read what --usage names. Raises Refused where the arguments do not go together, or it cannot be read."""
    from preview.errors import Refused

    if not options.cost and (options.usage is not None or options.format in {"markdown", "html"}):
        wrong = "--usage" if options.usage is not None else f"--format {options.format}"
        raise Refused(f"{wrong} is for --cost{'' if options.usage is not None else ' or --against'}: add it")
    if options.usage is None:
        return None
    try:
        return json.loads(options.usage.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"is no JSON: {error}"
        raise Refused(
            f'--usage {options.usage}: {reason}\n    fix: make simulate ARGS="--format json" > FILE'
        ) from error


def _costs(form: str, documents: Sequence[Any], snapshots: Sequence[Snapshot]) -> str:
    from preview import cost_text

    named = {snapshot.stack: shown["cost"] for snapshot, shown in zip(snapshots, documents, strict=True)}
    if form == "html":
        # The drawing library takes longer to load than a stack to price.
        from preview.cost_page import page

        return page(named)
    shown = [
        (cost_text.markdown if form == "markdown" else cost_text.text)(cost, stack=stack)
        for stack, cost in named.items()
    ]
    return ("\n\n" if form == "markdown" else "\n\n\n").join(shown)


def _unanswered(snapshot: Snapshot) -> str:
    tokens = sorted({invoke.token for invoke in snapshot.invokes if not invoke.answered})
    return f"\nwhat only a provider knows stays unknown: {', '.join(tokens)}" if tokens else ""


def _write_manifests(folder: Path, results: Sequence[Any], progress: _Progress) -> None:
    """Write what the second pass rendered; where it failed, say so: the preview itself stands."""
    from preview import manifests

    failures = [result for result in results if isinstance(result, PreviewError)]
    progress.clear()
    if failures:
        print(
            "no manifests: with stand-ins for what is not known yet, the program fails (the preview itself stands)\n"
            + "\n".join(f"    {line}" for failure in failures for line in str(failure).splitlines()),
            file=sys.stderr,
        )
        return
    count = manifests.write(folder, results)
    for snapshot in results:
        for line in manifests.unrendered(snapshot):
            print(line, file=sys.stderr)
    print(f"{count} manifests in {folder}", file=sys.stderr)


def _attempt(action: Any) -> Any:
    try:
        return action()
    except PreviewError as error:
        return error


def _all_or_nothing(results: Sequence[Any]) -> list[Any]:
    """Return the results if every stack has one, else raise all that is wrong as one error."""
    failures = [result for result in results if isinstance(result, PreviewError)]
    if failures:
        raise failures[0] if len(failures) == 1 else SeveralFailed(failures)
    return list(results)


def _wants_color() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class _Progress:
    """One line on a terminal that says what is going on and then vanishes; nothing elsewhere."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._started = time.monotonic()
        self._shown = False

    def show(self, text: str) -> None:
        """Replace the line."""
        if self._is_terminal:
            print(f"\r\x1b[K{text} … {time.monotonic() - self._started:.1f} s", end="", file=sys.stderr, flush=True)
            self._shown = True

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = False

"""One run of a program, inside a child process that ends right after it.

The run goes the way of the engine's own Python host (`sdk/python/cmd/pulumi-language-python-exec` of
pulumi/pulumi), with a monitor in the same process and an executor that works in place, which makes runs fast and
their order always the same.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import heapq
import json
import linecache
import logging
import os
import runpy
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pulumi
import pulumi.runtime
from pulumi.runtime import rpc, settings
from pulumi.runtime._callbacks import _CallbackServicer

from preview.document import document
from preview.encrypted import about_encrypted
from preview.monitor import EngineError, Monitor, is_installed
from preview.placeholders import BeforeCreation, Placeholders
from preview.request import Run
from preview.snapshot import from_wire

if TYPE_CHECKING:
    from pulumi.runtime.proto import callback_pb2

    from preview.project import Project, StackConfig

_ENGINE_ROOT = str(Path(__file__).parent.parent)


class _InPlace(ThreadPoolExecutor):
    """Runs work at once in the caller's thread; in its one thread while the program has callbacks to be called
    meanwhile.
    """

    def __init__(self, has_callbacks: Callable[[], bool]) -> None:
        super().__init__(max_workers=1)
        self._has_callbacks = has_callbacks

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self._has_callbacks():
            return super().submit(fn, *args, **kwargs)
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - handed to whoever awaits it
            future.set_exception(error)
        return future


def execute(run: Run) -> dict[str, Any]:
    """Run the program and return what it asked for, or under `failure` why it did not get that far."""
    gc.disable()
    become_a_fresh_interpreter(run)
    return contextvars.Context().run(_execute, run)


def become_a_fresh_interpreter(run: Run) -> None:
    """Take away what the parent has and the engine's Python host would not."""
    root, program = str(run.project.root), run.project.program
    foreign = {"", root, str(Path.cwd()), _ENGINE_ROOT, str(program.parent)}
    folders = tuple(f"{folder}/" for folder in foreign if folder)
    for name, module in list(sys.modules.items()):
        file = module.__dict__.get("__file__") or ""
        if not file.startswith(folders) or name.partition(".")[0] in {"preview", "__main__"}:
            continue
        # An installed package may lie in the project's folder too, in its virtual environment.
        if not any(is_installed(file.removeprefix(folder)) for folder in folders if file.startswith(folder)):
            del sys.modules[name]
    sys.path[:] = [str(program.parent), *(entry for entry in sys.path if entry not in foreign)]
    sys.path_importer_cache.pop(str(program.parent), None)
    sys.argv[:] = [str(program)]
    os.chdir(program.parent)
    os.environ["PULUMI_CONFIG"] = json.dumps(dict(run.config.values))
    os.environ["PULUMI_CONFIG_SECRET_KEYS"] = json.dumps(sorted(run.config.secret_keys))
    os.environ["PULUMI_PROJECT"] = run.project.name
    os.environ["PULUMI_STACK"] = run.config.stack
    os.environ["PULUMI_ORGANIZATION"] = run.organization
    os.environ["PULUMI_DRY_RUN"] = "true" if run.preview else "false"
    # An Output in an f-string raises instead of leaving its warning text in a property.
    os.environ["PULUMI_ERROR_OUTPUT_STRING"] = "1"
    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    warnings.filterwarnings("default", category=UserWarning)


def _keep_dependencies() -> None:
    """Let the SDK say of each value in a resource what it comes from, and not of each of its properties only.

    It does so for components of other languages: `keep_output_values` in sdk/python/lib/pulumi/runtime/resource.py.
    """
    serialize = rpc.serialize_properties

    async def keeping(*args: Any, **kwargs: Any) -> Any:
        return await serialize(
            *args, **kwargs | ({"keep_output_values": True} if "keep_output_values" in kwargs else {})
        )

    rpc.serialize_properties = keeping


def _execute(run: Run) -> dict[str, Any]:
    project, config = run.project, run.config
    names = BeforeCreation(project=project.name, stack=config.stack)
    stand_ins = Placeholders(project=project.name, stack=config.stack, everything=not run.preview)
    monitor = Monitor(
        project=project.name,
        stack=config.stack,
        root=str(project.root),
        preview=run.preview,
        organization=run.organization,
        completion=stand_ins if run.placeholders or not run.preview else names,
        fixtures=run.fixtures,
        disabled_providers=config.disabled_providers,
    )
    for warning in config.warnings:
        monitor.diagnostics.append({"severity": "warning", "message": warning, "urn": ""})
    pulumi.runtime.set_all_config(dict(config.values), sorted(config.secret_keys))
    pulumi.runtime.configure(
        pulumi.runtime.Settings(
            monitor=monitor,
            engine=monitor,
            project=project.name,
            stack=config.stack,
            parallel=1,
            dry_run=run.preview,
            organization=run.organization,
            root_directory=str(project.root),
        )
    )
    _keep_dependencies()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.set_default_executor(_InPlace(lambda: bool(_CallbackServicer._servicers)))

    def run_callback(callback: callback_pb2.Callback, request: bytes) -> bytes:
        for servicer in _CallbackServicer._servicers:
            if function := servicer._callbacks.get(callback.token):
                future = asyncio.run_coroutine_threadsafe(_awaited(function(request)), loop)
                return bytes(future.result().SerializeToString())
        raise EngineError(f"no callback with token {callback.token}")

    monitor.run_callback = run_callback
    failure, explanation, cost = None, [], None
    main: dict[str, Any] = {}

    def program() -> None:
        main.update(_run_program(str(project.program), loop))
        if run.explain:
            explanation.append(str(_function(main, "explain", project)()))

    try:
        with _no_library_sources():
            loop.run_until_complete(pulumi.runtime.run_in_stack(program))
    except SystemExit as ending:
        if ending.code not in (None, 0):
            failure = {"kind": "error", "message": f"the program ended itself: sys.exit({ending.code!r})"}
    except BaseException as error:  # noqa: BLE001 - whatever a program raises is what a person has to read
        failure = _explain(error, monitor, run)
    result = _result(run, monitor, config)
    if run.list_modules:
        result["modules"] = [name for name, module in sys.modules.items() if _is_loaded(module)]
    if run.cost and failure is None and not (run.optional and "cost" not in main):
        try:
            # After the program has come to rest, when all that it asks for is there.
            recorded = document(from_wire(result | {"secrets": sorted(config.secrets)}))
            cost = _function(main, "cost", project)([step["newState"] for step in recorded["steps"]], run.simulation)
        except BaseException as error:  # noqa: BLE001 - as above
            failure = _explain(error, monitor, run)
    judged = None
    if run.policy and failure is None:
        from preview.pack import judge_here  # noqa: PLC0415 - pulumi-policy is loaded for those who ask

        try:
            judged = judge_here(project, from_wire(result | {"secrets": sorted(config.secrets)}))
        except BaseException as error:  # noqa: BLE001 - as above
            failure = _explain(error, monitor, run)
    return result | {"failure": failure, "explanation": "".join(explanation), "cost": cost, "judged": judged}


def _result(run: Run, monitor: Monitor, config: StackConfig) -> dict[str, Any]:
    return {
        "project": run.project.name,
        "stack": config.stack,
        "preview": run.preview,
        "config": dict(config.values),
        "secretKeys": sorted(config.secret_keys),
        "resources": in_order(monitor.resources),
        "outputs": monitor.outputs,
        "diagnostics": monitor.diagnostics,
        "invokes": monitor.invokes,
        "explanation": "",
    }


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


def _run_program(path: str, loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
    main = runpy.run_path(path, run_name="__main__")
    # One more thing for the SDK to wait for: that all which the program started has come to rest. Else it would wait
    # for the program's outputs one by one, over all that are left each time: the square of their number.
    settings.SETTINGS.rpc_manager.rpcs.append(asyncio.ensure_future(_rest(loop)))
    return main


def _function(main: Mapping[str, Any], name: str, project: Project) -> Callable[..., Any]:
    found = main.get(name)
    if not callable(found):
        raise pulumi.RunError(f"{project.program.name} has no function {name}(), which --{name} asks")
    return cast(Callable[..., Any], found)


async def _rest(loop: asyncio.AbstractEventLoop) -> None:
    while getattr(loop, "_ready", ()):
        await asyncio.sleep(0)


@contextmanager
def _no_library_sources() -> Iterator[None]:
    """Keep the SDK from reading its own sources: it takes a stack trace with text for each resource and uses
    positions only.
    """
    read = linecache.updatecache
    linecache.updatecache = lambda *_arguments: []
    try:
        yield
    finally:
        linecache.updatecache = read
        linecache.clearcache()


def _is_loaded(module: Any) -> bool:
    """Whether a module's code has run; SDK modules are entered before they are loaded."""
    return type(module).__name__ != "_LazyModule"


def _explain(error: BaseException, monitor: Monitor, run: Run) -> dict[str, str]:
    """Say what went wrong in the reader's terms: their own lines, no line of any library."""
    chain = list(_causes(error))
    for cause in chain:
        if type(cause).__name__ == "Refusal":
            return {"kind": "refusal", "message": str(about_encrypted(cause, run.config))}
    for cause in chain:
        if isinstance(cause, EngineError):
            where = f"{cause.source}: " if cause.source else ""
            return {"kind": "error", "message": where + str(cause)}
    if isinstance(error, pulumi.RunError):
        return {"kind": "error", "message": str(error)}
    # The innermost cause that has lines of the project is the one that a person can act upon.
    own = [(cause, lines) for cause in chain if (lines := project_lines(cause, run.project.root))]
    cause, lines = own[0] if own else (error, [])
    if isinstance(cause, SyntaxError):
        lines = _syntax_line(cause, run.project.root) or lines
    message = "\n".join([*lines, f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__])
    unanswered = [invoke["token"] for invoke in monitor.invokes if not invoke["answered"]]
    if unanswered and isinstance(cause, (AssertionError, AttributeError, TypeError)):
        message += (
            f"\nThis may come from {unanswered[-1]}, whose answer only its provider knows:"
            " use its _output form, which may stay unknown."
        )
    return {"kind": "error", "message": message}


def _causes(error: BaseException | None) -> Any:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def project_lines(error: BaseException, root: Path) -> list[str]:
    """The lines of the project that an error came through, each with its text."""
    lines = []
    for frame in traceback.extract_tb(error.__traceback__):
        relative = _relative(frame.filename, root)
        if relative:
            lines.append(f"{relative}:{frame.lineno}: in {frame.name}")
            if frame.line:
                lines.append(f"    {frame.line}")
    return lines


def _syntax_line(error: SyntaxError, root: Path) -> list[str]:
    relative = _relative(error.filename or "", root)
    if not relative:
        return []
    return [f"{relative}:{error.lineno}:", *([f"    {error.text.strip()}"] if error.text else [])]


def _relative(file: str, root: Path) -> str:
    prefix = f"{root}/"
    relative = file.removeprefix(prefix) if file.startswith(prefix) else ""
    inside_engine = file.startswith(f"{_ENGINE_ROOT}/preview/")
    return "" if inside_engine or is_installed(relative) else relative


def summary(result: Mapping[str, Any]) -> str:
    """The result of a run as the text that travels through the pipe."""
    return json.dumps(result, separators=(",", ":"), ensure_ascii=False, allow_nan=True)


def in_order(resources: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Every resource after all that it needs, and by URN where that leaves a choice.

    The order in which requests arrive is not the same in every run: the SDK waits for sets of tasks, which have none.
    """
    needs = {
        urn: {found["parent"], found["provider"].rpartition("::")[0], *found["dependencies"]} & resources.keys()
        for urn, found in resources.items()
    }
    needed_by: dict[str, list[str]] = {urn: [] for urn in resources}
    for urn, needed in needs.items():
        for other in needed:
            needed_by[other].append(urn)
    ready = [urn for urn, needed in needs.items() if not needed]
    heapq.heapify(ready)
    ordered = []
    while ready:
        urn = heapq.heappop(ready)
        ordered.append(resources[urn])
        for other in needed_by[urn]:
            needs[other].discard(urn)
            if not needs[other]:
                heapq.heappush(ready, other)
    return ordered

"""Runs programs in short-lived forked children and turns what they send into snapshots.

The parent loads SDKs at most, never a module of a project: a fork that has one would run one revision's program
with another's code.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from preview.children import Child, reap
from preview.errors import PreviewError, ProgramFailed, Refused
from preview.masking import mask, secret_texts
from preview.project import Override, load_project, load_stack
from preview.request import Fixtures, Run
from preview.sdk import preload_for
from preview.snapshot import Snapshot, from_wire

DEFAULT_TIMEOUT: Final = 300.0
_SHOWN_LINES: Final = 20


@dataclass(frozen=True, slots=True)
class _Running:
    index: int
    run: Run
    child: Child
    deadline: float


def record(
    project_dir: str | Path,
    stack: str,
    *,
    config: Mapping[str, str] | None = None,
    paths: Mapping[str, str] | None = None,
    preview: bool = True,
    placeholders: bool = False,
    fixtures: Fixtures | None = None,
    cost: bool = False,
    timeout: float = DEFAULT_TIMEOUT,
) -> Snapshot:
    """Run one stack's program and return what it asked for.

    `config` sets keys as `-c` does, `paths` as `-c` with `--config-path`; nothing is written. `preview` False
    simulates an update: ids and computed properties are stand-ins instead of unknown. `placeholders` gives a
    preview those stand-ins too. `fixtures` answers provider functions by token and reads by type. `cost` asks the
    program for a price as well. `timeout` is in seconds.

    Raises `Refused` (of which `InvalidFile`) where the stack or the program's own checks say no, `ProgramFailed`
    where the program raises, crashes, or takes longer than `timeout`.
    """
    project = load_project(Path(project_dir))
    overrides = [
        *(Override(key=key, value=value) for key, value in (config or {}).items()),
        *(Override(key=key, value=value, is_path=True) for key, value in (paths or {}).items()),
    ]
    run = Run(
        project=project,
        config=load_stack(project, stack, overrides),
        preview=preview,
        placeholders=placeholders,
        fixtures=fixtures or {},
        cost=cost,
    )
    preload([run])
    result = run_all([run], timeout=timeout)[0]
    reap()
    if isinstance(result, PreviewError):
        raise result
    return result


def preload(runs: Sequence[Run]) -> None:
    """Load the SDK modules that these programs use, so that the children need not each do it."""
    with _without_garbage_collection():
        importlib.import_module("preview.child")
        for program in {run.project.program: run.project for run in runs}.values():
            preload_for(program.root, program.program)


def run_all(
    runs: Sequence[Run],
    *,
    timeout: float = DEFAULT_TIMEOUT,
    prepared: Child | None = None,
    progress: Callable[[Sequence[str]], None] = lambda _stacks: None,
) -> list[Snapshot | PreviewError]:
    """Run every program, as many side by side as there are cores, and return the results in the order given.

    `prepared` is a child that waits to be told the first run. `progress` is called about every tenth of a second
    with the stacks that are running.
    """
    results: dict[int, Snapshot | PreviewError] = {}
    waiting = list(enumerate(runs))
    started: list[Child] = []
    with selectors.DefaultSelector() as selector, _without_garbage_collection():
        try:
            while waiting or selector.get_map():
                while waiting and len(selector.get_map()) < _cores():
                    index, run = waiting.pop(0)
                    child, prepared = prepared or Child(run), None
                    started.append(child)
                    if child.is_waiting:
                        child.tell(run)
                    running = _Running(index, run, child, time.monotonic() + timeout)
                    selector.register(child.result, selectors.EVENT_READ, running)
                for key, _ in selector.select(timeout=0.1):
                    if not key.data.child.receive():
                        selector.unregister(key.fd)
                        results[key.data.index] = _result(key.data)
                for key in list(selector.get_map().values()):
                    if time.monotonic() > key.data.deadline:
                        selector.unregister(key.fd)
                        results[key.data.index] = _late(key.data, timeout)
                if names := [key.data.run.config.stack for key in selector.get_map().values()]:
                    progress(names)
        finally:
            for child in started:
                child.close()
    return [results[index] for index in range(len(runs))]


def _cores() -> int:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, count or 1)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Collecting the SDK's millions of objects over and over takes longer than anything else here."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _result(running: _Running) -> Snapshot | PreviewError:
    config = running.run.config
    out, err = (text.replace(f"{running.run.project.root}/", "") for text in running.child.printed())
    try:
        result: dict[str, Any] = json.loads(bytes(running.child.received))
        failure = result["failure"]
    except (ValueError, KeyError, TypeError):
        code = running.child.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return ProgramFailed(_with_prints(f"{config.stack}: the program's process {how}", out + err, config.secrets))
    secrets = config.secrets | secret_texts([result["resources"], result["outputs"]])
    if failure is not None:
        message = mask(failure["message"], secrets)
        if failure["kind"] == "refusal":
            return Refused(message)
        return ProgramFailed(_with_prints(message, out + err, secrets))
    result["diagnostics"] += [
        {"severity": severity, "message": line, "urn": ""}
        for severity, text in (("info", out), ("info#err", err))
        for line in text.splitlines()
        if line.strip()
    ]
    return from_wire(result | {"secrets": sorted(secrets)})


def _late(running: _Running, timeout: float) -> ProgramFailed:
    running.child.close()
    return ProgramFailed(
        f"{running.run.config.stack}: the program did not end within {timeout:g} seconds and was stopped;"
        " it may wait for a network or loop (--timeout gives it longer)"
    )


def _with_prints(message: str, printed: str, secrets: frozenset[str]) -> str:
    lines = mask(printed, secrets).strip().splitlines()[-_SHOWN_LINES:]
    return "\n".join([message, *(["it printed:", *(f"    {line}" for line in lines)] if lines else [])])

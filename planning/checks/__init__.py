"""The rules between settings: what a valid value cannot know by itself. Each says every problem that it finds.

A check is a generator over what was declared. One that asks for a setting that could not be read is left there, since
that setting is a problem already; all the others go on, so that a stack is told everything at once.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from planning.checks import drain, engine, memory, place, platform, scaling, vllm, weights
from planning.given import Given
from planning.refusal import Problem
from planning.schema import NotRead

Found = TypeVar("Found")

_OF_THE_STACK = (
    platform.something_to_serve,
    platform.gateway,
    platform.system_machine,
    platform.system_bounds,
    platform.system_room_for_the_platform,
    platform.names_apart,
    engine.registries,
    place.region,
    place.ranges,
    place.control_plane,
    place.addresses,
    place.reservations,
    scaling.one_fallback,
)
_OF_A_MODEL = (
    platform.reserved_name,
    engine.needs,
    engine.ports,
    engine.variables,
    engine.images,
    engine.token,
    engine.weights,
    engine.batching,
    vllm.limits,
    vllm.quantised,
    vllm.groups,
    vllm.batch,
    scaling.signal,
    scaling.bounds,
    scaling.floor,
    scaling.weights,
    scaling.version_names,
    scaling.canary,
    place.machine,
    memory.variables,
    memory.architecture,
    memory.shards,
    memory.fit,
    memory.context,
    memory.disk,
    drain.longest,
    weights.revision,
)


def problems(given: Given) -> list[Problem]:
    """Judge a stack, or as much of it as could be read."""
    found = [problem for check in _OF_THE_STACK for problem in _judged(check(given))]
    for index in _judged(_models(given)):
        for check in _OF_A_MODEL:
            found += _judged(check(given, given.stack.models[index], f"llmserve:models[{index}]"))
    return found


def _models(given: Given) -> Iterator[int]:
    yield from range(len(given.stack.models))


def _judged(findings: Iterable[Found]) -> Iterator[Found]:
    try:
        yield from findings
    except NotRead:
        return

"""Rules for the GPUs' memory: a model that its shards hold, with room for the requests that its limits allow.

A model whose architecture is unknown is not judged here; planning/advice.py says that it was not.
"""

from collections.abc import Iterator

from catalog.architectures import Architecture, architecture_of
from planning.given import Given, share_of
from planning.memory import Verdict, download_bytes, shard_problem
from planning.refusal import Problem
from planning.schema import EngineName, Model, Version
from planning.serving import disk_for_pods_gib, merged

KEY_VALUE_TYPES = ("fp8_e4m3fn", "fp8_e5m2")
"""Of TGI's variable KV_CACHE_DTYPE."""


def variables(_: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse values of the variables that share out TGI's memory which TGI would not start with."""
    if model.engine is not EngineName.TGI:
        return
    places = {f"{key}.environment": model.environment}
    for index, version in enumerate(model.rollout.versions):
        places[f"{key}.rollout.versions[{index}].environment"] = version.environment
    for place, environment in places.items():
        # TGI itself refuses a wiggle room of 1, models/globals.py.
        for name, most in (("CUDA_MEMORY_FRACTION", 1.0), ("TGI_WIGGLE_ROOM", 0.999)):
            if name in environment and not _is_share(environment[name], most):
                yield Problem(
                    key=f"{place}.{name}",
                    reason="is no share of the GPU's memory",
                    fix=f"a number above 0 and at most {most:g}",
                    value=environment[name],
                )
        if (written := environment.get("KV_CACHE_DTYPE")) is not None and written not in KEY_VALUE_TYPES:
            yield Problem(
                key=f"{place}.KV_CACHE_DTYPE",
                reason="is no type that TGI stores keys and values in",
                fix=f"one of {', '.join(KEY_VALUE_TYPES)}, or leave it out",
                value=written,
            )


def _is_share(text: str, most: float) -> bool:
    try:
        return share_of(text) <= most
    except ValueError:
        return False


def architecture(given: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse the name of an architecture that is nowhere."""
    named = model.architecture
    if named is not None and named not in given.architectures and architecture_of(named) is None:
        yield Problem(
            key=f"{key}.architecture",
            reason="is neither in the catalogue nor the path of a config.json",
            fix="one of the names in docs/memory.md, or a path that ends in .json",
            value=named,
        )


def shards(given: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse shards among which the model's heads cannot be shared out."""
    known = given.architecture(model)
    if known is None or model.engine is EngineName.CUSTOM:
        return
    if (
        reason := shard_problem(known, model.gpu.tensor_parallel, replicated_heads=given.replicates_heads(model))
    ) is not None:
        possible = [
            n
            for n in (1, 2, 4, 8, 16)
            if shard_problem(known, n, replicated_heads=given.replicates_heads(model)) is None
        ]
        yield Problem(
            key=f"{key}.gpu.tensorParallel",
            reason=reason,
            fix=f"one of {', '.join(map(str, possible))}",
            value=str(model.gpu.tensor_parallel),
        )


def fit(given: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse a model that its GPUs do not hold, with the smallest machine that does."""
    known, machine = given.architecture(model), given.machine(model)
    if (
        known is None
        or machine is None
        or shard_problem(known, machine.gpus, replicated_heads=given.replicates_heads(model))
    ):
        return
    told = set()
    for version in model.rollout.versions:
        found = given.fit(model, version)
        if found is None or found.verdict is not Verdict.DOES_NOT_FIT or found in told:
            continue
        told.add(found)
        least = given.least_tokens(model, version)
        short = f"; one request may need {least:,} tokens" if 0 < found.key_value_tokens < least else ""
        yield Problem(
            key=f"{key}.gpu",
            reason=f"{known.name} does not fit: {found.arithmetic()}{short}",
            fix=_larger(given, model, version, known)
            + (f", or limits of at most {found.key_value_tokens:,} tokens" if short else ""),
            value=f"{machine.gpus} x {machine.gpu_type}",
        )


def _larger(given: Given, model: Model, version: Version, known: Architecture) -> str:
    """Name the smallest machine that holds it: in the region if there is one, else where there is one."""
    holding = given.holding(model, version, known)
    here = [machine for machine in holding if machine.region == given.stack.region]
    if not holding:
        return "no A2 machine holds it: quantize, or a smaller model"
    smallest = (here or holding)[0]
    where = "" if here else f", which {', '.join(sorted({m.region for m in holding}))} have"
    return f"{smallest.gpus} x {smallest.gpu_type} ({smallest.machine_type}{where}), or quantize"


def context(given: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse requests longer than the model was made for."""
    known = given.architecture(model)
    if known is None:
        return
    told = set()
    for version in model.rollout.versions:
        wanted = merged(model.batching, version.batching).max_total_tokens
        if wanted is not None and wanted > known.maximum_positions and wanted not in told:
            told.add(wanted)
            yield Problem(
                key=f"{key}.batching.maxTotalTokens",
                reason=f"{known.name} knows {known.maximum_positions:,} positions: what comes after is noise",
                fix=f"at most {known.maximum_positions}",
                value=str(wanted),
            )


def disk(given: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse weights that the node's disk does not hold, which a small quantised model may have."""
    known, machine = given.architecture(model), given.machine(model)
    if known is None or machine is None:
        return
    fits = [given.fit(model, version) for version in model.rollout.versions]
    if any(found is not None and found.verdict is Verdict.DOES_NOT_FIT for found in fits):
        return
    try:
        size = download_bytes(known, model.quantize) / 2**30
    except ValueError:
        return
    room = disk_for_pods_gib(machine)
    if size > room:
        yield Problem(
            key=f"{key}.gpu",
            reason=f"the weights are {size:,.0f} GiB to download, and {machine.machine_type} has {room} GiB of disk",
            fix="a machine with more GPUs, or a repository whose weights are quantised already",
            value=f"{machine.gpus} x {machine.gpu_type}",
        )

"""Rules for the GPUs' memory: a model that its shards hold, with room for the requests that its limits allow.

A model whose architecture is unknown is not judged here; planning/advice.py says that it was not.
"""

from collections.abc import Iterator

from catalog.architectures import Architecture, architecture_of
from catalog.gpu_machines import GpuMachine, sizes_of
from planning.checks.engine import environments, written_at
from planning.given import Given, longest_request, share_of
from planning.memory import Verdict, download_bytes, shard_problem
from planning.refusal import Problem
from planning.schema import EngineName, Model, Version
from planning.serving import disk_for_pods_gib, merged

KEY_VALUE_TYPES = ("fp8_e4m3fn", "fp8_e5m2")
"""Of TGI's variable KV_CACHE_DTYPE."""
FLASHINFER_HEADS = (64, 128, 256)
"""Head dimensions with which TGI takes flashinfer: resolve_attention in launcher/src/main.rs."""


def variables(given: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse values of the variables that share out TGI's memory which TGI would not start with."""
    if model.engine is not EngineName.TGI:
        return
    known = given.architecture(model)
    for place, environment in environments(model, key):
        # TGI itself refuses a wiggle room of 1, models/globals.py.
        for name, most in (("CUDA_MEMORY_FRACTION", 1.0), ("TGI_WIGGLE_ROOM", 0.999)):
            if name in environment and not _is_share(environment[name], most):
                yield Problem(
                    key=f"{place}.{name}",
                    reason="is no share of the GPU's memory",
                    fix=f"a number above 0 and at most {most:g}",
                    value=environment[name],
                )
        if (written := environment.get("KV_CACHE_DTYPE")) is None:
            continue
        if written not in KEY_VALUE_TYPES:
            yield Problem(
                key=f"{place}.KV_CACHE_DTYPE",
                reason="is no type that TGI stores keys and values in",
                fix=f"one of {', '.join(KEY_VALUE_TYPES)}, or leave it out",
                value=written,
            )
        elif known is not None and known.head_dim not in FLASHINFER_HEADS:
            yield Problem(
                key=f"{place}.KV_CACHE_DTYPE",
                reason=f"{known.name} has heads of {known.head_dim}, for which TGI takes another attention than "
                "flashinfer, and that has no cache of 8 bits",
                fix="leave it out",
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
    known, sizes, replicated = given.architecture(model), sizes_of(model.gpu.type), given.replicates_heads(model)
    if known is None or model.gpu.tensor_parallel not in sizes:
        return
    if (reason := shard_problem(known, model.gpu.tensor_parallel, replicated_heads=replicated)) is not None:
        possible = [n for n in sizes if shard_problem(known, n, replicated_heads=replicated) is None]
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
        found, least = given.fit(model, version), given.least_tokens(model, version)
        if found is None or found.verdict is not Verdict.DOES_NOT_FIT or (found, least) in told:
            continue
        told.add((found, least))
        short = f"; its limits ask for {least:,} tokens" if 0 < found.key_value_tokens < least else ""
        yield Problem(
            key=f"{key}.gpu",
            reason=f"{known.name} does not fit: {found.arithmetic()}{short}",
            fix=_larger(given, model, version, known)
            + (f", or limits of at most {found.key_value_tokens:,} tokens" if short else ""),
            value=f"{machine.gpus} x {machine.gpu_type}",
        )


def _larger(given: Given, model: Model, version: Version, known: Architecture) -> str:
    """Name the smallest machine that holds it: in the stack's region and zones if there is one, else where there is."""
    holding = [machine for machine in given.holding(model, version, known) if not _too_large(known, model, machine)]
    zones = set(given.stack.zones)
    here = [machine for machine in holding if machine.region == given.stack.region and zones <= set(machine.zones)]
    other = "quantize" if model.quantize is None else "a smaller model"
    if not holding:
        return f"no A2 machine holds it: lower limits, or {other}"
    smallest = (here or holding)[0]
    where = "" if here else f", which {', '.join(sorted({m.region for m in holding}))} have"
    return f"{smallest.gpus} x {smallest.gpu_type} ({smallest.machine_type}{where}), or {other}"


def _too_large(known: Architecture, model: Model, machine: GpuMachine) -> bool:
    """Whether the weights that are downloaded do not go onto a machine's disk."""
    try:
        return download_bytes(known, model.quantize) > disk_for_pods_gib(machine) * 2**30
    except ValueError:
        return False


def context(given: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse requests longer than the model was made for."""
    known = given.architecture(model)
    if known is None:
        return
    told = set()
    for index, version in enumerate(model.rollout.versions):
        limits = merged(model.batching, version.batching)
        alone = limits.max_total_tokens is None and model.engine is EngineName.TGI
        for field, wanted in (
            ("max_total_tokens", limits.max_total_tokens),
            # vLLM reads no such limit, and is told so elsewhere.
            ("max_input_tokens", longest_request(limits) if alone else None),
        ):
            where = written_at(model, index, field, key)
            if wanted is not None and wanted > known.maximum_positions and where not in told:
                told.add(where)
                most = known.maximum_positions - (field == "max_input_tokens")
                yield Problem(
                    key=where,
                    reason=f"{known.name} knows {known.maximum_positions:,} positions: what comes after is noise",
                    fix=f"at most {most}",
                    value=str(getattr(limits, field)),
                )


def disk(given: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse weights that the node's disk does not hold, which a small quantised model may have."""
    known, machine = given.architecture(model), given.machine(model)
    if known is None or machine is None:
        return
    judged = [(v, found) for v in model.rollout.versions if (found := given.fit(model, v)) is not None]
    if not judged or any(found.verdict is Verdict.DOES_NOT_FIT for _, found in judged):
        return
    if _too_large(known, model, machine):
        size, room = download_bytes(known, model.quantize) / 2**30, disk_for_pods_gib(machine)
        yield Problem(
            key=f"{key}.gpu",
            reason=f"the weights are {size:,.0f} GiB to download, and {machine.machine_type} has {room} GiB of disk",
            fix=_larger(given, model, judged[0][0], known),
            value=f"{machine.gpus} x {machine.gpu_type}",
        )

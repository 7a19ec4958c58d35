"""The plan in words and numbers, for a person who decides whether to pay for it."""

from collections.abc import Iterator, Sequence

from planning.cold_start import cold_start_of
from planning.drain import EXIT_SECONDS, PRE_STOP_SECONDS, SPOT_CRITICAL_SECONDS
from planning.memory import Fit
from planning.nodes import allocatable_cpu, allocatable_memory_gib
from planning.observed import scaled_version
from planning.plan import Plan
from planning.pools import Pool, PoolKind
from planning.quotas import quotas
from planning.schema import Capacity, EngineName
from planning.serving import ModelPlan, Version, boot_disk_gib

REQUEST_LENGTHS = (1024, 4096, 16384)
"""Tokens of a request, question and answer together, for which concurrency is told."""


def explanation(plan: Plan) -> str:
    """Tell pools, models (memory, replicas, room on the node, drain) and the quotas to ask for."""
    sections = [
        ("GPU nodes, from none up", _table(_pools(plan))),
        *((f"Model {model.name}", _table(_once(_model(plan, model)))) for model in plan.models),
        (f"Quotas to ask for in {plan.stack.project}", _table(_quotas(plan))),
    ]
    return "\n\n".join("\n".join([title, *(f"  {line}".rstrip() for line in lines)]) for title, lines in sections)


def _table(rows: Iterator[tuple[str, ...]]) -> list[str]:
    """Align all columns but the last."""
    written = list(rows)
    widths = [max(len(row[column]) for row in written) for column in range(max(map(len, written)) - 1)]
    return ["  ".join([*map(str.ljust, row[:-1], widths), row[-1]]) for row in written]


def _once(rows: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Say what a line is about where that changes, and not again."""
    before = ""
    for about, line in rows:
        yield ("" if about == before else about), line
        before = about


def _pools(plan: Plan) -> Iterator[tuple[str, ...]]:
    tried = {pool: place for found in plan.compute_classes for place, pool in enumerate(found.priorities, 1)}
    for pool in plan.pools:
        machine, order = pool.machine, tried.get(pool.name)
        yield (
            pool.name,
            f"{machine.gpus} x {machine.gpu_type}",
            f"at most {_count(pool.max_nodes, 'node')}",
            _price(pool),
            _order(plan, pool, order),
            f"in {', '.join(pool.zones)}",
        )


def _order(plan: Plan, pool: Pool, order: int | None) -> str:
    if order is not None:
        return f"tried as number {order}"
    if pool.kind is not PoolKind.FLOOR:
        return f"not used while capacity is {plan.stack.capacity}"
    there = [model for model in plan.models if model.machine == pool.machine]
    held = sum(version.replicas.floor for model in there for version in model.versions)
    return f"always {_count(held, 'replica')}" if held else "not used: no model has baseOnDemandReplicas"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _price(pool: Pool) -> str:
    if pool.kind is PoolKind.RESERVED:
        return "paid for already"
    if pool.kind is PoolKind.FLEX_START:
        return "price unknown"
    price = pool.machine.spot_usd_per_hour if pool.spot else pool.machine.on_demand_usd_per_hour
    return "price unknown" if price is None else f"{price:.2f} USD an hour each"


def _model(plan: Plan, model: ModelPlan) -> Iterator[tuple[str, str]]:
    declared, machine, asked = model.declared, model.machine, model.resources
    yield "engine", f"{declared.engine} at {model.host}, {declared.repository or model.versions[0].image.reference}"
    for version in model.versions:
        replicas = version.replicas
        number = f"from {replicas.minimum} to {replicas.maximum} replicas"
        if replicas.minimum == replicas.maximum:
            number = f"always {replicas.maximum} replica{'s' * (replicas.maximum > 1)}"
        if replicas.floor:
            number += f", {replicas.floor} of them on on-demand nodes"
        if replicas.paused:
            number = "asleep"
        yield "version", f"{version.name}: {version.weight} % of the requests, {number}"
    yield "scale on", _signal(model)
    for line in _memory(model):
        yield "memory", line
    yield (
        "room",
        f"asks for {asked.cpus} of {allocatable_cpu(machine.vcpus):.1f} cores, {asked.memory_gib} of "
        f"{allocatable_memory_gib(machine.memory_gib):.0f} GiB of memory, {asked.disk_gib} GiB of "
        + ("local SSD" if machine.local_ssd_gib else f"a boot disk of {boot_disk_gib(machine)}")
        + f" and {asked.gpus} GPU{'s' * (asked.gpus > 1)}: one replica a node",
    )
    for line in _start(model):
        yield "start", line
    for line in _drain(plan, model):
        yield "drain", line
    for line in _moves(model):
        yield "moves", line


def _start(model: ModelPlan) -> Iterator[str]:
    start = cold_start_of(model)
    least, most = start.range
    parts = " + ".join(f"{part.name} {part.likely:.0f}" for part in start.parts)
    likely = sum(part.likely for part in start.parts)
    unknown = "; without the weights" if all(part.name != "weights" for part in start.parts) else ""
    yield f"on a new node mostly {likely:.0f} s: {parts}; from {least:.0f} to {most:.0f}{unknown}"
    there = [part for part in start.parts if not part.on_new_node]
    yield f"on a node that is there: mostly {sum(part.likely for part in there):.0f} s"
    for part in start.parts:
        yield f"{part.name} {part.least:.0f} to {part.most:.0f} s, {part.by}: {part.source}"
    for weights in dict.fromkeys(version.weights for version in model.versions if version.weights is not None):
        yield f"a Job brings them once to gs://{weights.bucket}/{weights.folder}; a new version's pods wait for it"


def _signal(model: ModelPlan) -> str:
    scaling = model.declared.scaling
    asleep = f"; sleeps after {scaling.idle_minutes} idle minutes, a request at the gateway wakes it"
    if scaling.min:
        asleep = "; never sleeps"
        scaled = [scaled_version(model, version) for version in model.versions]
        if beside := [found.sleep_seconds // 60 for found in scaled if found.floor and found.sleeps]:
            asleep += (
                f", but the replicas beside the floor go one by one when it can take all, the last after {max(beside)} "
                "minutes"
            )
    if (length := scaling.queue_per_replica) is not None:
        kept = f"one goes when no more than {length} a replica are under way for the others"
        return f"{length} waiting requests a replica; {kept}{asleep}"
    normal = f", {model.normal_replicas} replicas under the normal {scaling.normal_requests_per_second:g}"
    return f"{scaling.requests_per_second_per_replica:g} requests a second a replica{normal}{asleep}"


def _memory(model: ModelPlan) -> Iterator[str]:
    if model.declared.engine is EngineName.CUSTOM:
        yield "not checked: what is in the image is its own business"
        return
    groups: dict[Fit | None, list[Version]] = {}
    for version in model.versions:
        groups.setdefault(version.fit, []).append(version)
    for fit, versions in groups.items():
        which = "" if len(groups) == 1 else f"{', '.join(version.name for version in versions)}: "
        if fit is None:
            yield f"{which}not checked: the architecture or the size of its weights is unknown"
            continue
        yield f"{which}{fit.verdict}: {fit.arithmetic()}"
        yield f"{which}{_concurrency(fit, versions)}"


def _concurrency(fit: Fit, versions: Sequence[Version]) -> str:
    limits = sorted({v.batching.max_total_tokens for v in versions if v.batching.max_total_tokens is not None})
    lengths = [*limits, *(length for length in REQUEST_LENGTHS if length < (limits or [10**9])[0])]
    told = [f"{fit.concurrent_requests(length):,} of {length:,} tokens" for length in sorted(lengths)]
    return f"requests at once, in one replica: {', '.join(told)}"


def _drain(plan: Plan, model: ModelPlan) -> Iterator[str]:
    drain, longest = model.drain, model.drain.longest_generation_seconds
    arithmetic = f"{PRE_STOP_SECONDS} s preStop + {drain.engine_seconds} s engine + {EXIT_SECONDS} s to exit"
    yield f"told to stop: {arithmetic} = {drain.grace_seconds} s of grace; the gateway {plan.gateway_drain_seconds} s"
    if longest is not None:
        yield (
            f"longest answer: {drain.answer_tokens:,} tokens x {drain.milliseconds_per_token:g} ms = {longest:,.0f} s, "
            + (
                "which fits"
                if drain.engine_seconds >= longest
                else f"cut after {drain.voluntary_answer_tokens:,} tokens"
            )
        )
    elif model.declared.engine is not EngineName.CUSTOM:
        yield "longest answer: unknown, state millisecondsPerToken and batching.maxTotalTokens"
    if plan.stack.capacity is Capacity.ON_DEMAND or drain.spot_window_seconds is None:
        return
    grace = plan.stack.spot_shutdown_grace_seconds
    survives = "" if drain.spot_answer_tokens is None else f": about {drain.spot_answer_tokens:,} tokens survive"
    yield (
        f"spot node called back: {grace} s - {SPOT_CRITICAL_SECONDS} s for system pods - {PRE_STOP_SECONDS} s preStop "
        f"= {drain.spot_generation_seconds} s{survives}"
    )


def _moves(model: ModelPlan) -> Iterator[str]:
    """Say what happens to replicas that run when somebody changes where they should be."""
    if model.moves_with is None:
        yield "a changed capacity moves no replica that runs (migrate none): it counts for those that start after it"
    else:
        drain = model.drain
        longest = drain.longest_generation_seconds
        risk = "; an answer that takes longer than the engine's part of it is cut"
        if longest is not None and drain.engine_seconds >= longest:
            risk = ", long enough for every answer"
        yield (
            "a changed capacity starts its elastic replicas anew, one of each version at a time (migrate rolling): the "
            f"new one serves before the old one is told to stop, which takes up to {drain.grace_seconds} s{risk}; one "
            "may land on a node of the old kind that another has just left"
        )
    if floor := sum(version.replicas.floor for version in model.versions):
        yield (
            f"a lower floor than {floor} stops such replicas at once, and what stands in for them has to start first: "
            "raise scaling.min by as many before, and lower it after"
        )


def _quotas(plan: Plan) -> Iterator[tuple[str, ...]]:
    for quota in quotas(plan):
        yield quota.name, f"{quota.amount:,}", quota.region or "all regions", quota.why

"""Rules for replicas and versions: one signal, bounds that do not cross, weights that are a whole."""

from collections.abc import Iterator

from planning.given import Given
from planning.refusal import Problem
from planning.schema import EngineName, Model, NotRead


def signal(_: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse none or two signals, and one that the engine does not give."""
    scaling = model.scaling
    by_rate = scaling.requests_per_second_per_replica is not None
    by_queue = scaling.queue_per_replica is not None
    normal = scaling.normal_requests_per_second is not None
    if by_rate and by_queue:
        yield Problem(
            key=f"{key}.scaling",
            reason="has requestsPerSecondPerReplica and queuePerReplica, exactly one of which can decide",
            fix="keep one; normalRequestsPerSecond goes with the first",
        )
    elif not by_rate and not by_queue:
        yield Problem(
            key=f"{key}.scaling",
            reason="needs exactly one of requestsPerSecondPerReplica and queuePerReplica"
            + (": normalRequestsPerSecond alone scales nothing" if normal else ""),
            fix="requestsPerSecondPerReplica and normalRequestsPerSecond, or queuePerReplica alone (4 is where Google "
            "advises to begin)",
        )
    elif by_rate != normal:
        yield Problem(
            key=f"{key}.scaling",
            reason="requestsPerSecondPerReplica and normalRequestsPerSecond go together: neither says much alone",
            fix="add normalRequestsPerSecond" if by_rate else "leave normalRequestsPerSecond out",
        )
    if by_queue and model.engine is EngineName.CUSTOM and model.metrics is not None and model.metrics.queue is None:
        yield Problem(
            key=f"{key}.scaling.queuePerReplica",
            reason="queuePerReplica needs metrics.queue: KEDA has nothing else to ask",
            fix="name the gauge in metrics.queue",
            value=str(scaling.queue_per_replica),
        )
    elif (
        by_queue and model.engine is EngineName.CUSTOM and model.metrics is not None and model.metrics.in_flight is None
    ):
        yield Problem(
            key=f"{key}.scaling.queuePerReplica",
            reason="queuePerReplica needs metrics.inFlight beside metrics.queue: nothing waits while there are enough "
            "replicas, so the queue alone would take away replicas that compute",
            fix="name the gauge of requests that run in metrics.inFlight",
            value=str(scaling.queue_per_replica),
        )


def bounds(_: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse a floor above the ceiling."""
    if model.scaling.min > model.scaling.max:
        yield Problem(
            key=f"{key}.scaling.min",
            reason=f"min {model.scaling.min} is above max {model.scaling.max}",
            fix=f"min at most {model.scaling.max}",
            value=str(model.scaling.min),
        )


def floor(_: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse a floor that the replicas which are always there do not hold."""
    scaling = model.scaling
    if scaling.base_on_demand_replicas > scaling.min:
        least = scaling.base_on_demand_replicas
        fits = f"min {least}" if least <= scaling.max else f"min {least} and max {least} or more"
        yield Problem(
            key=f"{key}.scaling.baseOnDemandReplicas",
            reason=f"{least} replicas are always there, and min is {scaling.min}",
            fix=f"{fits}, or baseOnDemandReplicas at most {scaling.min}",
            value=str(least),
        )


def one_fallback(given: Given) -> Iterator[Problem]:
    """Refuse models of one machine type that disagree on a fallback: their class has one order for all of them."""
    said: dict[str, dict[bool, list[str]]] = {}
    for index, model in enumerate(given.stack.models):
        try:
            machine, wanted = given.machine(model), model.scaling.dynamic_on_demand_fallback
        except NotRead:
            continue
        if machine is not None and wanted is not None:
            said.setdefault(machine.machine_type, {}).setdefault(wanted, []).append(f"llmserve:models[{index}]")
    for machine_type, answers in sorted(said.items()):
        if len(answers) > 1:
            yield Problem(
                key=f"{answers[False][0]}.scaling.dynamicOnDemandFallback",
                reason=f"is false and {answers[True][0]}'s is true, and both are on {machine_type}, whose pools have "
                "one order for all models",
                fix="the same for both, or another gpu for one of them",
                value="false",
            )


def weights(_: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse shares that are not the whole traffic."""
    if (total := sum(version.weight for version in model.rollout.versions)) != 100:
        reason = f"the weights of the versions add up to {total}, not to 100"
        yield Problem(key=f"{key}.rollout.versions", reason=reason, fix="change the weights")


def version_names(_: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse two versions of one name."""
    names = [version.name for version in model.rollout.versions]
    for name in sorted({name for name in names if names.count(name) > 1}):
        reason = f"version {name} is named more than once"
        yield Problem(key=f"{key}.rollout.versions", reason=reason, fix="give each its own name")


def canary(_: Given, model: Model, key: str) -> Iterator[Problem]:
    """Refuse a canary that was asked for and has no version."""
    if "mode" in model.rollout.model_fields_set and len(model.rollout.versions) == 1:
        yield Problem(
            key=f"{key}.rollout.mode",
            reason="a canary needs a second version, and there is one",
            fix="name the canary under rollout.versions, or leave mode out",
            value=model.rollout.mode,
        )

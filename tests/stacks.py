"""Stacks that somebody might write: hypothesis strategies for whole configurations, sensible ones and broken ones."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import strategies as st

import settings
from catalog.architectures import architectures
from catalog.gpu_machines import GpuMachine, gpu_machines
from planning.memory import smallest_machines
from planning.plan import Plan
from planning.refusal import Refusal
from preview import Snapshot
from preview.project import Override, load_project, load_stack
from preview.request import Run
from preview.run import preload, run_all
from tests.recording import FIXTURES, ROOT

Config = dict[str, Any]
"""By key without namespace, but `gcp:`; models as they stand in YAML."""

NAMES = st.sampled_from(["a", "b-c", "a-b", "c", "x1", "llama-3-3-70b", "default", "arr-coc-0-1", "m" * 20])
VERSIONS = st.sampled_from(["stable", "canary", "c", "b-c", "v2", "n" * 12])
REGIONS = sorted({machine.region for machine in gpu_machines()})
REPOSITORIES = [repository for known in architectures() for repository in known.repositories]
TOKENS = st.sampled_from([1, 128, 2048, 8192, 32768, 131072, 1_000_000])
COMMITS = st.sampled_from(["a" * 40, "b" * 40])
ENVIRONMENTS = st.dictionaries(
    st.sampled_from(["LOG_LEVEL", "CUDA_MEMORY_FRACTION", "KV_CACHE_DTYPE", "OUR_OWN"]),
    st.sampled_from(["0.5", "1", "fp8_e5m2", "debug"]),
    max_size=2,
)


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Config]:
    """An object with any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


BATCHING = _some(
    maxConcurrentRequests=st.integers(1, 512),
    maxInputTokens=TOKENS,
    maxTotalTokens=TOKENS,
    maxBatchPrefillTokens=TOKENS,
    maxBatchSize=st.integers(1, 64),
)


@st.composite
def _versions(draw: st.DrawFn, engine: str) -> list[Config]:
    names = draw(st.lists(VERSIONS, min_size=1, max_size=3, unique=True))
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=len(names) - 1, max_size=len(names) - 1)))
    weights = [after - before for before, after in zip([0, *cuts], [*cuts, 100], strict=True)]
    fields: dict[str, st.SearchStrategy[Any]] = {
        "image": st.sampled_from(["own:2", "ghcr.io/us/it@sha256:" + "0" * 64])
    }
    if engine != "custom":
        fields["revision"] = COMMITS
    return [{"name": name, "weight": w} | draw(_some(**fields)) for name, w in zip(names, weights, strict=True)]


@st.composite
def _scaling(draw: st.DrawFn) -> Config:
    most = draw(st.integers(1, 12))
    signal: Config = draw(
        st.one_of(
            st.fixed_dictionaries({"queuePerReplica": st.integers(1, 9)}),
            st.fixed_dictionaries(
                {
                    "requestsPerSecondPerReplica": st.floats(0.001, 50),
                    "normalRequestsPerSecond": st.floats(0.001, 500),
                }
            ),
        )
    )
    least = draw(st.integers(0, most))
    bounds = {"min": least, "max": most, "baseOnDemandReplicas": draw(st.integers(0, least) | st.integers(0, most))}
    return bounds | signal | draw(_some(idleMinutes=st.integers(1, 90), dynamicOnDemandFallback=st.booleans()))


@cache
def _homes(region: str) -> list[tuple[str, GpuMachine]]:
    """Repositories, each with every machine of a region that it fits."""
    here = [machine for machine in gpu_machines() if machine.region == region]
    return [
        (repository, machine)
        for known in architectures()
        for machine in smallest_machines(known, here, least_tokens=8192)
        for repository in known.repositories[:1]
    ]


@st.composite
def _models(draw: st.DrawFn, region: str, *, careful: bool) -> list[Config]:
    models = []
    machines = [machine for machine in gpu_machines() if machine.region == region]
    for name in draw(st.lists(NAMES, min_size=1, max_size=2, unique=True)):
        engine = draw(st.sampled_from(["tgi", "tgi", "vllm", "custom"]))
        repository, machine = draw(st.sampled_from(REPOSITORIES)), draw(st.sampled_from(machines))
        if careful and engine != "custom":
            repository, machine = draw(st.sampled_from(_homes(region)))
        model: Config = {
            "name": name,
            "engine": engine,
            "gpu": {
                "type": str(machine.gpu_type),
                "tensorParallel": machine.gpus if careful else draw(st.sampled_from([1, 2, 3, 4, 8, 16])),
            },
            "scaling": draw(_scaling()),
        }
        if draw(st.booleans()):
            model["rollout"] = {"versions": draw(_versions(engine))}
        if engine == "custom":
            own = {"requests": "r_total", "latencySeconds": "l_seconds", "queue": "waiting", "inFlight": "running"}
            model |= {"image": "own:1", "healthPath": "/health", "metrics": own}
            model |= draw(_some(runAsRoot=st.booleans()))
        else:
            model["repository"] = repository
            model |= draw(
                _some(
                    revision=COMMITS,
                    quantize=st.sampled_from(
                        ["fp8"] if careful else ["awq", "eetq", "fp8", "gptq", "bitsandbytes-nf4"]
                    ),
                    batching=_batching(engine) if careful else BATCHING,
                    millisecondsPerToken=st.floats(1, 200),
                )
            )
            if careful:
                model["drainSeconds"] = draw(st.integers(0, 3600))
                model["revision"] = draw(COMMITS)
            elif draw(st.booleans()):
                model["architecture"] = draw(st.sampled_from([known.name for known in architectures()]))
        model |= draw(
            _some(
                port=st.sampled_from([8080, 9001, 3000]),
                environment=ENVIRONMENTS if not careful else st.just({"OUR_OWN": "1"}),
                slo=st.fixed_dictionaries({"availability": st.floats(90, 99.99), "p95Seconds": st.floats(0.1, 60)}),
                startupMinutes=st.integers(1, 120),
            )
        )
        models.append(model)
    return models


def _batching(engine: str) -> st.SearchStrategy[Config]:
    """Limits that do not contradict each other, and that an engine reads."""
    limits = {"maxTotalTokens": st.integers(2048, 8192), "maxBatchPrefillTokens": st.integers(1024, 8192)}
    if engine == "tgi":
        limits |= {"maxInputTokens": st.integers(1, 2047), "maxConcurrentRequests": st.integers(1, 512)}
    return _some(**limits, maxBatchSize=st.integers(1, 1024))


@st.composite
def stacks(draw: st.DrawFn, *, careful: bool = False) -> Config:
    """Stacks of which each value may stand there. Together many are refused; `careful`, few."""
    region = draw(st.sampled_from(REGIONS))
    return {
        "gcp:project": "our-project",
        "gcp:region": region,
        "huggingFaceTokenFrom": "secret-manager" if careful else draw(st.sampled_from(["secret-manager", "none"])),
        "models": draw(_models(region, careful=careful)),
        **draw(
            _some(
                name=NAMES,
                capacity=st.sampled_from(["spot", "on-demand", "spot-with-fallback"]),
                migrate=st.sampled_from(["none", "rolling"]),
                weightsFrom=st.sampled_from(["hub", "bucket"]),
                flexStart=st.booleans(),
                reservations=st.dictionaries(
                    st.sampled_from(sorted({machine.machine_type for machine in gpu_machines()})),
                    st.sampled_from(["ours", "projects/another-project/reservations/theirs"]),
                    max_size=2,
                ),
                usage=_some(
                    hoursADay=st.integers(0, 24) | st.floats(0, 24),
                    daysAMonth=st.integers(0, 30),
                    onDemandShare=st.floats(0, 1),
                    lossesPerDay=st.floats(0, 100),
                ),
                budget=st.fixed_dictionaries(
                    {"billingAccount": st.just("012345-6789AB-CDEF01"), "monthlyUsd": st.integers(1, 10**6)},
                    optional={"thresholds": st.sampled_from([[0.1], [0.5, 1, 2]])},
                ),
                deletionProtection=st.booleans(),
                releaseChannel=st.sampled_from(["RAPID", "REGULAR", "STABLE", "EXTENDED"]),
                gpuDriverVersion=st.sampled_from(["latest", "default"]),
                spotShutdownGraceSeconds=st.sampled_from([30, 120]),
                systemMachineType=st.sampled_from(["e2-standard-4", "n2-standard-8"]),
                domain=st.sampled_from(["llm.internal", "models.example.com"]),
                podRange=st.sampled_from(["10.64.0.0/14", "10.64.0.0/17" if careful else "10.64.0.0/19"]),
            )
        ),
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**12) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def broken_stacks(draw: st.DrawFn) -> Config:
    """Stacks in which something was overwritten, taken away or misspelt."""
    stack: Config = json.loads(json.dumps(draw(stacks())))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(list(_places(stack))))
        place(draw)
    return stack


def _places(value: Any) -> Iterator[Callable[[st.DrawFn], None]]:
    """Yield for every key and item, however deep, what breaks it."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield _breaker(value, key)
        yield from _places(value[key])


def _breaker(holder: Any, key: Any) -> Callable[[st.DrawFn], None]:
    def breaking(draw: st.DrawFn) -> None:
        how = draw(st.sampled_from(["overwrite", "remove", "misspell"]))
        if how == "overwrite" or not isinstance(holder, dict):
            holder[key] = draw(JSON)
            return
        value = holder.pop(key)
        if how == "misspell":
            holder[f"{key}x"] = value

    return breaking


@cache
def _defaults() -> dict[str, str]:
    """What `Pulumi.yaml` gives to every stack, as text, from a stack that sets little."""
    return {
        key: value for key, value in load_stack(load_project(ROOT), "dev", []).values.items() if key != "gcp:region"
    }


def as_text(config: Config) -> dict[str, str]:
    """As Pulumi hands a configuration on."""
    return {
        key if ":" in key else f"llmserve:{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in config.items()
    }


def decided_of(config: Config) -> Plan:
    """Read and plan as `__main__.py` does; raises Refusal."""
    values = _defaults() | as_text(config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PULUMI_CONFIG", json.dumps(values))
        patch.setenv("PULUMI_CONFIG_SECRET_KEYS", "[]")
        patch.setattr("pulumi.get_stack", lambda: "any")
        declared = settings.load()
    return declared.plan()


def is_accepted(config: Config) -> bool:
    """Whether a stack is decided and not refused."""
    try:
        return bool(decided_of(config).models)
    except Refusal:
        return False


def recorded_all(several: Sequence[Config]) -> list[Snapshot]:
    """Run the whole program for each, side by side, with names where values are known only later."""
    project = load_project(ROOT)
    runs = []
    for config in several:
        # dev sets least of all stacks, and what it sets is overridden here.
        overrides = [Override(key=key, value=text) for key, text in as_text(config).items()]
        given = load_stack(project, "dev", overrides)
        runs.append(Run(project=project, config=given, placeholders=True, fixtures=FIXTURES))
    preload(runs)
    programs = []
    for config, program in zip(several, run_all(runs), strict=True):
        assert isinstance(program, Snapshot), (config, program)
        programs.append(program)
    return programs

"""Whatever a stack says: it is refused with keys and fixes, or everything that it makes agrees with itself.

`make test-long` tries ten times as many stacks, and twenty times as many whole programs.
"""

import os
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from planning.memory import Verdict
from planning.nodes import LOCAL_SSD_GIB, allocatable_cpu, allocatable_disk_gib, allocatable_memory_gib
from planning.plan import Plan
from planning.pools import COMPUTE_CLASS, FLOOR, PoolKind, pools_without_driver
from planning.quotas import quotas
from planning.refusal import Refusal
from planning.schema import Capacity
from planning.serving import boot_disk_gib
from preview import Snapshot, manifests
from tests.stacks import Config, as_text, broken_stacks, decided_of, is_accepted, recorded_all, stacks
from tests.test_manifests import is_built_in

LONG = os.environ.get("LLMSERVE_TEST_LONG") == "1"
MANY = settings(
    max_examples=20_000 if LONG else 2_000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
FEWER = settings(MANY, max_examples=MANY.max_examples // 2)
BATCH = 10
"""Stacks that are run side by side, on as many cores as there are."""
WHOLE = settings(
    max_examples=(2_000 if LONG else 100) // BATCH,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
ORDER = [PoolKind.RESERVED, PoolKind.SPOT, PoolKind.ON_DEMAND, PoolKind.FLEX_START]
POOL = "gcp:container/nodePool:NodePool"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"


def _hold(decided: Plan) -> None:
    """What has to be true of every plan."""
    pools = {pool.name: pool for pool in decided.pools}
    assert not pools_without_driver(decided.pools)
    for compute_class in decided.compute_classes:
        order = [pools[name].kind for name in compute_class.priorities]
        assert order
        assert len(order) == len(set(order))
        assert PoolKind.FLOOR not in order
        # What is paid for comes first, what may be long in coming last, and spot before on-demand or not at all.
        assert order == sorted(order, key=ORDER.index)
        assert (PoolKind.SPOT in order) is (decided.stack.capacity is not Capacity.ON_DEMAND)
    for pool in pools.values():
        there = [model for model in decided.models if model.machine == pool.machine]
        assert pool.max_nodes >= 1
        if pool.kind is PoolKind.FLOOR:
            assert pool.max_nodes >= sum(version.replicas.floor for model in there for version in model.versions)
    for model in decided.models:
        machine, asked = model.machine, model.resources
        assert machine.region == decided.stack.region
        assert machine.gpus == asked.gpus == model.declared.gpu.tensor_parallel
        assert asked.cpus <= allocatable_cpu(machine.vcpus)
        assert asked.memory_gib <= allocatable_memory_gib(machine.memory_gib)
        disk = allocatable_disk_gib(boot_disk_gib(machine), machine.local_ssd_gib // LOCAL_SSD_GIB)
        assert asked.disk_gib <= disk
        assert sum(version.weight for version in model.versions) == 100
        assert model.drain.grace_seconds >= model.drain.engine_seconds
        assert decided.gateway_drain_seconds >= model.drain.grace_seconds
        for version in model.versions:
            replicas = version.replicas
            assert 0 <= replicas.floor <= replicas.minimum <= replicas.maximum
            assert 0 <= replicas.elastic_minimum <= replicas.elastic_maximum
            assert replicas.elastic_paused or replicas.floor + replicas.elastic_maximum == replicas.maximum
            assert version.fit is None or version.fit.verdict is not Verdict.DOES_NOT_FIT
    assert all(quota.amount >= quota.amount_without_rollout >= 0 for quota in quotas(decided))


@MANY
@given(config=st.one_of(stacks(), broken_stacks()))
def test_a_stack_is_decided_or_refused_with_keys_and_fixes(config: Config) -> None:
    try:
        decided = decided_of(config)
    except Refusal as refusal:
        problems = refusal.problems
    else:
        _hold(decided)
        return
    assert problems
    # Of a key one thing is said, but for what several models say of the stack.
    keys = [problem.key for problem in problems if "models[" in problem.key]
    assert sorted(keys) == sorted(set(keys))
    for problem in problems:
        assert problem.key.startswith(("llmserve:", "gcp:")) or problem.key in as_text(config), problem
        assert problem.reason
        assert problem.fix


@FEWER
@given(config=stacks(), data=st.data())
def test_a_mistake_elsewhere_hides_no_problem(config: Config, data: st.DataObject) -> None:
    """All at once: what was refused before is refused beside a wrong value that has nothing to do with it."""
    try:
        decided_of(config)
        assume(condition=False)
    except Refusal as refusal:
        before = set(refusal.problems)
    wrong = data.draw(st.sampled_from([{"releaseChannel": "NONE"}, {"systemMinNodes": "many"}, {"nonsense": "1"}]))
    with pytest.raises(Refusal) as told:
        decided_of(config | wrong)
    [(key, _)] = wrong.items()
    assert {problem.key for problem in before - set(told.value.problems)} <= {f"llmserve:{key}"}


def _tolerates(pod: dict[str, Any], key: str, value: str | None) -> bool:
    return any(
        found["key"] == key and (found["operator"] == "Exists" or found.get("value") == value)
        for found in pod["tolerations"]
    )


def _agree(program: Snapshot) -> None:
    """What has to be true of every graph."""
    gpu_pools = [pool for pool in program.of_type(POOL) if pool.inputs["nodeConfig"].get("guestAccelerators")]
    by_name = {pool.inputs["name"]: pool for pool in gpu_pools}
    classes = {
        found.inputs["metadata"]["name"]: [
            name for rule in found.inputs["spec"]["priorities"] for name in rule["nodepools"]
        ]
        for found in program.of_type("kubernetes:cloud.google.com/v1:ComputeClass")
    }
    for deployment in program.of_type(DEPLOYMENT):
        template = deployment.inputs["spec"]["template"]
        pod = template["spec"]
        [container] = pod["containers"]
        asked = container["resources"]["requests"]
        [(label, machine_type)] = pod["nodeSelector"].items()
        floor = template["metadata"]["labels"]["llmserve/placement"] == "floor"
        assert label == (FLOOR if floor else COMPUTE_CLASS)
        floors = [pool for pool in gpu_pools if pool.name == f"{machine_type}-floor"]
        homes = floors if floor else [by_name[name] for name in classes[machine_type]]
        assert homes
        assert not floor or not any(pool.inputs["nodeConfig"]["spot"] for pool in homes)
        for other in gpu_pools:
            # The label and the taint are one: whom a pool's label does not call its taint keeps away.
            config = other.inputs["nodeConfig"]
            tolerated = all(_tolerates(pod, taint["key"], taint["value"]) for taint in config["taints"])
            assert tolerated is (config["labels"].get(label) == machine_type), (deployment.name, other.name)
        for pool in homes:
            config = pool.inputs["nodeConfig"]
            assert config["labels"][label] == machine_type == config["machineType"]
            assert config["guestAccelerators"][0]["count"] == int(asked["nvidia.com/gpu"])
            taints = [(taint["key"], taint["value"]) for taint in config["taints"]]
            for key, value in [*taints, ("nvidia.com/gpu", "present")]:
                assert _tolerates(pod, key, value), (deployment.name, key)
        selector = deployment.inputs["spec"]["selector"]["matchLabels"]
        assert selector.items() <= template["metadata"]["labels"].items()
        stops = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        engine = {v["name"]: v.get("value") for v in container["env"]}.get("GRACEFUL_TERMINATION_TIMEOUT")
        assert pod["terminationGracePeriodSeconds"] > stops + int(engine or 0)
    targets = [
        found.inputs["spec"]["scaleTargetRef"]["name"]
        for found in program.of_type("kubernetes:keda.sh/v1alpha1:ScaledObject")
    ]
    placed = {
        d.inputs["metadata"]["name"]: d.inputs["spec"]["template"]["metadata"]["labels"]["llmserve/placement"]
        for d in program.of_type(DEPLOYMENT)
    }
    assert sorted(targets) == sorted(name for name, placement in placed.items() if placement == "elastic")
    for service in program.of_type("kubernetes:core/v1:Service"):
        chosen = service.inputs["spec"]["selector"].items()
        assert any(
            chosen <= d.inputs["spec"]["template"]["metadata"]["labels"].items() for d in program.of_type(DEPLOYMENT)
        )


_VALID: set[str] = set()
"""Objects that were found valid: most are the same in every stack."""


def _are_valid(program: Snapshot) -> None:
    for name, text in manifests.files(program).items():
        if name.startswith("values-") or text in _VALID:
            continue
        _VALID.add(text)
        manifest = yaml.safe_load(text)
        if not is_built_in(manifest) or manifest["kind"] == "SecretProviderClass":
            continue
        try:
            kubernetes_validate.validate(manifest, "1.36", strict=True)
        except kubernetes_validate.ValidationError as error:
            _VALID.discard(text)
            pytest.fail(f"{name}: {error.message} at {list(error.path)}")


@WHOLE
@given(several=st.lists(stacks(careful=True).filter(is_accepted), min_size=BATCH, max_size=BATCH))
def test_what_is_accepted_makes_a_graph_that_agrees_with_itself(several: list[Config]) -> None:
    for config, program in zip(several, recorded_all(several), strict=True):
        _agree(program)
        _are_valid(program)
        assert {model["name"] for model in config["models"]} == set(program.outputs["models"])

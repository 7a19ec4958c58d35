"""The quotas that a plan takes, against those that its project has.

The commands that ask for more: https://docs.cloud.google.com/sdk/gcloud/reference/beta/quotas/preferences/create
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from catalog.gpu_machines import gpu_machines
from planning import quotas
from planning.quotas import Quota
from scripts.asking import NotAsked, Outcome, Site, last, not_asked, ok, problem
from scripts.terminal import shown

SPOT_NAMES = {quotas.A2_CPUS: "PREEMPTIBLE_CPUS", quotas.LOCAL_SSD: "PREEMPTIBLE_LOCAL_SSD_GB"}
"""What spot machines count to instead, in a region for which the project was given such a quota."""

Json = Mapping[str, Any]
Limits = Mapping[str, tuple[int, int]]
"""Limit and usage by name."""


def check(site: Site) -> Iterator[Outcome]:
    """Compare what the plan takes at its largest with the limits, in the region and in all regions together.

    What runs of this stack already is part of what it takes, so it is taken out of what is in use.
    """
    limits: dict[str | None, Limits] = {}
    asked = {site.region: ("regions", "describe", site.region), None: ("project-info", "describe")}
    for region, words in asked.items():
        try:
            described = site.ask("compute", *words)
        except NotAsked as reason:
            yield not_asked(f"those {f'in {region}' if region else 'of all regions together'}: {reason}")
        else:
            limits[region] = {
                found["metric"]: (int(found["limit"]), int(found["usage"])) for found in described["quotas"]
            }
    if not limits:
        return
    given = {name for name in SPOT_NAMES.values() if limits.get(site.region, {}).get(name, (0, 0))[0] > 0}
    own: Counter[str] = Counter()
    labels = {"name": site.plan.stack.name, "location": site.region}
    mine = " AND ".join(f"labels.goog-k8s-cluster-{label}={value}" for label, value in labels.items())
    try:
        own = taken_by(site.ask("compute", "instances", "list", f"--filter={mine}"), given)
    except NotAsked as reason:
        yield not_asked(f"how much of what is in use is this stack's own, so all of it counts as others': {reason}")
    for quota in quotas.quotas(site.plan):
        if quota.region in limits:
            for name in _counted_to(quota.name, given, quotas.kinds(site.plan)):
                yield _compared(site, quota, name, limits[quota.region], own[name])


def _counted_to(name: str, given: set[str], kinds: frozenset[bool]) -> list[str]:
    spot = SPOT_NAMES.get(name)
    if spot is None or spot not in given or True not in kinds:
        return [name]
    return [spot, name] if False in kinds else [spot]


def taken_by(machines: Iterable[Json], given: set[str]) -> Counter[str]:
    """Add up what machines take of each quota. `given` are those of SPOT_NAMES that the project has."""
    known = {machine.machine_type: machine for machine in gpu_machines()}
    taken: Counter[str] = Counter()
    for found in machines:
        machine_type = last(found["machineType"])
        disks = [int(disk["diskSizeGb"]) for disk in found.get("disks", ()) if disk["type"] == "PERSISTENT"]
        taken.update({quotas.MACHINES: 1, quotas.DISKS: sum(disks)})
        gpu = known.get(machine_type)
        if gpu is None:
            vcpus = quotas.vcpus_of(machine_type)
            taken.update({quotas.cpu_quota(machine_type): vcpus, quotas.ALL_CPUS: vcpus})
            continue
        spot = found.get("scheduling", {}).get("provisioningModel") == "SPOT"
        taken.update(
            {quotas.gpu_quota(gpu, spot=spot): gpu.gpus, quotas.ALL_GPUS: gpu.gpus, quotas.ALL_CPUS: gpu.vcpus}
        )
        for name, amount in ((quotas.A2_CPUS, gpu.vcpus), (quotas.LOCAL_SSD, gpu.local_ssd_gib)):
            taken[SPOT_NAMES[name] if spot and SPOT_NAMES[name] in given else name] += amount
    return taken


def _compared(site: Site, quota: Quota, name: str, limits: Limits, own: int) -> Outcome:
    console = f"https://console.cloud.google.com/iam-admin/quotas?project={site.project}"
    if name not in limits:
        return not_asked(f"{name}: Google does not list it here, see {console}; wanted: {quota.why}")
    limit, usage = limits[name]
    others = max(0, usage - own)
    missing = quota.amount + others - limit
    used = f"limit {limit:,}, {others:,} in use" + (" by others" if others < usage else "")
    if missing <= 0:
        return ok(f"{name}: {quota.amount:,} {quota.unit} wanted, {used}")
    if quota.certain + others <= limit:
        return not_asked(
            f"{name}: {missing:,} {quota.unit} too few if Google counts all of them, which is not known: {used}; "
            f"wanted: {quota.why}; ask for it together with the GPUs"
        )
    enough = ", enough without rollouts" if quota.amount_without_rollout + others <= limit else ""
    page = f"ask for {limit + missing:,} at {console}"
    # How a quota by machine family is asked for on the command line was not verified.
    fix = page if "VM_FAMILY" in name else f"{_request(site, name, quota.region, limit + missing)}   (or {page})"
    return problem(f"{name}: {missing:,} {quota.unit} too few{enough}: {used}; wanted: {quota.why}", fix)


def _request(site: Site, name: str, region: str | None, limit: int) -> str:
    place = [] if region is None else [f"--dimensions=region={region}"]
    return shown(
        [
            *("gcloud", "beta", "quotas", "preferences", "create", "--service=compute.googleapis.com"),
            f"--quota-id={name.replace('_', '-')}-per-project{'' if region is None else '-region'}",
            *place,
            f"--preferred-value={limit}",
            "--email=YOUR-ADDRESS",
            f"--project={site.project}",
        ]
    )

"""`make doctor STACK=prod`: what no preview knows, asked of Google Cloud, registries and the model hub before `up`.

It changes nothing, and asks as gcloud's account. Commands: https://docs.cloud.google.com/sdk/gcloud/reference
"""

import argparse
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

from planning.advice import EXAMPLE_PROJECT
from preview.files import read_mapping
from scripts import hub, live_quotas, parts, pulumi_command
from scripts.asking import NotAsked, Outcome, Site, Verdict, gcloud, last, not_asked, ok, output_of, problem
from scripts.bootstrap import GCLOUD_MISSING
from scripts.bootstrap import services as services_of
from scripts.stack_plan import read_plan
from scripts.terminal import run, say, shown
from scripts.up import CREDENTIALS_MISSING, PLUGIN_MISSING

LONG_GRACE_SINCE = "1.35.0-gke.1171000"
"""GKE's first version with `spotShutdownGraceSeconds: 120`."""


# This machine


def tools(site: Site) -> Iterator[Outcome]:
    """Tell the versions of the programs that `make up` and the others run."""
    if shutil.which("gcloud") is None:
        reason, _, fix = GCLOUD_MISSING.partition(": ")
        yield problem(reason, fix)
    else:
        yield ok(f"gcloud {json.loads(gcloud('version', '--format=json'))['Google Cloud SDK']}")
    if shutil.which("gke-gcloud-auth-plugin") is None:
        reason, _, fix = PLUGIN_MISSING.partition(":\n")
        yield problem(reason, fix.strip())
    else:
        yield ok(f"gke-gcloud-auth-plugin {output_of('gke-gcloud-auth-plugin', '--version').strip()}")
    if shutil.which("kubectl") is None:
        yield ok("kubectl is not on PATH: `make up` needs none, `make smoke` does (gcloud components install kubectl)")
    else:
        yield ok("kubectl is there")
    yield _pulumi(site)


def _pulumi(site: Site) -> Outcome:
    found = pulumi_command.find()
    if found is None:
        return ok(f"pulumi is not on PATH: `make up` installs {metadata.version('pulumi')} into ~/.pulumi")
    version = output_of(found, "version").strip()
    if allows(site.pulumi_versions, version):
        return ok(f"pulumi {version}")
    return problem(
        f"pulumi is {version}, and Pulumi.yaml wants {site.pulumi_versions}",
        "https://www.pulumi.com/docs/install/, or take it off PATH: `make up` installs one that fits",
    )


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def allows(wanted: str, version: str) -> bool:
    """Say whether a range such as `>=3.1.0 <4.0.0` holds a version; `||` separates alternatives, as in blang/semver."""
    numbers = _numbers(version)[:3]
    operators: Mapping[str, Callable[[list[int]], bool]] = {
        ">=": lambda other: numbers >= other,
        "<=": lambda other: numbers <= other,
        "!=": lambda other: numbers != other,
        ">": lambda other: numbers > other,
        "<": lambda other: numbers < other,
        "=": lambda other: numbers == other,
        "": lambda other: numbers == other,
    }
    parts = [re.findall(r"(>=|<=|!=|>|<|=|)=?\s*v?(\d[\w.+-]*)", part) for part in wanted.split("||")]
    return any(all(operators[operator](_numbers(other)[:3]) for operator, other in part) for part in parts)


def credentials(_site: Site) -> Iterator[Outcome]:
    """Find both logins: gcloud's own, by which this asks, and the one by which pulumi and the plugin work."""
    if shutil.which("gcloud") is None:
        yield not_asked("whom gcloud is logged in as: gcloud is not on PATH")
    elif accounts := json.loads(gcloud("auth", "list", "--filter=status:ACTIVE", "--format=json")):
        yield ok(f"gcloud, and with it every question here, as {accounts[0]['account']}")
    else:
        yield problem("nobody is logged in to gcloud", "gcloud auth login")
    reason, _, fix = CREDENTIALS_MISSING.partition(":\n")
    if file := os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        text = f"application default credentials: GOOGLE_APPLICATION_CREDENTIALS names {file}"
        yield ok(text) if Path(file).is_file() else problem(f"{text}, which is no file", "correct or unset it")
        return
    try:
        gcloud("auth", "application-default", "print-access-token")
    except NotAsked as complaint:
        yield problem(f"{reason} ({complaint})", fix.strip())
    else:
        yield ok("application default credentials are there: pulumi works with them, whosever they are")


# The project


def project(site: Site) -> Iterator[Outcome]:
    """Find the project, and whether anybody pays for it."""
    if site.project == EXAMPLE_PROJECT:
        fix = f"pulumi config set --stack {site.name} gcp:project YOUR-PROJECT"
        yield problem(f"gcp:project is {EXAMPLE_PROJECT}, which is nobody's: nothing can be made there", fix)
        return
    try:
        state = site.ask("projects", "describe", site.project)["lifecycleState"]
    except NotAsked as complaint:
        if not re.search("does not have permission|NOT_FOUND|PERMISSION_DENIED", str(complaint)):
            raise
        fix = f"check the name: gcloud projects list; or ask its owner for roles/viewer on {site.project}"
        yield problem(f"{site.project} is not there, or you may not see it: {complaint}", fix)
        return
    if state == "ACTIVE":
        yield ok(site.project)
    else:
        yield problem(f"{site.project} is {state}", f"gcloud projects undelete {site.project}")
    if site.ask("billing", "projects", "describe", site.project).get("billingEnabled"):
        yield ok("billing is on")
    else:
        fix = f"gcloud billing projects link {site.project} --billing-account=ACCOUNT"
        yield problem("billing is off: Google makes nothing", f"{fix}   (gcloud billing accounts list)")


def services(site: Site) -> Iterator[Outcome]:
    """Find the APIs that are off."""
    on = {service["config"]["name"] for service in site.ask("services", "list", "--enabled")}
    wanted = services_of(budget=site.plan.stack.budget is not None)
    off = [name for name in (f"{service}.googleapis.com" for service in wanted) if name not in on]
    if off:
        fix = shown(["gcloud", "services", "enable", *off, f"--project={site.project}"])
        yield problem(f"off: {', '.join(off)}", fix)
    else:
        yield ok(f"all {len(wanted)} are on")


# What there is in the region


def zones(site: Site) -> Iterator[Outcome]:
    """Find zones of the plan that lack a machine type or its card."""
    machines = {pool.machine.machine_type: pool for pool in site.plan.pools}
    if not machines:
        yield ok("nothing to check: no model, no GPU")
        return
    every = sorted({zone for pool in machines.values() for zone in pool.zones})
    cards = sorted({str(pool.machine.gpu_type) for pool in machines.values()})
    listed = [
        *site.ask(
            *("compute", "machine-types", "list", f"--zones={','.join(every)}"),
            f"--filter=name:({' '.join(sorted(machines))})",
        ),
        *site.ask(
            *("compute", "accelerator-types", "list"),
            f"--filter=name:({' '.join(cards)}) AND zone:({' '.join(every)})",
        ),
    ]
    there = {(found["name"], last(found["zone"])) for found in listed}
    for machine_type, pool in sorted(machines.items()):
        needed = (machine_type, str(pool.machine.gpu_type))
        have = [zone for zone in pool.zones if all((name, zone) in there for name in needed)]
        lack = [zone for zone in pool.zones if zone not in have]
        if not lack:
            yield ok(f"{machine_type} with {needed[1]}: {', '.join(have)}")
            continue
        fix = f"another gcp:region: gcloud compute accelerator-types list --filter=name:{needed[1]}"
        if have:
            fix = f"write llmserve:zones: [{', '.join(have)}] into Pulumi.{site.name}.yaml"
        yield problem(f"{machine_type} with {needed[1]} is not in {', '.join(lack)}", fix)


def version(site: Site) -> Iterator[Outcome]:
    """Compare GKE's version with what the long grace of spot nodes needs."""
    stack = site.plan.stack
    if stack.spot_shutdown_grace_seconds == 30:
        yield ok("any: spotShutdownGraceSeconds is 30")
        return
    clusters = site.clusters()
    if clusters:
        found, whose = clusters[0]["currentMasterVersion"], f"the cluster {stack.name} has"
    else:
        channels = site.ask("container", "get-server-config", f"--region={site.region}")["channels"]
        found = {channel["channel"]: channel["defaultVersion"] for channel in channels}[stack.release_channel]
        whose = f"a new cluster in the channel {stack.release_channel} gets"
    if _numbers(found) >= _numbers(LONG_GRACE_SINCE):
        yield ok(f"{whose} {found}")
    else:
        yield problem(
            f"{whose} {found}, and spotShutdownGraceSeconds: {stack.spot_shutdown_grace_seconds} needs "
            f"{LONG_GRACE_SINCE} or newer",
            f"pulumi config set --stack {site.name} spotShutdownGraceSeconds 30   (or a newer releaseChannel)",
        )


def names(site: Site) -> Iterator[Outcome]:
    """Find another zone for the stack's domain in the stack's own network, where Google takes only one."""
    stack = site.plan.stack
    same = [zone for zone in site.ask("dns", "managed-zones", "list") if zone["dnsName"] == f"{stack.domain}."]
    ours = [zone for zone in same if zone.get("labels", {}).get("platform") == stack.name]
    networks = {last(cluster["network"]) for cluster in site.clusters()} | set().union(*map(_networks, ours))
    taken = [zone["name"] for zone in same if zone not in ours and _networks(zone) & networks]
    if taken:
        fix = f"gcloud dns managed-zones delete {taken[0]} --project={site.project}, or another llmserve:domain"
        yield problem(f"{taken[0]} has {stack.domain} in this stack's network already", fix)
    else:
        yield ok(f"{stack.domain}: " + ("this stack's own zone has it" if ours else "free in this stack's network"))


def _networks(zone: Mapping[str, Any]) -> set[str]:
    found = zone.get("privateVisibilityConfig", {}).get("networks", ())
    return {last(network["networkUrl"]) for network in found}


def certificate(site: Site) -> Iterator[Outcome]:
    """Say that there is none: no gateway but an internal one is let through by the plan."""
    yield ok(f"nothing to check: the gateway is {site.plan.stack.gateway_exposure} and speaks HTTP in the VPC only")


# All of them

CHECKS: Mapping[str, Callable[[Site], Iterator[Outcome]]] = {
    "tools": tools,
    "login": credentials,
    "project": project,
    "APIs": services,
    "quotas": live_quotas.check,
    "zones": zones,
    "GKE": version,
    "DNS": names,
    "certificate": certificate,
    "charts": parts.charts,
    "images": parts.images,
    "token": hub.token_secret,
    "models": hub.models,
}


def judged(check: Callable[[Site], Iterator[Outcome]], site: Site) -> list[Outcome]:
    """Run one check to its end, or to where it could not ask."""
    found: list[Outcome] = []
    try:
        # One by one, to keep what was found before the end.
        for outcome in check(site):
            found.append(outcome)
    except NotAsked as reason:
        found.append(not_asked(str(reason)))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        # Nothing of the text: it may quote what was read.
        found.append(not_asked(f"the answer has another form than expected ({type(error).__name__})"))
    return found


def read(name: str) -> Site:
    """Read and plan a stack of the project in the working directory, as `__main__.py` does.

    Raises PreviewError for a file that the engine would not take, Refusal for a stack that is refused.
    """
    found = read_plan(name)
    return Site(
        name=name,
        plan=found.plan,
        pulumi_versions=str(read_mapping(found.project.root / found.project.file).get("requiredPulumiVersion", "")),
    )


def main(argv: Sequence[str]) -> int:
    """Ask everything at once, tell it in order; exit 1 with a problem, else 0, also where it could not ask."""
    parser = argparse.ArgumentParser(prog="scripts.doctor", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stack", help="the stack to ask about: Pulumi.STACK.yaml")
    site = read(parser.parse_args(argv).stack)
    counts = dict.fromkeys(Verdict, 0)
    with ThreadPoolExecutor(len(CHECKS)) as pool:
        asked = {title: pool.submit(judged, check, site) for title, check in CHECKS.items()}
        for title, outcomes in asked.items():
            _progress(f"asking: {title} ...")
            found = outcomes.result()
            _progress("")
            for outcome in found:
                counts[outcome.verdict] += 1
                say(f"{outcome.verdict:<13}  {title}: {outcome.text}")
                if outcome.fix is not None:
                    say(f"{'':<13}  fix: {outcome.fix}")
    problems = counts[Verdict.PROBLEM]
    say()
    told = f"{counts[Verdict.OK]} ok, {problems} problem{'s' * (problems != 1)}, {counts[Verdict.NOT_ASKED]} not asked"
    say(f"{site.name}: {told}")
    return 1 if problems else 0


def _progress(text: str) -> None:
    """Show on a terminal what is waited for, in a line that the next one replaces."""
    if sys.stdout.isatty():
        print(f"\r\x1b[K{text}", end="", flush=True)


if __name__ == "__main__":
    run(main)

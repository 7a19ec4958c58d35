"""`make unstick STACK=dev`: after an interrupted `make up`, free what is pending in Helm and in the stack's state."""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts import pulumi_command, stack_file
from scripts.smoke import cluster_environment
from scripts.stack_file import StackFile
from scripts.terminal import OperationError, answer_of, run, say, shown

HELM_MISSING = (
    "helm is not on PATH, and only Helm knows how to end what it began:\n"
    "  https://helm.sh/docs/intro/install/   (version 3.8 or newer)"
)
TIMEOUT = "10m"
"""How long Helm may take to end one release."""

# One line a revision. The releases themselves, half a megabyte each, stay where they are.
_REVISIONS = (
    "jsonpath={range .items[*]}{.metadata.namespace}{' '}{.metadata.labels.name}{' '}"
    "{.metadata.labels.version}{' '}{.metadata.labels.status}{'\\n'}{end}"
)
_STUCK = frozenset({"pending-install", "pending-upgrade", "pending-rollback", "uninstalling"})
# What Helm calls a revision that was once installed whole.
_WHOLE = ("deployed", "superseded")

# How the Google provider identifies a resource: "Import" in the documentation of each,
# https://registry.terraform.io/providers/hashicorp/google/latest/docs
_GOOGLE_IDS = {
    "gcp:artifactregistry/repository:Repository": "projects/{project}/locations/{location}/repositories/{repositoryId}",
    "gcp:artifactregistry/repositoryIamMember:RepositoryIamMember": (
        "projects/{project}/locations/{location}/repositories/{repository} {role} {member}"
    ),
    "gcp:compute/address:Address": "projects/{project}/regions/{region}/addresses/{name}",
    "gcp:compute/firewall:Firewall": "projects/{project}/global/firewalls/{name}",
    "gcp:compute/network:Network": "projects/{project}/global/networks/{name}",
    "gcp:compute/router:Router": "projects/{project}/regions/{region}/routers/{name}",
    "gcp:compute/routerNat:RouterNat": "projects/{project}/regions/{region}/routers/{router}/{name}",
    "gcp:compute/subnetwork:Subnetwork": "projects/{project}/regions/{region}/subnetworks/{name}",
    "gcp:container/cluster:Cluster": "projects/{project}/locations/{location}/clusters/{name}",
    "gcp:container/nodePool:NodePool": "{project}/{location}/{cluster}/{name}",
    "gcp:dns/managedZone:ManagedZone": "projects/{project}/managedZones/{name}",
    "gcp:dns/recordSet:RecordSet": "projects/{project}/managedZones/{managedZone}/rrsets/{name}/{type}",
    "gcp:projects/iAMMember:IAMMember": "{project} {role} {member}",
    "gcp:secretmanager/secretIamMember:SecretIamMember": "projects/{project}/secrets/{secretId} {role} {member}",
    "gcp:serviceaccount/account:Account": (
        "projects/{project}/serviceAccounts/{accountId}@{project}.iam.gserviceaccount.com"
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A Helm release in a cluster: (revision, status) of every revision that Helm keeps, oldest first."""

    namespace: str
    name: str
    history: tuple[tuple[int, str], ...]

    @property
    def place(self) -> str:
        """Its namespace and name."""
        return f"{self.namespace}/{self.name}"

    @property
    def status(self) -> str:
        """What Helm says of its newest revision."""
        return self.history[-1][1]

    def repair(self) -> list[str] | None:
        """Return the Helm command that ends what is pending, as Helm documents it; None where nothing is.

        Back to the newest revision that was whole. Without one there is nothing to go back to, so the release goes,
        and the next `make up` installs it anew. https://helm.sh/docs/helm/helm_rollback/
        """
        if self.status not in _STUCK:
            return None
        place = ["--namespace", self.namespace, "--wait", "--timeout", TIMEOUT]
        newest_first = sorted(self.history, reverse=True)
        revision = next((number for wanted in _WHOLE for number, status in newest_first if status == wanted), 0)
        if self.status == "uninstalling" or not revision:
            return ["helm", "uninstall", self.name, *place]
        return ["helm", "rollback", self.name, str(revision), *place]


def releases(environment: Mapping[str, str]) -> list[Release]:
    """Return every Helm release of the cluster that kubectl reaches in this environment."""
    command = ["kubectl", "get", "secrets", "--all-namespaces", "--selector=owner=helm", "--output", _REVISIONS]
    listed = answer_of(command, environment)
    if listed.returncode != 0:
        raise OperationError(f"kubectl cannot read Helm's releases:\n{listed.stderr.strip()}")
    histories: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for line in listed.stdout.splitlines():
        namespace, name, revision, status = line.split()
        histories.setdefault((namespace, name), []).append((int(revision), status))
    return [
        Release(namespace=namespace, name=name, history=tuple(sorted(history)))
        for (namespace, name), history in sorted(histories.items())
    ]


def repair_releases(stuck: Iterable[Release], environment: Mapping[str, str]) -> bool:
    """End what is pending, one release after the other, and say how each went; whether all went well."""
    well = True
    for release in stuck:
        command = release.repair() or []
        say(f"  {shown(command)}")
        done = answer_of(command, environment)
        if done.returncode != 0:
            say(f"    failed: {(done.stderr or done.stdout).strip()}")
            well = False
            continue
        left = next((now.status for now in releases(environment) if now.place == release.place), "gone")
        say(f"    {release.place}: was {release.status}, is {left}")
        well = well and left not in _STUCK
    return well


def pending_creates(deployment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the resources whose creation was cut off: the engine does not know whether they were made.

    Without components and providers: they exist nowhere but in the state.
    """
    return [
        operation["resource"]
        for operation in deployment.get("pending_operations") or []
        if operation["type"] == "creating" and operation["resource"].get("custom")
        if not operation["resource"]["type"].startswith("pulumi:providers:")
    ]


def identify(resource: Mapping[str, Any], defaults: Mapping[str, str]) -> str:
    """Return the id that a resource has if it was made; empty where that cannot be told.

    `defaults` are the Google project and region of the stack's provider.
    """
    inputs, token = resource.get("inputs", {}), str(resource["type"])
    if resource.get("id"):
        return str(resource["id"])
    if token.startswith("kubernetes:"):
        named = inputs if token == "kubernetes:helm.sh/v3:Release" else inputs.get("metadata", {})  # noqa: S105 - a type
        return "/".join(str(named[key]) for key in ("namespace", "name") if key in named)
    try:
        return _GOOGLE_IDS[token].format_map({**defaults, **inputs})
    except KeyError:
        return ""


def adopt(deployment: Mapping[str, Any], ids: Mapping[str, str]) -> dict[str, Any]:
    """Return the deployment with each pending create under its id by URN, as if it had come true.

    The `pulumi refresh` that has to follow asks the provider, and drops those that do not exist. (Its own option
    `--import-pending-creates` forgets them: seen with 3.260.) A create that was to replace the very resource that the
    state knows, with the same id in the same place, is dropped at once.
    """
    resources = [dict(resource) for resource in deployment.get("resources") or []]
    for created in pending_creates(deployment):
        urn = created["urn"]
        if urn not in ids:
            continue
        old = next((found for found in resources if found["urn"] == urn and not found.get("delete")), None)
        if old is not None and (old.get("id"), old.get("provider")) == (ids[urn], created.get("provider")):
            continue
        if old is not None:
            old["delete"] = True
        resources.append({**created, "id": ids[urn]})
    left = [created for created in pending_creates(deployment) if created["urn"] not in ids]
    pending = [{"resource": created, "type": "creating"} for created in left]
    return {**deployment, "resources": resources, "pending_operations": pending}


def repair_state(stack: StackFile, pulumi: str, environment: Mapping[str, str]) -> bool:
    """Free the stack, adopt or drop what was being made, and let pulumi look at everything once."""

    def tell(*arguments: str) -> str:
        command = [pulumi, *arguments, "--stack", stack.stack, "--non-interactive"]
        done = answer_of(command, environment)
        if done.returncode != 0:
            raise OperationError(f"{shown(command)}:\n{(done.stderr or done.stdout).strip()}")
        return done.stdout

    say(f"  pulumi cancel --yes --stack {stack.stack}")
    # A stack that nobody locked is no error here; one that cannot be read is, in the next step.
    answer_of([pulumi, "cancel", "--yes", "--stack", stack.stack, "--non-interactive"], environment)
    whole = json.loads(tell("stack", "export"))
    defaults = {"project": stack.required("gcp:project"), "region": stack.required("gcp:region")}
    creates = pending_creates(whole["deployment"])
    ids = {resource["urn"]: identity for resource in creates if (identity := identify(resource, defaults))}
    if ids:
        with tempfile.TemporaryDirectory(prefix="llmserve-unstick-") as directory:
            file = Path(directory) / "state.json"
            whole["deployment"] = adopt(whole["deployment"], ids)
            file.write_text(json.dumps(whole), encoding="utf-8")
            tell("stack", "import", "--file", str(file))
    say(f"  pulumi refresh --yes --skip-preview --stack {stack.stack}")
    tell("refresh", "--yes", "--skip-preview")
    known = {resource["urn"] for resource in json.loads(tell("stack", "export"))["deployment"].get("resources") or []}
    for urn, identity in ids.items():
        say(f"    {urn.rpartition('::')[2]}: {'was made: ' + identity if urn in known else 'was not made'}")
    unknown = [resource["urn"] for resource in creates if resource["urn"] not in ids]
    for urn in unknown:
        say(f"    {urn}: look whether it was made, then: pulumi refresh --stack {stack.stack}")
    return not unknown


def confirm(question: str, *, yes: bool) -> None:
    """Ask a person; stop where there is none to ask."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise OperationError("nobody is here to be asked; the same with --yes does it")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise OperationError("nothing was changed")


def main(argv: Sequence[str]) -> int:
    """Show what is stuck, ask, repair; exit 0 where nothing is stuck any more, 1 where something is."""
    parser = argparse.ArgumentParser(prog="scripts.unstick", description=__doc__)
    parser.add_argument("stack", help="the stack whose update was interrupted")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    arguments = parser.parse_args(argv)
    stack = stack_file.read(arguments.stack)
    place = {
        "name": stack.required("llmserve:name"),
        "location": stack.required("gcp:region"),
        "project": stack.real_project(),
    }
    pulumi = pulumi_command.find()
    if pulumi is None:
        raise OperationError(f"pulumi is not on PATH: make up STACK={stack.stack} installs it")
    _, environment = pulumi_command.backend(pulumi, stack)
    with tempfile.TemporaryDirectory(prefix="llmserve-unstick-") as directory:
        stuck, in_cluster = _stuck_in(place, Path(directory))
        for release in stuck:
            say(f"{release.place} is {release.status}: {shown(release.repair() or [])}")
        if stuck and shutil.which("helm") is None:
            raise OperationError(HELM_MISSING)
        say(f"The state of {stack.stack}: its lock goes, and what was being made is looked up and adopted or dropped.")
        say("A killed pulumi may leave providers that still work: end what `ps -A | grep pulumi-resource-` shows.")
        confirm(f"Is nobody running `pulumi up` on {stack.stack} any more, and shall this be done?", yes=arguments.yes)
        # Helm first: a release that it takes away must not be found by the refresh.
        well = repair_releases(stuck, in_cluster)
        well = repair_state(stack, pulumi, environment) and well
    say(f"then: make up STACK={stack.stack}" if well else "something is still stuck, see above")
    return 0 if well else 1


def _stuck_in(place: Mapping[str, str], directory: Path) -> tuple[list[Release], Mapping[str, str]]:
    """The releases to repair and the way to them; none where there is no cluster yet."""
    try:
        in_cluster = cluster_environment(place, directory)
    except OperationError as reason:
        if "code=404" not in str(reason):
            raise
        say(f"there is no cluster {place['name']} yet, so no Helm release is pending")
        return [], {}
    found = [release for release in releases(in_cluster) if release.repair() is not None]
    if not found:
        say("no Helm release is pending")
    return found, in_cluster


if __name__ == "__main__":
    run(main)

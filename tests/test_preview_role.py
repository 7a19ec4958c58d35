"""What the real preview's account may do, held against the recorded program, so that a new kind fails here first."""

import ast
import json
import re
from functools import cache
from typing import Any

import pytest
import yaml

from preview import Snapshot
from tests.recording import ROOT, recorded

ROLE_FILE = ROOT / ".github" / "preview-role.yaml"
DOCUMENT = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")

# With dev and prod, these settings make every kind that the program has; a test below holds that.
BUDGET = json.dumps({"billingAccount": "012345-6789AB-CDEF01", "monthlyUsd": 25000})
STACKS: list[tuple[str, dict[str, str]]] = [
    ("dev", {}),
    ("prod", {}),
    ("prod", {"weightsFrom": "bucket", "budget": BUDGET}),
]
LEFT_OUT = {"Secret", "Role", "RoleBinding"}
"""To read the first, or to grant what the others grant, is more than a preview is worth; it shows them by itself."""
NOT_OF_THE_SERVER = {"Release"}
"""Helm's: in a preview the provider renders the chart and asks the cluster for nothing."""


@cache
def programs() -> tuple[Snapshot, ...]:
    return tuple(recorded(stack, config=config) for stack, config in STACKS)


def types_of(package: str) -> set[str]:
    return {r.type for program in programs() for r in program.resources if r.package == package}


def documents() -> dict[str, dict[str, Any]]:
    return {found["kind"]: found for found in yaml.safe_load_all(ROLE_FILE.read_text(encoding="utf-8"))}


def plural(kind: str) -> str:
    """As the API names it in a path; the tier "preview role" of `make test-real` asks a real server."""
    name = kind.lower()
    if name.endswith(("s", "x", "ch")):
        return f"{name}es"
    return f"{name[:-1]}ies" if re.search(r"[^aeiou]y$", name) else f"{name}s"


def kinds() -> set[tuple[str, str]]:
    """API group and kind of every object that the program makes itself."""
    found = set()
    for token in types_of("kubernetes"):
        _, version, kind = token.split(":")
        if kind not in NOT_OF_THE_SERVER:
            group = version.partition("/")[0]
            found.add(("" if group == "core" else group, kind))
    return found


def test_the_role_names_every_kind_of_the_program_and_no_other() -> None:
    wanted = {(group, plural(kind)) for group, kind in kinds() if kind not in LEFT_OUT}
    rules = documents()["ClusterRole"]["rules"]
    listed = [(group, resource) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"]]
    assert len(listed) == len(set(listed))
    assert set(listed) == wanted, f"missing: {wanted - set(listed)}, too many: {set(listed) - wanted}"


def test_its_verbs_are_those_of_a_dry_run() -> None:
    assert [rule["verbs"] for rule in documents()["ClusterRole"]["rules"]] == [["get", "create", "patch"]] * len(
        documents()["ClusterRole"]["rules"]
    )


def test_what_is_left_out_is_there_to_be_left_out() -> None:
    made = {kind for _, kind in kinds()}
    assert made >= LEFT_OUT - {"Secret"}
    assert all(f"`{kind}`" in DOCUMENT for kind in LEFT_OUT | NOT_OF_THE_SERVER)


def test_one_account_is_bound_and_kept_to_dry_runs() -> None:
    found = documents()
    [subject] = found["ClusterRoleBinding"]["subjects"]
    assert found["ClusterRoleBinding"]["roleRef"]["name"] == found["ClusterRole"]["metadata"]["name"]
    [condition] = found["ValidatingAdmissionPolicy"]["spec"]["matchConditions"]
    assert condition["expression"] == f"request.userInfo.username == '{subject['name']}'"
    policy = found["ValidatingAdmissionPolicyBinding"]["spec"]
    assert policy["policyName"] == found["ValidatingAdmissionPolicy"]["metadata"]["name"]
    assert policy["validationActions"] == ["Deny"]


def table(heading: str) -> dict[str, str]:
    """The rows of the first table below a heading of docs/ci.md: first cell to second."""
    section = DOCUMENT.partition(f"\n{heading}\n")[2].partition("\n#")[0]
    return dict(re.findall(r"^\| `([^`|]+)` \| `([^`|]+)` \|", section, re.MULTILINE))


def test_the_reads_of_a_refresh_cover_every_type_of_google() -> None:
    listed = table("#### With `--refresh`")
    assert set(listed) == types_of("gcp"), set(listed) ^ types_of("gcp")
    assert all(re.fullmatch(r"[a-z]+\.[A-Za-z]+\.(get|list|getIamPolicy)", right) for right in listed.values())


def test_what_the_program_asks_google_in_every_preview_is_allowed() -> None:
    asked = {invoke.token for program in programs() for invoke in program.invokes}
    assert asked == {"gcp:organizations/getProject:getProject"}
    section = DOCUMENT.partition("\n#### Always\n")[2].partition("\n#")[0]
    listed = re.findall(r"^\| `([a-zA-Z.]+)` \|", section, re.MULTILINE)
    assert "resourcemanager.projects.get" in listed
    granted = re.search(r"--permissions=(\S+)$", section, re.MULTILINE)
    assert granted is not None
    assert granted[1].split(",") == listed


def made_in_the_code() -> set[str]:
    """`Package.Kind` of every resource that a component makes, from its code; custom resources by their kind."""
    found = set()
    for path in [ROOT / "__main__.py", *(ROOT / "components").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (dotted := re.fullmatch(r"(k8s|gcp)\..*?(\w+)", ast.unparse(node.func))):
                kind = next((ast.literal_eval(k.value) for k in node.keywords if k.arg == "kind"), dotted[2])
                found.add(f"{dotted[1]}.{kind}")
    return {name for name in found if name[4].isupper() and not name.endswith(("Args", "Provider"))}


def test_the_stacks_above_make_every_kind_that_the_code_can() -> None:
    """Else a kind that only some setting makes would be missing in the role without a word."""
    recorded_kinds = {f"k8s.{token.rpartition(':')[2]}" for token in types_of("kubernetes")}
    recorded_kinds |= {f"gcp.{token.rpartition(':')[2]}" for token in types_of("gcp")}
    assert made_in_the_code() - recorded_kinds == set()


@pytest.mark.parametrize(
    ("kind", "name"),
    [("ComputeClass", "computeclasses"), ("NetworkPolicy", "networkpolicies"), ("Gateway", "gateways")],
)
def test_plurals(kind: str, name: str) -> None:
    assert plural(kind) == name

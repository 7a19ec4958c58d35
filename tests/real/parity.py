"""Compares the engine's preview with the offline one, and holds the only list of what may differ."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
"""Marks a secret on the wire: https://github.com/pulumi/pulumi/blob/master/sdk/go/common/resource/plugin/rpc.go"""

_CHOSEN_NAME = re.compile(r"-[0-9a-f]{7,8}(?![0-9a-f])")
"""What a provider appends to a logical name; the engine's is another in every run."""

_REQUEST_LISTS = ("ignoreChanges", "replaceOnChanges", "additionalSecretOutputs", "hideDiffs", "replaceWith")
_REQUEST_VALUES = ("protect", "retainOnDelete", "deletedWith", "version", "pluginDownloadURL", "customTimeouts")


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One value that the two disagree on; None where one of them has none."""

    where: str
    """`type name: path`, in which list indexes are left out."""
    engine: Any
    ours: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Exemption:
    """Differences that are known; `where` must match the whole of theirs."""

    where: str
    reason: str


_NUMBER = "holds the project's number, which only Google knows: the engine asks with your credentials (getProject)"

EXEMPTIONS = (
    Exemption(where=r"document: duration", reason="another in every run"),
    Exemption(where=r"document: outputs", reason="an addition of ours: the engine's document has no outputs"),
    Exemption(where=r".*: newState\.options(\..*)?", reason="an addition of ours, held against the requests instead"),
    Exemption(where=r".*: newState\.stackTrace", reason="names the files of the machine that it ran on"),
    Exemption(
        where=r"pulumi:(providers:\w+|pulumi:Stack) .*: newState\.sourcePosition",
        reason="the engine names a line of the SDK; ours names the program's line for a provider, none for the stack",
    ),
    Exemption(
        where=r"gcp:secretmanager/secretIamMember:SecretIamMember hugging-face-token-access: newState\.inputs\.member",
        reason=_NUMBER,
    ),
    Exemption(where=r"gcp:storage/bucketIAMMember:BucketIAMMember .*: newState\.inputs\.member", reason=_NUMBER),
    Exemption(
        where=r"gcp:billing/budget:Budget budget-month: newState\.inputs\.budgetFilter\.projects", reason=_NUMBER
    ),
)
"""Every difference between the engine's preview and ours. docs/real-things.md shows the same table."""


def unexplained(differences: list[Difference]) -> list[Difference]:
    """The differences that no exemption covers."""
    return [
        difference
        for difference in differences
        if not any(re.fullmatch(exemption.where, difference.where) for exemption in EXEMPTIONS)
    ]


def differences_of(engine: Mapping[str, Any], ours: Mapping[str, Any]) -> list[Difference]:
    """Compare two documents of `pulumi preview --json` field by field; steps by operation and URN, in any order."""
    found = list(_differences("document:", _without_steps(engine), _without_steps(ours)))
    theirs, mine = _steps_of(engine), _steps_of(ours)
    for operation, urn in sorted(theirs.keys() | mine.keys()):
        where = f"{urn.split('::')[2].rpartition('$')[2]} {urn.rpartition('::')[2]}:"
        step, own = theirs.get((operation, urn)), mine.get((operation, urn))
        if step is None or own is None:
            found.append(Difference(where=f"{where} {operation}", engine=step and urn, ours=own and urn))
        else:
            found += _differences(where, step, own)
    return found


def options_of(requests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Options by URN as the program's requests to register resources carry them, in the form of our `options`."""
    found: dict[str, dict[str, Any]] = {}
    for entry in requests:
        if not entry["method"].endswith("/RegisterResource"):
            continue
        request = entry["request"]
        options = {name: request[name] for name in (*_REQUEST_LISTS, *_REQUEST_VALUES) if name in request}
        if request.get("deleteBeforeReplaceDefined"):
            options["deleteBeforeReplace"] = request.get("deleteBeforeReplace", False)
        if "importId" in request:
            options["importID"] = request["importId"]
        if "aliases" in request:
            options["aliases"] = [alias.get("urn") or alias["spec"] for alias in request["aliases"]]
        if "replacementTrigger" in request:
            options["replacementTrigger"] = request["replacementTrigger"]
        if "providers" in request:
            options["providers"] = request["providers"]
        found[entry["response"]["urn"]] = options
    return found


def outputs_of(requests: list[dict[str, Any]]) -> dict[str, Any]:
    """Outputs by URN that components and the stack registered."""
    return {
        entry["request"]["urn"]: comparable(entry["request"].get("outputs", {}))
        for entry in requests
        if entry["method"].endswith("/RegisterResourceOutputs")
    }


def comparable(value: Any) -> Any:
    """Take away what is never the same twice: names that a provider chose. A secret on the wire is `[secret]`."""
    if isinstance(value, str):
        return _CHOSEN_NAME.sub("-*", value)
    if isinstance(value, list):
        return [comparable(item) for item in value]
    if isinstance(value, dict):
        if SECRET.items() <= value.items():
            return "[secret]"
        return {key: comparable(item) for key, item in value.items()}
    return value


def _without_steps(document: Mapping[str, Any]) -> dict[str, Any]:
    rest: dict[str, Any] = comparable({key: value for key, value in document.items() if key != "steps"})
    return rest


def _steps_of(document: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    return {(step["op"], step["urn"]): comparable(step) for step in document["steps"]}


def _differences(where: str, engine: Any, ours: Any, path: str = "") -> Iterator[Difference]:
    here = f"{where} {path}"
    if isinstance(engine, dict) and isinstance(ours, dict):
        for key in sorted(engine.keys() | ours.keys()):
            below = f"{path}.{key}" if path else key
            if key in engine and key in ours:
                yield from _differences(where, engine[key], ours[key], below)
            else:
                yield Difference(where=f"{where} {below}", engine=engine.get(key), ours=ours.get(key))
    elif isinstance(engine, list) and isinstance(ours, list):
        if re.search(r"(d|propertyD)ependencies(\.\w+)?$", path):
            engine, ours = sorted(engine), sorted(ours)
        if len(engine) != len(ours):
            yield Difference(where=here, engine=engine, ours=ours)
            return
        for one, other in zip(engine, ours, strict=True):
            yield from _differences(where, one, other, path)
    elif engine != ours or isinstance(engine, bool) != isinstance(ours, bool):
        yield Difference(where=here, engine=engine, ours=ours)

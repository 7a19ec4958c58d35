"""What differs between two recordings of a stack: what is made, changed, replaced, renamed, deleted, and why.

A replacement is predicted, by the rules of `rules`; the provider decides when it comes to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from preview.diff.rules import Around, rule_for, sets_of
from preview.diff.values import Difference, awaiting, comparable, differences
from preview.paths import PathError, parse_path
from preview.snapshot import STACK_TYPE, Resource, Snapshot
from preview.values import UNKNOWN, Secret, walk

AUTONAME: Final = re.compile(r"-[0-9a-f]{7,8}$")
OPTIONS: Final = (
    "protect",
    "retainOnDelete",
    "deleteBeforeReplace",
    "ignoreChanges",
    "replaceOnChanges",
    "customTimeouts",
)
"""Options whose change is shown, as `options.<name>`."""
HOLDS_DATA: Final = (
    "gcp:storage/bucket:Bucket",
    "gcp:artifactregistry/repository:Repository",
    "gcp:container/cluster:Cluster",
    "gcp:compute/disk:Disk",
    "gcp:sql/databaseInstance:DatabaseInstance",
    "gcp:secretmanager/secret:Secret",
    "kubernetes:core/v1:PersistentVolumeClaim",
    "kubernetes:core/v1:PersistentVolume",
    "kubernetes:core/v1:Namespace",
    "kubernetes:apps/v1:StatefulSet",
)
"""Types with which data goes."""
ALIKE: Final = 0.8
"""The part of their values that a deleted and a new resource share where one looks like the other, renamed."""
NAMED: Final = ("name", "accountId", "roleId", "projectId", "secretId")
"""Fields that pulumi-gcp names automatically where they are not given: provider/resources.go, `AutoName`."""
NEVER_NAMED: Final = ("gcp:dns/recordSet:RecordSet",)
"""Types whose `name` it never chooses."""
ALWAYS_FIRST: Final = (
    "gcp:projects/iAMMember:IAMMember",
    "gcp:projects/iAMPolicy:IAMPolicy",
    "gcp:secretmanager/secret:Secret",
)
"""Types that it deletes first whatever they are called."""
CLUSTER: Final = "gcp:container/cluster:Cluster"
IDENTITY: Final = "clusterIdentifier"


class Operation(StrEnum):
    """What happens to a resource; in the order in which a reader wants to see them."""

    DELETE = "delete"
    REPLACE = "replace"
    CREATE = "create"
    UPDATE = "update"
    RENAME = "rename"


INVERSE: Final = {
    Operation.DELETE: Operation.CREATE,
    Operation.CREATE: Operation.DELETE,
    Operation.REPLACE: Operation.REPLACE,
    Operation.UPDATE: Operation.UPDATE,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """Why a resource is replaced: the field, and who says that it cannot be changed."""

    path: str
    source: str
    when: str = ""
    deleted_first: bool = False
    """Whether it goes before something that it needs is deleted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What happens to one resource."""

    operation: Operation
    urn: str
    """That of the later revision; of a deleted one, of the earlier."""
    type: str
    name: str
    old_urn: str = ""
    """Of a renamed one, what it was."""
    fields: tuple[Difference, ...] = ()
    reasons: tuple[Reason, ...] = ()
    dependents: tuple[str, ...] = ()
    """URNs of what needs it, directly or not; told of what is deleted or replaced."""
    source: str = ""
    """`path:line` of the call that makes it."""
    was_protected: bool = False
    custom: bool = True
    notes: tuple[str, ...] = ()

    @property
    def holds_data(self) -> bool:
        """Whether data goes with it."""
        return self.type in HOLDS_DATA


@dataclass(frozen=True, kw_only=True, slots=True)
class StackChange:
    """Everything that differs between two recordings of one stack."""

    stack: str
    changes: tuple[Change, ...]
    unchanged: int
    outputs: tuple[Difference, ...] = ()
    config: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()

    def of(self, operation: Operation) -> tuple[Change, ...]:
        """All changes of one kind."""
        return tuple(change for change in self.changes if change.operation is operation)

    @property
    def counts(self) -> dict[Operation, int]:
        """How many resources, by what happens to them: components and the stack itself too, as the engine counts."""
        return {operation: len(self.of(operation)) for operation in Operation}

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return not self.changes and not self.outputs and not self.config


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pair:
    """A resource in both revisions."""

    before: Resource
    after: Resource

    @property
    def renamed(self) -> bool:
        return self.before.urn != self.after.urn


@dataclass(kw_only=True, slots=True)
class _Names:
    """Names that a provider would choose, which hold a hash of the resource: the same for both ends of a pair."""

    texts: dict[str, str] = field(default_factory=dict)
    pattern: re.Pattern[str] | None = None

    def freeze(self) -> None:
        if self.texts:
            longest_first = sorted(self.texts, key=len, reverse=True)
            self.pattern = re.compile("|".join(map(re.escape, longest_first)))

    def __call__(self, text: str) -> str:
        return text if self.pattern is None else self.pattern.sub(lambda found: self.texts[found[0]], text)


def compare(before: Snapshot | None, after: Snapshot | None, *, stack: str) -> StackChange:
    """Compare two recordings of a stack; None is a revision without it."""
    old, new = _resources(before), _resources(after)
    read = {resource.urn for resource in (after.resources if after is not None else ()) if _is_read(resource)}
    # What is only read from now on stays as it is.
    old = {urn: resource for urn, resource in old.items() if urn not in read}
    pairs = _paired(old, new)
    matched = {pair.before.urn for pair in pairs}, {pair.after.urn for pair in pairs}
    names = _names(pairs, old, new)
    now = {pair.before.urn: pair.after.urn for pair in pairs}
    changes = [
        *(_gone(resource) for urn, resource in old.items() if urn not in matched[0]),
        *(_made(resource) for urn, resource in new.items() if urn not in matched[1]),
        *(found for pair in pairs if (found := _changed(pair, names, old, new, now)) is not None),
    ]
    changes = _cascade(changes, pairs, new, now)
    settings = tuple("" if side is None else "\n".join(side.config.values()) for side in (before, after))
    changes = _told_apart(changes, old, new, names, (settings[0], settings[1]))
    changes = [_with_dependents(change, old, new) for change in changes]
    changes.sort(key=lambda change: (list(Operation).index(change.operation), change.type, change.urn))
    touched = {change.urn for change in changes}
    config = differences(_config(before), _config(after))
    return StackChange(
        stack=stack,
        changes=tuple(changes),
        unchanged=sum(pair.after.urn not in touched for pair in pairs),
        outputs=tuple(differences(_outputs(before, names[0]), _outputs(after, names[1]))),
        config=tuple(config),
        notes=tuple(_cluster_notes(changes)),
    )


def _resources(snapshot: Snapshot | None) -> dict[str, Resource]:
    """Give what the stack makes; what it only reads is nothing that it could change."""
    found = () if snapshot is None else snapshot.resources
    return {resource.urn: resource for resource in found if not _is_read(resource)}


def _is_read(resource: Resource) -> bool:
    return resource.operation == "read"


def _config(snapshot: Snapshot | None) -> Any:
    if snapshot is None:
        return {}
    return comparable(
        {key: Secret(text) if key in snapshot.secret_keys else text for key, text in snapshot.config.items()}
    )


def _outputs(snapshot: Snapshot | None, names: _Names) -> Any:
    return {} if snapshot is None else comparable(dict(snapshot.outputs), names)


def _paired(old: Mapping[str, Resource], new: Mapping[str, Resource]) -> list[_Pair]:
    """Pair by URN, then by the aliases that the later revision gives, and those that a renamed parent hands on."""
    pairs = {urn: _Pair(before=old[urn], after=new[urn]) for urn in new if urn in old}
    free = {urn for urn in old if urn not in pairs}
    for urn, resource in new.items():
        if urn in pairs:
            continue
        found = next((alias for alias in _aliases(resource, pairs) if alias in free), None)
        if found is not None:
            free.discard(found)
            pairs[urn] = _Pair(before=old[found], after=resource)
    return list(pairs.values())


def _aliases(resource: Resource, pairs: Mapping[str, _Pair]) -> Iterator[str]:
    """Yield the URNs that a resource may have had; parents come before their children in a recording.

    As the engine makes them: `generateAliases` of pkg/resource/deploy/step_generator.go in pulumi/pulumi.
    """
    parent = pairs.get(resource.parent)
    was = parent.before.urn if parent is not None and parent.renamed else resource.parent
    for alias in resource.options.get("aliases", ()):
        if isinstance(alias, str):
            yield alias
            continue
        name = str(alias.get("name") or resource.name)
        token = str(alias.get("type") or resource.type)
        place = was
        if alias.get("noParent"):
            place = ""
        elif alias.get("parentUrn"):
            place = str(alias["parentUrn"])
        yield _urn(resource.urn, place, token, name)
    if parent is not None and parent.renamed:
        name = resource.name
        if name.startswith(parent.after.name):
            name = parent.before.name + name.removeprefix(parent.after.name)
        yield _urn(resource.urn, parent.before.urn, resource.type, name)


def _urn(like: str, parent: str, token: str, name: str) -> str:
    """Make a URN of the same stack as another; `parent` is a URN, empty for none."""
    head = "::".join(like.split("::")[:2])
    types = _types(parent) if parent else STACK_TYPE
    chain = "" if types == STACK_TYPE else f"{types}$"
    return f"{head}::{chain}{token}::{name}"


def _types(urn: str) -> str:
    return urn.split("::")[2]


def _names(pairs: Sequence[_Pair], old: Mapping[str, Resource], new: Mapping[str, Resource]) -> tuple[_Names, _Names]:
    """Give both ends of a pair the same text for a name that the provider chooses."""
    before, after = _Names(), _Names()
    for pair in pairs:
        for resource, names in ((pair.before, before), (pair.after, after)):
            if chosen := _autoname(resource):
                names.texts[chosen] = f"{pair.before.name}-[chosen by the provider]"
    for resources, names in ((old, before), (new, after)):
        for resource in resources.values():
            if (chosen := _autoname(resource)) and chosen not in names.texts:
                names.texts[chosen] = f"{resource.name}-[chosen by the provider]"
        names.freeze()
    return before, after


def _autoname(resource: Resource) -> str:
    for found in (resource.inputs.get("name"), _metadata_name(resource)):
        if isinstance(found, str) and AUTONAME.sub("", found) == resource.name and found != resource.name:
            return found
    return ""


def _metadata_name(resource: Resource) -> Any:
    metadata = resource.inputs.get("metadata")
    return metadata.get("name") if isinstance(metadata, dict) else None


def _gone(resource: Resource) -> Change:
    return Change(
        operation=Operation.DELETE,
        urn=resource.urn,
        type=resource.type,
        name=resource.name,
        source=resource.source,
        was_protected=bool(resource.options.get("protect")),
        custom=resource.custom,
    )


def _made(resource: Resource) -> Change:
    return Change(
        operation=Operation.CREATE,
        urn=resource.urn,
        type=resource.type,
        name=resource.name,
        source=resource.source,
        custom=resource.custom,
    )


def _changed(
    pair: _Pair,
    names: tuple[_Names, _Names],
    old: Mapping[str, Resource],
    new: Mapping[str, Resource],
    now: Mapping[str, str],
) -> Change | None:
    before, after = pair.before, pair.after
    kept = after
    for path in after.options.get("ignoreChanges", ()):
        kept = replace(kept, inputs=_restored(dict(before.inputs), dict(kept.inputs), _parts(path)))
    fields = list(differences(_inputs(before, names[0], now, kept), _inputs(kept, names[1])))
    reasons = (*_reasons(fields, pair, new), *_asked_for(pair), *_moved(pair, old, new, now))
    fields += _options(before, after)
    if not fields and not reasons and not pair.renamed:
        return None
    operation = Operation.REPLACE if reasons else Operation.UPDATE if fields else Operation.RENAME
    return Change(
        operation=operation,
        urn=after.urn,
        type=after.type,
        name=after.name,
        old_urn=before.urn if pair.renamed else "",
        fields=tuple(fields),
        reasons=reasons,
        source=after.source,
        was_protected=bool(before.options.get("protect")),
        custom=after.custom,
    )


def _restored(old: Any, new: Any, parts: Sequence[str | int]) -> Any:
    """Take the old value at a path, as the engine does with what `ignoreChanges` names; `*` is every item."""
    first, *rest = parts
    if isinstance(new, list) and isinstance(old, list):
        places = range(min(len(old), len(new))) if first == "*" else [first] if isinstance(first, int) else []
        made = list(new)
        for place in places:
            if place < min(len(old), len(new)):
                made[place] = _restored(old[place], new[place], rest) if rest else old[place]
        return made
    if isinstance(new, dict) and isinstance(old, dict):
        made_of = dict(new)
        for key in {*old, *new} if first == "*" else {str(first)}:
            if rest:
                made_of |= {key: _restored(old[key], new[key], rest)} if key in old and key in new else {}
            elif key in old:
                made_of[key] = old[key]
            else:
                made_of.pop(key, None)
        return made_of
    return new


def _parts(path: str) -> list[str | int]:
    try:
        return parse_path(path.replace("[*]", '["*"]'))
    except PathError:
        return [path]


def _inputs(
    resource: Resource, names: _Names, now: Mapping[str, str] | None = None, other: Resource | None = None
) -> Any:
    """Give the inputs, comparable; `now` has the later URN of each resource that an unknown value may be of.

    `other` is the resource that says what is ignored, where that is not this one.
    """
    awaits = {
        path: tuple(sorted((now or {}).get(urn, urn) for urn in urns))
        for path, urns in resource.awaits.items()
        if urns and not _is_ignored(path, other or resource)
    }
    value = awaiting(comparable(dict(resource.inputs), names), awaits)
    sets = sets_of(resource.type)
    return _sorted(value, sets) if sets else value


def _sorted(value: Any, sets: frozenset[str], path: str = "") -> Any:
    """Bring what is a set into one order."""
    if isinstance(value, dict):
        return {key: _sorted(item, sets, f"{path}.{key}" if path else key) for key, item in value.items()}
    if isinstance(value, list):
        items = [_sorted(item, sets, path) for item in value]
        return sorted(items, key=repr) if path in sets else items
    return value


def _is_ignored(path: str, resource: Resource) -> bool:
    """Whether the engine takes the old value for this path: it is, or is inside, what `ignoreChanges` names."""
    return any(
        re.match(re.escape(_dotted(ignored)).replace(r"\[\*\]", r"\[[^]]*\]") + r"(?:[.\[]|$)", _dotted(path))
        for ignored in resource.options.get("ignoreChanges", ())
    )


def _dotted(path: str) -> str:
    """Write a path as values have it that wait for others: `data.a.b` for `data["a.b"]`."""
    return re.sub(r'\["([^"]*)"\]', r".\1", path)


def _is_inside(path: str, outer: str) -> bool:
    return path == outer or path.startswith((f"{outer}.", f"{outer}["))


def _options(before: Resource, after: Resource) -> list[Difference]:
    old, new = (
        {name: comparable(one.options[name]) for name in OPTIONS if one.options.get(name)} for one in (before, after)
    )
    return list(differences(old, new, "options"))


def _around(pair: _Pair, new: Mapping[str, Resource]) -> Around:
    provider = new.get(pair.after.provider.rpartition("::")[0])
    return Around(
        before=pair.before.inputs, after=pair.after.inputs, provider=provider.inputs if provider is not None else {}
    )


def _reasons(fields: Sequence[Difference], pair: _Pair, new: Mapping[str, Resource]) -> Iterator[Reason]:
    resource, around = pair.after, _around(pair, new)
    for found in fields:
        rule = rule_for(resource.type, found.path, before=found.before, after=found.after, around=around)
        if rule is not None:
            yield Reason(path=found.path, source=rule.told_by, when=rule.when)
        elif _is_asked(found.path, resource.options):
            yield Reason(path=found.path, source="replaceOnChanges in the program")


def _asked_for(pair: _Pair) -> Iterator[Reason]:
    """Say which option of the program replaces it: another trigger, or another id to import."""
    before, after = pair.before.options, pair.after.options
    if before.get("replacementTrigger") != after.get("replacementTrigger"):
        yield Reason(path="options.replacementTrigger", source="replacementTrigger in the program")
    if before.get("importID") and after.get("importID") and before["importID"] != after["importID"]:
        yield Reason(path="options.importID", source="another resource is imported in the program")


def _moved(
    pair: _Pair, old: Mapping[str, Resource], new: Mapping[str, Resource], now: Mapping[str, str]
) -> Iterator[Reason]:
    """Say that it has another provider, whose configuration is that of another place.

    `providerChanged` of the engine's step generator: the new provider compares the configurations.
    """
    was, is_ = (one.provider.rpartition("::")[0] for one in (pair.before, pair.after))
    if now.get(was, was) == is_ or was not in old or is_ not in new:
        return
    providers = _Pair(before=old[was], after=new[is_])
    fields = differences(_inputs(providers.before, _Names(), now), _inputs(providers.after, _Names()))
    for reason in _reasons(list(fields), providers, new):
        yield replace(reason, path="its provider", source=f"{reason.path} of {new[is_].name}; {reason.source}")
        return


def _cascade(
    changes: list[Change], pairs: Sequence[_Pair], new: Mapping[str, Resource], now: Mapping[str, str]
) -> list[Change]:
    """Replace what takes a field that cannot change from something that is made anew, and what its provider makes."""
    by_urn = {change.urn: change for change in changes}
    replaced = {urn for urn, change in by_urn.items() if change.operation is Operation.REPLACE}
    first = {pair.after.urn for pair in pairs if pair.after.urn in replaced and _is_deleted_first(pair)}
    renamed = {pair.after.urn for pair in pairs if pair.renamed}
    protected = {pair.after.urn for pair in pairs if pair.before.options.get("protect")}
    while True:
        found = {
            pair.after.urn: reason
            for pair in pairs
            if pair.after.urn not in replaced
            and (reason := _follows(pair, replaced, first, new=new, now=now, renamed=renamed)) is not None
        }
        # What is replaced for a reason of its own may have to go before something that is deleted first, too.
        goes = {
            pair.after.urn
            for pair in pairs
            if pair.after.urn in replaced - first and _goes_before(pair, first, new, now) is not None
        }
        if not found and not goes:
            return [*by_urn.values(), *_updated(pairs, by_urn, replaced, new)]
        for urn, reason in found.items():
            made = by_urn.get(urn) or _made(new[urn])
            made = replace(made, was_protected=made.was_protected or urn in protected)
            by_urn[urn] = replace(made, operation=Operation.REPLACE, reasons=(*made.reasons, reason))
        replaced |= found.keys()
        # What goes before something that is deleted first is itself deleted first.
        first |= goes | {
            pair.after.urn
            for pair in pairs
            if pair.after.urn in found and (_is_deleted_first(pair) or found[pair.after.urn].deleted_first)
        }


def _updated(
    pairs: Sequence[_Pair], by_urn: Mapping[str, Change], replaced: set[str], new: Mapping[str, Resource]
) -> Iterator[Change]:
    """Update what holds a value of something that is made anew, and is not changed otherwise."""
    for pair in pairs:
        if pair.after.urn in by_urn or not pair.after.custom:
            continue
        found = {path: urn for path, urn, _ in _of_replaced(pair.after, replaced, new)}
        if found:
            notes = tuple(f"{path} is of {new[urn].name}, which is made anew" for path, urn in found.items())
            yield replace(_made(pair.after), operation=Operation.UPDATE, notes=notes)


def _of_replaced(resource: Resource, replaced: set[str], new: Mapping[str, Resource]) -> Iterator[tuple[str, str, Any]]:
    """Yield the path of each value that comes from something that is made anew, of what, and what stands there then.

    One that is not known until then, or that holds a name which the provider chooses anew.
    """
    for path, urns in resource.awaits.items():
        for urn in sorted(replaced.intersection(urns)):
            if not _is_ignored(path, resource):
                yield path, urn, UNKNOWN
    needed = {urn for urns in resource.property_dependencies.values() for urn in urns} & replaced
    chosen = {name: urn for urn in sorted(needed) if (name := _autoname(new[urn]))}
    for path, value in walk(dict(resource.inputs)) if chosen else ():
        for name, urn in chosen.items():
            if isinstance(value, str) and name in value and not _is_ignored(path, resource):
                yield path, urn, value


def _is_deleted_first(pair: _Pair) -> bool:
    """Whether a replacement deletes before it makes: as the program says, else where the name cannot be another one.

    pulumi-terraform-bridge: `nameRequiresDeleteBeforeReplace` of pkg/tfbridge/schema.go, where a field that could have
    been named automatically is given. pulumi-kubernetes: `Diff` of provider/pkg/provider/provider.go, where the name
    is given and stays.
    """
    if (said := pair.after.options.get("deleteBeforeReplace")) is not None:
        return bool(said)
    if pair.after.package == "kubernetes":
        places = [(resource.inputs.get("metadata") or {}) for resource in (pair.before, pair.after)]
        same = all(places[0].get(key) == places[1].get(key) for key in ("name", "namespace"))
        return same and bool(places[1].get("name")) and not _autoname(pair.after)
    if pair.after.type in ALWAYS_FIRST:
        return True
    could = pair.after.type not in NEVER_NAMED and any(pair.after.inputs.get(key) for key in NAMED)
    return could and not _autoname(pair.after)


def _follows(
    pair: _Pair,
    replaced: set[str],
    first: set[str],
    *,
    new: Mapping[str, Resource],
    now: Mapping[str, str],
    renamed: set[str],
) -> Reason | None:
    """Say why a resource is replaced since others are: the engine's step generator, and what its provider says.

    A value of what is replaced is not known until then. What is deleted first takes along what could not be updated
    meanwhile: there a whole property counts as not known, if any part of it is of what goes
    (`calculateDependentReplacements` of pkg/resource/deploy/step_generator.go in pulumi/pulumi, over what was before).
    """
    resource = pair.after
    provider = resource.provider.rpartition("::")[0]
    # Of one that was renamed the engine takes the new one for another place only by its own comparison (`_moved`).
    if provider in replaced - renamed and resource.custom and not resource.is_provider:
        return Reason(path="its provider", source=f"{new[provider].name} is made anew", deleted_first=provider in first)
    options = resource.options
    for option, urns in (
        ("deletedWith", [options.get("deletedWith")]),
        ("replaceWith", options.get("replaceWith", ())),
    ):
        for urn in replaced.intersection(urns):
            return Reason(path=f"options.{option}", source=f"{new[urn].name} is made anew", deleted_first=urn in first)
    around = _around(pair, new)
    for path, urn, value in _of_replaced(resource, replaced, new):
        if (rule := rule_for(resource.type, path, before=None, after=value, around=around)) is not None:
            return Reason(path=path, source=f"{new[urn].name} is made anew; {rule.told_by}", when=rule.when)
        if _is_asked(path, options):
            return Reason(path=path, source=f"{new[urn].name} is made anew; replaceOnChanges in the program")
    return _goes_before(pair, first, new, now)


def _is_asked(path: str, options: Mapping[str, Any]) -> bool:
    """Whether the program asks for a replacement where this changes."""
    return any(asked == "*" or _is_inside(path, asked) for asked in options.get("replaceOnChanges", ()))


def _goes_before(pair: _Pair, first: set[str], new: Mapping[str, Resource], now: Mapping[str, str]) -> Reason | None:
    """Say why a resource has to go before something that it takes from is deleted."""
    resource, around = pair.after, _around(pair, new)
    for name, urns in pair.before.property_dependencies.items():
        if _is_ignored(name, resource):
            continue
        for urn in first.intersection(now.get(urn, urn) for urn in urns):
            if (rule := rule_for(resource.type, name, before=None, after=UNKNOWN, around=around)) is not None:
                told = f"{new[urn].name} is deleted and made anew; {rule.told_by}"
                return Reason(path=name, source=told, when=rule.when, deleted_first=True)
            if _is_asked(name, pair.before.options):
                told = f"{new[urn].name} is deleted and made anew; replaceOnChanges in the program"
                return Reason(path=name, source=told, deleted_first=True)
    return None


def _told_apart(
    changes: list[Change],
    old: Mapping[str, Resource],
    new: Mapping[str, Resource],
    names: tuple[_Names, _Names],
    settings: tuple[str, str],
) -> list[Change]:
    """Say of a deleted and a new resource that are nearly alike that an alias would make it a rename, where it would.

    `settings` are the values of the stack's configuration in both revisions: what they name can have no alias.
    """
    gone = [change for change in changes if change.operation is Operation.DELETE]
    made = [change for change in changes if change.operation is Operation.CREATE]
    noted: dict[str, str] = {}
    for lost in gone:
        near = [one for one in made if one.type == lost.type and one.urn not in noted]
        best = max(near, key=lambda one: _alike(old[lost.urn], new[one.urn], names), default=None)
        if best is None or _alike(old[lost.urn], new[best.urn], names) < ALIKE:
            continue
        if (words := _named_by(lost.name, best.name, settings)) is not None:
            noted[best.urn] = f"nearly the same as {lost.name}: the stack file says {words[1]} in place of {words[0]}"
            continue
        if (field := _kept_apart(_Pair(before=old[lost.urn], after=new[best.urn]), new)) is not None:
            noted[best.urn] = f"nearly the same as {lost.name}; an alias would not keep that one: {field} is another"
            continue
        noted[lost.urn] = f"{best.name} is nearly the same: renamed without an alias, it is made anew"
        noted[best.urn] = (
            f'nearly the same as {lost.name}: aliases=[pulumi.Alias(name="{lost.name}")] would keep that one'
        )
        if _types(lost.urn) != _types(best.urn):
            noted[best.urn] = (
                f"nearly the same as {lost.name}: aliases=[pulumi.Alias(...)] with its old parent keeps it"
            )
    return [
        replace(change, notes=(*change.notes, noted[change.urn])) if change.urn in noted else change
        for change in changes
    ]


def _kept_apart(pair: _Pair, new: Mapping[str, Resource]) -> str | None:
    """Name the field that would replace the resource even if it were taken for the same."""
    changed = _changed(pair, _names([pair], {}, {}), {}, new, {})
    return changed.reasons[0].path if changed is not None and changed.reasons else None


def _named_by(lost: str, made: str, settings: tuple[str, str]) -> tuple[str, str] | None:
    """Find the words in two names that differ, where each stands in its own revision's settings alone."""
    old, new = lost.split("-"), made.split("-")
    while old and new and old[0] == new[0]:
        del old[0], new[0]
    while old and new and old[-1] == new[-1]:
        del old[-1], new[-1]
    words = "-".join(old), "-".join(new)
    told = all(words) and words[0] in settings[0] and words[1] in settings[1]
    return words if told and words[0] not in settings[1] and words[1] not in settings[0] else None


def _alike(before: Resource, after: Resource, names: tuple[_Names, _Names]) -> float:
    """The part of two resources' values that is the same; of what is a component, of names alone nothing is known."""
    if not before.custom or not before.inputs or not after.inputs:
        return 0.0
    old, new = comparable(dict(before.inputs), names[0]), comparable(dict(after.inputs), names[1])
    count = max(_leaves(old), _leaves(new), 1)
    differing = sum(max(_leaves(found.before), _leaves(found.after), 1) for found in differences(old, new))
    return 1 - differing / count


def _leaves(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_leaves, value.values()))
    return sum(map(_leaves, value)) if isinstance(value, list) else 1


def _with_dependents(change: Change, old: Mapping[str, Resource], new: Mapping[str, Resource]) -> Change:
    if change.operation not in (Operation.DELETE, Operation.REPLACE) or not change.custom:
        return change
    resources = old if change.operation is Operation.DELETE else new
    return replace(change, dependents=tuple(sorted(_dependents(change.urn, resources))))


def _dependents(urn: str, resources: Mapping[str, Resource]) -> set[str]:
    found: set[str] = set()
    wanted = {urn}
    while wanted:
        wanted = {
            other
            for other, resource in resources.items()
            if other not in found
            and other != urn
            and resource.custom
            and wanted & {*resource.dependencies, resource.provider.rpartition("::")[0]}
        }
        found |= wanted
    return found


def _cluster_notes(changes: Sequence[Change]) -> Iterator[str]:
    """A replaced cluster must be told by its provider, or Pulumi takes its objects to exist still."""
    replaced = [change for change in changes if change.type == CLUSTER and change.operation is Operation.REPLACE]
    told = any(
        found.path == IDENTITY
        for change in changes
        if change.type == "pulumi:providers:kubernetes"
        for found in change.fields
    )
    if replaced and not told:
        names = ", ".join(change.name for change in replaced)
        yield (
            f"{names} is made anew and no provider's {IDENTITY} changes: Pulumi would believe that the objects of the "
            "old cluster still exist, and not make them in the new one. Raise clusterGeneration with it"
        )

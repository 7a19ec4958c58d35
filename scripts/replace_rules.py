"""Write the table of fields that replace a resource from what the providers say, or hold it against them.

    python -m scripts.replace_rules ANSWERS.csv [--check]

ANSWERS.csv is made outside of this project by the providers' own code (docs/real-things.md says how). It has a row for
each field of each type: `type` and `path` as Pulumi writes them, `kind` of the value, `force_new` of its schema, the
`condition` under which its plan replaces beyond that, the `source`, and what a plan says where the value is `changed`,
`added`, `removed` and `unknown`: `replace`, `update`, `none`, or nothing where that cannot be tried.
"""

import argparse
import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from preview.diff.rules import EVENTS, FILE, REVISIONS, STAYS, UNORDERED, Event, Rule, is_judged, rules
from scripts.terminal import OperationError, run, say

_CONDITIONS: Final[Sequence[tuple[str, str, str]]] = (
    (r"true -> false, absent or unknown", "changed removed unknown", "where it was true"),
    (r"true -> false or unknown", "changed unknown", "where it was true"),
    (r"removed entry", "changed removed", "where an entry goes"),
    (r"the new range does not hold all of the old", "changed", "where the range shrinks or moves"),
    (r"changed while (\w+) is (\w+)$", "changed added removed unknown", r"while \1 is \2"),
    (r"unless the provider has (\w+) and", "", r"unless the provider has \1, and it is not immutable"),
    (r'.*absent counts as "default"', "changed added removed", "unless that is the namespace default"),
    (r"from one value to another, or to unknown", "changed unknown", ""),
    (r"unless clusterIdentifier is given", "changed added removed unknown", "unless clusterIdentifier stays"),
    (r"changed, but keys that are new with null", "", "unless both are empty"),
    (r"also of Patch types", "", ""),
    (r"as the schema", "", ""),
)
"""A condition in the answers, the events that it is for (none: as the answers say), and the word for it here."""
_LIVE: Final = ("replaceUnready", "removed as a whole")
"""Conditions on what only a cluster knows, or on what no program writes."""
_SUPPRESSED: Final = {
    "CaseDiffSuppress": "where more than case differs",
    "iamMemberCaseDiffSuppress": "where more than case differs",
    "CompareSelfLinkOrResourceName": "where the link differs",
    "CompareSelfLinkRelativePaths": "where the link differs",
    "CompareResourceNames": "where the last part differs",
}
"""What a provider takes for no change, by the name of its function."""
_WRITTEN_ANEW: Final = {
    ("gcp:storage/bucket:Bucket", "location"): "where more than case differs",
    ("gcp:storage/bucketIAMMember:BucketIAMMember", "bucket"): "where the last part differs",
    ("gcp:storage/bucketIAMBinding:BucketIAMBinding", "bucket"): "where the last part differs",
}
"""Fields that a provider writes in another way before it compares, in functions without a name."""
_ZEROS: Final = ("", "false", "0")
_PLAIN: Final = ("string", "bool", "int", "float")
_WHOLE: Final = ("map", "")
"""Kinds whose every part counts as the field itself. Kubernetes's fields are compared whole, and have no kind."""
_ANY_MEMBER: Final = "gcp:*:*IAMMember", "gcp:*:*IamMember"


def answers(file: Path) -> list[Mapping[str, str]]:
    """Read the answers. Raises OperationError for a file that is none."""
    try:
        with file.open(encoding="utf-8", newline="") as table:
            return list(csv.DictReader(table))
    except (OSError, UnicodeDecodeError) as error:
        raise OperationError(f"{file}: {error}") from error


def made(rows: Sequence[Mapping[str, str]]) -> Iterator[Rule]:
    """Make the rules of the answers, in their order of type and path."""
    found = [rule for row in rows if (rule := _rule(row)) is not None]
    found += [
        Rule(
            type=token,
            path="*",
            on=" ".join(EVENTS),
            when="",
            source="google-beta/tpgiamresource/resource_iam_member.go",
        )
        for token in _ANY_MEMBER
    ]
    yield from sorted(found, key=lambda rule: (rule.type, rule.path))


def _rule(row: Mapping[str, str]) -> Rule | None:
    condition, path = row["condition"], row["path"].replace("[*]", "")
    if row["force_new"] == "unknown" or any(live in condition or live in path for live in _LIVE):
        return None
    says = {event: "replace" if "replace" in row[event] else row[event] for event in EVENTS}
    on: list[str] = [
        event for event in EVENTS if says[event] == "replace" or (row["force_new"] == "yes" and not says[event])
    ]
    if row["force_new"] == "no" and not condition:
        # What replaces there are fields inside, which have rows of their own; but nobody can look into an unknown one.
        on = [event for event in on if event == Event.UNKNOWN]
    when = condition
    for pattern, events, word in _CONDITIONS:
        if (match := re.match(pattern, condition)) is not None:
            when, on = match.expand(word), events.split() or on
            break
    if on and not when and (token_path := (row["type"], path)) in _WRITTEN_ANEW:
        when = _WRITTEN_ANEW[token_path]
    elif on and not when and (suppressed := row["suppress"].rpartition(".")[2]) in _SUPPRESSED:
        when = _SUPPRESSED[suppressed]
    elif on and not when and (default := row["default"].lower()) not in _ZEROS:
        on, when = list(EVENTS), f"where absent is {default}"
    # What is computed as well keeps its value where it is left out: so a whole object may be, whatever is in it.
    stays = row["computed"] == "yes" and says[Event.REMOVED] == "none" and row["kind"] not in _PLAIN
    if stays and Event.REMOVED not in on:
        on = [*on, STAYS]
    on = [*on, UNORDERED] if row["kind"].startswith("set") else on
    if not on:
        return None
    whole = row["kind"] in _WHOLE or row["type"].startswith("kubernetes:")
    revision, _, place = row["source"].partition(" ")
    source = place if revision in REVISIONS.values() else row["source"]
    return Rule(type=row["type"], path=path + ".*" * whole, on=" ".join(on), when=when, source=source)


def write(found: Sequence[Rule]) -> None:
    """Write the table anew."""
    with FILE.open("w", encoding="utf-8", newline="") as table:
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(("type", "path", "on", "when", "source"))
        writer.writerows((rule.type, rule.path, rule.on, rule.when, rule.source) for rule in found)


def differences(found: Sequence[Rule]) -> list[str]:
    """Say where the table and the answers differ."""
    old, new = ({(rule.type, rule.path): (rule.on, rule.when) for rule in side} for side in (rules(), found))
    return [
        f"{token} {path}: {old.get((token, path))} here, {new.get((token, path))} by the provider"
        for token, path in sorted({*old, *new})
        if old.get((token, path)) != new.get((token, path))
    ]


def main(argv: Sequence[str]) -> int:
    """Write or compare, and tell the counts."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.replace_rules", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("answers", type=Path, help="a CSV file as the docstring says")
    parser.add_argument("--check", action="store_true", help="write nothing, and say what differs")
    arguments = parser.parse_args(argv)
    rows = answers(arguments.answers)
    found = list(made(rows))
    if not arguments.check:
        write(found)
    differing = differences(found) if arguments.check else []
    for line in differing:
        say(line)
    types, asked = {row["type"] for row in rows}, Counter(row["force_new"] for row in rows)
    say(
        f"{len(types)} types, {len(rows)} fields, of which {asked['yes']} cannot be changed and {asked['unknown']} are"
        f" newer than the source; {len(found)} rules, {sum(bool(rule.when) for rule in found)} with a condition,"
        f" {sum(not is_judged(rule) for rule in found)} of those not judged here; {len(differing)} differences"
    )
    return 1 if differing else 0


if __name__ == "__main__":
    run(main)

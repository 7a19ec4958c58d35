"""What replaces a resource, held against the answers of the providers' own code.

ANSWERS names a folder, which docs/real-things.md describes: `table.csv` has what a provider's plan says of each field
of each type, `pairs.jsonl` has whole resources before and after a change, most of prod's own, and
`pairs-answers.jsonl` what the provider's `Diff` says of each.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from preview.diff.compare import Operation, compare
from preview.snapshot import Resource, Snapshot
from preview.values import UNKNOWN, UNKNOWN_SENTINEL
from scripts.replace_rules import answers, differences, made
from tests.real.programs import folder_named

TIER = "replacements"
UNTOLD: Final = {
    "cluster-control-plane: project given: the provider's own": "what the provider takes for its own is not looked at",
    'cluster-system: networkConfig = {"enablePrivateNodes": true}': "what Google fills in is not known",
    "cluster-system: networkConfig.podRange as the API has it": "as above",
    "a2-ultragpu-1g-floor: guestAccelerators emptied": "that none is left of a list is not seen from one that goes",
}
"""Pairs of which this project says another thing than the provider, and why."""


@pytest.fixture(scope="module")
def folder() -> Path:
    return folder_named("ANSWERS", "table.csv, pairs.jsonl and pairs-answers.jsonl (docs/real-things.md)")


def test_the_table_is_what_the_providers_say(folder: Path) -> None:
    rows = answers(folder / "table.csv")
    assert len(rows) > 3000
    assert differences(list(made(rows))) == []


def pairs(folder: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    files = [folder / name for name in ("pairs.jsonl", "pairs-answers.jsonl")]
    asked, said = ([json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] for file in files)
    yield from zip(asked, said, strict=True)


def snapshot(pair: dict[str, Any], side: str) -> Snapshot:
    """Give a stack of the one resource."""
    made = Resource(
        urn=f"urn:pulumi:s::p::{pair['type']}::x",
        type=pair["type"],
        name="x",
        custom=True,
        inputs=known(pair[side]),
        provider="urn:pulumi:s::p::pulumi:providers:gcp::default::1",
        options={"ignoreChanges": pair["ignore"]} if pair.get("ignore") else {},
    )
    return Snapshot(
        project="p", stack="s", preview=True, config={}, secret_keys=frozenset(), resources=(made,), outputs={}
    )


def known(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: known(item) for key, item in value.items()}
    if isinstance(value, list):
        return [known(item) for item in value]
    return UNKNOWN if value == UNKNOWN_SENTINEL else value


def test_every_pair_is_told_as_the_provider_tells_it(folder: Path) -> None:
    other, count = set(), 0
    for pair, said in pairs(folder):
        count += 1
        found = compare(snapshot(pair, "before"), snapshot(pair, "after"), stack="s")
        if bool(found.of(Operation.REPLACE)) is not bool(said["replaces"]):
            other.add(pair["label"])
    assert count > 200
    assert other == set(UNTOLD)

"""The Kubernetes objects of a stack as YAML files, and its Helm releases as values files."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from preview.errors import Refused
from preview.masking import mask
from preview.snapshot import Resource, Snapshot
from preview.values import SHOWN_SECRET, UNKNOWN_SENTINEL, plain

_RELEASE: Final = "kubernetes:helm.sh/v3:Release"
_CHART_FIELDS: Final = ("name", "namespace", "chart", "version", "repositoryOpts", "timeout", "atomic")
_REFERENCE: Final = re.compile("⟦([^⟧]*)⟧")


def check_folder(folder: Path) -> None:
    """Refuse a folder in which manifests would mix with something else."""
    if folder.exists() and not folder.is_dir():
        raise Refused(f"--manifests {folder}: is a file; name a folder that does not exist yet")
    if folder.is_dir() and any(folder.iterdir()):
        raise Refused(f"--manifests {folder}: holds files already; name a folder that is empty or does not exist yet")


def write(folder: Path, snapshots: Sequence[Snapshot]) -> int:
    """Write each object of each stack into its file, all or nothing, and return how many there are.

    Several stacks get a folder each. The files are made in a folder beside and moved in one step.
    """
    check_folder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        count = 0
        for snapshot in snapshots:
            place = unfinished / snapshot.stack if len(snapshots) > 1 else unfinished
            place.mkdir(exist_ok=True)
            for name, text in files(snapshot).items():
                (place / name).write_text(text, encoding="utf-8")
                count += 1
        unfinished.chmod(0o755)
        unfinished.replace(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return count


def files(snapshot: Snapshot) -> dict[str, str]:
    """File names and contents: `<kind>-<namespace>-<name>.yaml`, and `values-<release>.yaml` for a Helm release."""
    named: dict[str, str] = {}
    for resource in snapshot.resources:
        if not resource.custom or resource.package != "kubernetes" or resource.operation == "read":
            continue
        stem, text = (_release if resource.type == _RELEASE else _object)(resource, snapshot.secrets)
        name, number = f"{stem}.yaml", 2
        while name in named:
            name, number = f"{stem}-{number}.yaml", number + 1
        named[name] = text
    return named


def _object(resource: Resource, secrets: frozenset[str]) -> tuple[str, str]:
    content = _shown(resource.inputs, secrets)
    kind = resource.type.rpartition(":")[2]
    metadata = content.get("metadata")
    if isinstance(metadata, dict) and "name" not in metadata and "generateName" not in metadata:
        given = resource.outputs.get("metadata")
        name = given.get("name") if isinstance(given, dict) else None
        content["metadata"] = {"name": name or resource.name, **metadata}
    elif metadata is None:
        given = resource.outputs.get("metadata")
        content["metadata"] = {"name": given.get("name", resource.name) if isinstance(given, dict) else resource.name}
    metadata = content["metadata"] if isinstance(content["metadata"], dict) else {}
    parts = (kind, metadata.get("namespace"), metadata.get("name") or resource.name)
    ordered = {key: content[key] for key in ("apiVersion", "kind", "metadata") if key in content}
    return _stem(parts), _yaml(_heading(resource), ordered | content)


def _release(resource: Resource, secrets: frozenset[str]) -> tuple[str, str]:
    content = _shown(resource.inputs, secrets)
    chart = [f"{key}: {content[key]}" for key in _CHART_FIELDS if key in content]
    values = content.get("values", {})
    name = content.get("name") or resource.name
    return _stem(("values", name)), _yaml([*_heading(resource), "values of a Helm release", *chart], values)


def _heading(resource: Resource) -> list[str]:
    return [f"{resource.name}{f' ({resource.source})' if resource.source else ''}"]


def _shown(value: Mapping[str, Any], secrets: frozenset[str]) -> dict[str, Any]:
    shown: dict[str, Any] = mask(plain(dict(value), secret=_keep_keys), secrets)
    return shown


def _keep_keys(value: Any) -> Any:
    """A secret mapping shows which keys it has: what a Secret offers is no secret, and a reader looks for it."""
    if isinstance(value, dict):
        return {key: _keep_keys(item) for key, item in value.items()}
    return SHOWN_SECRET


def _stem(parts: Sequence[Any]) -> str:
    words = [str(part) for part in parts if part and part != UNKNOWN_SENTINEL]
    joined = "-".join(_REFERENCE.sub(lambda match: match.group(1), word) for word in words)
    return re.sub(r"[^a-z0-9.]+", "-", joined.lower()).strip("-.")[:120] or "object"


def _yaml(heading: Sequence[str], content: Any) -> str:
    comments = "".join(f"# {line}\n" for line in heading)
    return comments + yaml.dump(
        content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=False
    )


class _Dumper(yaml.SafeDumper):
    """Writes lists indented and long texts as blocks, as people do."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        super().increase_indent(flow, False)  # noqa: FBT003

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def unrendered(snapshot: Snapshot) -> Iterator[str]:
    """What a stack has for Kubernetes that cannot be shown as objects, one line each."""
    for resource in snapshot.resources:
        if resource.type.startswith(("kubernetes:helm.sh/v4", "kubernetes:yaml/v2")):
            yield f"{resource.name}: {resource.type} is rendered by the provider, so its objects are not shown"

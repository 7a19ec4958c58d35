"""What charts make of their values, in two revisions: rendered by `helm template`, where helm and charts are there.

Nothing is fetched: a chart is `CHART-VERSION.tgz` in the folder that the call names, or the folder `CHART` in it, where
its version is that one. What is not known yet, and what is secret, is rendered as the words that stand for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import yaml

from preview.diff.values import MISSING, Difference, comparable, differences
from preview.snapshot import Resource
from preview.values import plain

RELEASE: Final = "kubernetes:helm.sh/v3:Release"
SECONDS: Final = 60
KUBERNETES: Final = "1.36.0"
"""In GKE's regular channel since 2026-06-09. Charts look at it, and without it helm takes one of its own.

The minor is one that KEDA (1.34 to 1.36 for 2.21) and Istio (1.32 to 1.37 for 1.31) both support.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendered:
    """What differs between the objects of two renderings, or why it cannot be said."""

    fields: tuple[Difference, ...] = ()
    """Paths begin with the object: `Deployment/keda-operator.spec.replicas`."""
    why_not: str = ""


def compare_charts(before: Resource | None, after: Resource | None, archives: Path) -> Rendered:
    """Render a release as it was and as it will be; None is a revision without it."""
    if shutil.which("helm") is None:
        return Rendered(why_not="helm is not on PATH")
    objects = []
    for release in (before, after):
        found = {} if release is None else _objects(release, archives)
        if isinstance(found, str):
            return Rendered(why_not=found)
        objects.append(found)
    return Rendered(
        fields=tuple(
            one
            for name in sorted({*objects[0], *objects[1]})
            for one in differences(objects[0].get(name, MISSING), objects[1].get(name, MISSING), name)
        )
    )


def _objects(release: Resource, archives: Path) -> dict[str, Any] | str:
    """Render one release; a text is why not."""
    inputs = plain(dict(release.inputs))
    chart, version = str(inputs.get("chart", "")).rpartition("/")[2], inputs.get("version")
    archive = archives / f"{chart}-{version}.tgz"
    if not archive.is_file():
        archive = archives / chart
        if not chart or _version(archive) != str(version):
            return f"there is no {chart}-{version}.tgz"
    with TemporaryDirectory() as holder:
        values = Path(holder) / "values.yaml"
        values.write_text(yaml.safe_dump(inputs.get("values") or {}), encoding="utf-8")
        command = ["helm", "template", str(inputs.get("name") or release.name), str(archive), "--values", str(values)]
        command += ["--namespace", str(inputs.get("namespace") or "default"), "--include-crds"]
        command += ["--kube-version", KUBERNETES]
        try:
            done = subprocess.run(  # noqa: S603 - no shell; what it renders is data
                command, capture_output=True, text=True, timeout=SECONDS, check=False, env=_environment(holder)
            )
        except subprocess.TimeoutExpired:
            return f"helm template {chart} took longer than {SECONDS} seconds"
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("Error:")]
        return f"helm template {chart}: {(said or ['it failed'])[0]}"
    found: dict[str, Any] = {}
    for document in yaml.load_all(done.stdout, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(document, Mapping) and document.get("kind"):
            name = document.get("metadata", {}).get("name", "")
            found[f"{document['kind']}/{name}"] = comparable(dict(document))
    return found


def _version(folder: Path) -> str:
    """Read the version of a chart that is a folder; empty where it is none."""
    try:
        found = yaml.safe_load((folder / "Chart.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return ""
    return str(found.get("version", "")) if isinstance(found, dict) else ""


def _environment(home: str) -> dict[str, str]:
    """Helm reads no configuration, plugin or credential of whoever calls."""
    return {"PATH": os.environ.get("PATH", ""), "HOME": home, "HELM_NO_PLUGINS": "1"}

"""What Helm makes of the recorded releases, with the charts in the folder that CHARTS names."""

import copy
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import yaml

from preview.diff.charts import KUBERNETES
from tests.real.kubernetes_yaml import load_all
from tests.real.programs import folder_named, need
from tests.real.rendered import STACKS, Release, releases

CHARTS: Final = (
    "one folder for each chart, named as the chart, as `helm pull --untar REPOSITORY/CHART --version V` makes it"
)

ECHOES: Final = ("istiod/templates/configmap-values.yaml",)
"""Templates that only write the values down, so that every key would seem to do something."""

_RANDOM: Final = re.compile(r"^ *(admin-password|checksum/secret):.*$", re.MULTILINE)
"""What Grafana's chart draws anew in each render where it is given no password."""

Way = tuple[str | int, ...]


def distinct() -> dict[str, Release]:
    """Every release of every stack, once where stacks agree on it, by stacks and name."""
    found: dict[str, tuple[list[str], Release]] = {}
    for stack in STACKS:
        for release in releases(stack).values():
            content = json.dumps(asdict(release), sort_keys=True)
            found.setdefault(content, ([], release))[0].append(stack)
    return {f"{release.name}-{'+'.join(stacks)}": release for stacks, release in found.values()}


def chart_of(release: Release) -> Path:
    """Return the folder of a release's chart; skips where there is none."""
    return folder_named("CHARTS", CHARTS) / release.chart


def about(release: Release) -> dict[str, Any]:
    """Read the chart's Chart.yaml."""
    read: dict[str, Any] = yaml.safe_load((chart_of(release) / "Chart.yaml").read_text(encoding="utf-8"))
    return read


def template(
    release: Release, values: Mapping[str, Any], *, crds: bool, kubernetes: str = KUBERNETES
) -> tuple[str, str]:
    """Render a chart, and return what Helm wrote and what it said: nothing and an error where it refused."""
    options = ["--namespace", release.namespace, "--kube-version", kubernetes, "--values", "-"]
    options.append("--include-crds" if crds else "--skip-crds")
    return _template(chart_of(release), release.name, json.dumps(values), tuple(options))


@lru_cache(maxsize=512)
def _template(chart: Path, name: str, values: str, options: tuple[str, ...]) -> tuple[str, str]:
    done = _helm(["template", name, str(chart), *options], values)
    return (done.stdout if done.returncode == 0 else ""), done.stderr.strip()


def _helm(arguments: list[str], values: str) -> subprocess.CompletedProcess[str]:
    # Nothing of the user's: neither repositories nor plugins.
    folder = tempfile.gettempdir()
    own = {f"HELM_{kind}_HOME": f"{folder}/no-helm-{kind.lower()}" for kind in ("CONFIG", "DATA", "CACHE")}
    return subprocess.run(
        [need("helm"), *arguments], input=values, capture_output=True, text=True, check=False, env=os.environ | own
    )


@cache
def _rendered(stack: str, name: str) -> tuple[dict[str, Any], ...]:
    release = releases(stack)[name]
    text, said = template(release, release.values, crds=not release.skip_crds)
    assert text, said
    return tuple(load_all(text))


def rendered(stack: str, name: str) -> tuple[dict[str, Any], ...]:
    """The objects that a release of a stack makes, definitions of custom resources included."""
    return _rendered(stack, name)


def everything(stack: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of all releases of a stack with the release's name, hooks and tests of Helm left out."""
    for name in releases(stack):
        for manifest in rendered(stack, name):
            if "helm.sh/hook" not in (manifest["metadata"].get("annotations") or {}):
                yield name, manifest


def comparable(text: str) -> list[str]:
    """Cut a render into its objects, without those that only write the values down and without what is random."""
    parts = text.split("\n---\n")
    return sorted(_RANDOM.sub("", part) for part in parts if not any(f"# Source: {name}" in part for name in ECHOES))


def leaves(values: Any, path: Way = ()) -> Iterator[Way]:
    """Yield the way to every single value."""
    if isinstance(values, dict) and values:
        for key, item in values.items():
            yield from leaves(item, (*path, key))
    elif isinstance(values, list) and any(isinstance(item, dict) for item in values):
        for number, item in enumerate(values):
            yield from leaves(item, (*path, number))
    else:
        yield path


def without(values: Mapping[str, Any], path: Way) -> dict[str, Any]:
    """Leave one value out."""
    changed: dict[str, Any] = copy.deepcopy(dict(values))
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return changed


def without_effect(release: Release, values: Mapping[str, Any]) -> list[str]:
    """Name every value that could be left out and nothing would change: misspelt, or the chart's own default.

    A value whose absence the chart refuses has an effect.
    """
    text, said = template(release, values, crds=False)
    assert text, said
    full = comparable(text)
    return [
        _name(way)
        for way in leaves(values)
        if comparable(template(release, without(values, way), crds=False)[0]) == full
    ]


def passed_through(release: Release) -> list[str]:
    """Name every key that could be misspelt and would still reach an object: somebody else has to judge it.

    Every other one, misspelt, is refused by the chart or does what leaving it out does, so that it has no effect.
    """
    found = []
    for way in sorted({path[: end + 1] for path in leaves(release.values) for end in range(len(path))}, key=_name):
        if isinstance(way[-1], int):
            continue
        absent = without(release.values, way)
        text = template(release, misspelt(release.values, way), crds=False)[0]
        if text and comparable(text) != comparable(template(release, absent, crds=False)[0]):
            found.append(_name(way))
    return found


def misspelt(values: Mapping[str, Any], way: Way) -> dict[str, Any]:
    """Write one key with a letter too many."""
    changed = without(values, way)
    new: Any = changed
    old: Any = values
    for key in way[:-1]:
        new, old = new[key], old[key]
    new[f"{way[-1]}x"] = old[way[-1]]
    return changed


def _name(way: Way) -> str:
    return ".".join(map(str, way))

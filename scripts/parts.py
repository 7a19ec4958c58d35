"""Whether what the platform is made of is still where versions.py says: each chart, and each image that is public."""

import urllib.error
from collections.abc import Iterator
from http.client import HTTPException

import yaml

import versions
from planning.images import Image
from scripts import registries
from scripts.asking import Outcome, Site, not_asked, ok, problem

NO_ANSWER = (OSError, HTTPException, LookupError, TypeError, ValueError, AttributeError, yaml.YAMLError)
"""Nobody there, and answers that are none: a page to log in at, say."""


def charts(_site: Site) -> Iterator[Outcome]:
    """Find charts that their repository does not list any more."""
    for repository in dict.fromkeys(chart.repository for chart in versions.CHARTS.values()):
        wanted = {name: chart for name, chart in versions.CHARTS.items() if chart.repository == repository}
        try:
            listed = registries.charts_at(repository)
        except urllib.error.HTTPError as error:
            if error.code in {404, 410}:
                names = ", ".join(wanted)
                yield problem(f"{repository} is no chart repository: it answers {error.code}", _move(names))
            else:
                yield not_asked(f"{repository} answers {error.code}")
            continue
        except NO_ANSWER as error:
            yield not_asked(f"{repository}: {_why(error)}")
            continue
        for name, chart in wanted.items():
            if chart.version in listed.get(chart.name, ()):
                yield ok(f"{chart.name} {chart.version} is at {repository}")
            else:
                there = ", ".join(listed.get(chart.name, ())[:3]) or "no version of it"
                yield problem(f"{repository} has no {chart.name} {chart.version}, but {there}", _move(name))


def images(site: Site) -> Iterator[Outcome]:
    """Find images that their registry does not give to somebody without a login any more."""
    engines = set(versions.ENGINE_IMAGES.values())
    names = {reference: name for name, reference in versions.IMAGES.items() if reference not in engines}
    names |= dict.fromkeys(versions.ISTIO_IMAGES, "ISTIOD")
    for model in site.plan.models:
        for version in model.versions:
            if version.image.upstream is not None:
                names.setdefault(_written(version.image), f"the image of {model.name}")
    for reference, whose in names.items():
        try:
            registries.manifest_of(reference)
        except urllib.error.HTTPError as error:
            if error.code in {401, 404, 410}:
                yield problem(
                    f"{reference} is not there, or not public: its registry answers {error.code}", _move(whose)
                )
            else:
                yield not_asked(f"{reference}: its registry answers {error.code}")
        except NO_ANSWER as error:
            yield not_asked(f"{reference}: {_why(error)}")
        else:
            yield ok(f"{reference} is there")


def _written(image: Image) -> str:
    """An image of a public registry as a person writes it."""
    return f"{image.upstream}/{image.reference.partition(f'/{image.repository}/')[2]}"


def _move(what: str) -> str:
    place = "Pulumi.STACK.yaml" if what.startswith("the image of") else "versions.py"
    return f"move {what} in {place} to one that is there; catalog/retired_hosts.csv knows where hosts went"


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"it cannot be reached ({getattr(error, 'reason', None) or type(error).__name__})"
    return f"the answer has another form than expected ({type(error).__name__})"

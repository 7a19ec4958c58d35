"""Rules for what runs: images and revisions that cannot change under one's hands, weights that are no programs."""

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Final

from planning.policies import Policy
from policy.rules.place import NotKnown, Place
from policy.rules.plain_secrets import RELEASE
from policy.rules.rule import Facts, Finding, Rule, Seen, Violation, judged
from policy.rules.workload import Pods, gpus_of, pods_of, variable, words

IN_THE_NODE: Final[Mapping[str, str]] = {
    "cos-nvidia-installer:fixed": "it is a part of the node's own image, in no registry, and is never pulled",
}
"""Images that have no digest to be pinned by, and why; only with imagePullPolicy Never."""

DIGEST: Final = re.compile(r".+@sha256:[0-9a-f]{64}")
CHART_VERSION: Final = re.compile(r"v?\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?")
COMMIT: Final = re.compile(r"[0-9a-f]{40}")
REPOSITORY: Final = re.compile(r"[\w.-]+/[\w.-]+")
"""A model on Hugging Face; a path begins with a slash."""
STORED: Final = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}")
WEIGHTS: Final = "llmserve/weights"
"""The annotation of a Job that brings a revision into the bucket."""
BUCKETS: Final = "gcsfuse.csi.storage.gke.io"
PICKLES: Final = ("npcache", "pt")
"""Load formats of vLLM that read pickles, which may hold any program; `auto` takes one where there is nothing else.

torch's own guard, weights_only, was broken before: https://nvd.nist.gov/vuln/detail/CVE-2025-32434
"""
OFF: Final = ("", "0", "false", "no", "off")


def images_pinned(resource: Seen, _: Facts) -> Iterator[Finding]:
    """Yield images without a digest, and charts without an exact version."""
    pods = pods_of(resource)
    if pods is not None:
        yield from judged(_images(pods))
    elif resource.type == RELEASE:
        yield from judged(_chart(resource.place["version"]))


def _images(pods: Pods) -> Iterator[Finding]:
    for container in pods.containers():
        yield from judged(_image(container))


def _image(container: Place) -> Iterator[Finding]:
    place = container["image"]
    if place.text in IN_THE_NODE and container["imagePullPolicy"].text == "Never":
        return
    if not DIGEST.fullmatch(place.text):
        yield Violation(message=f"{place.path} has no digest")


def _chart(version: Place) -> Iterator[Finding]:
    if not CHART_VERSION.fullmatch(version.text):
        yield Violation(message=f"{version.path} is no exact version")


def revisions_pinned(resource: Seen, _: Facts) -> Iterator[Finding]:
    """Yield models that are fetched from the hub without a commit."""
    pods = pods_of(resource)
    if pods is None:
        return
    yield from judged(_brought(resource))
    yield from judged(_fetched(pods))


def _brought(resource: Seen) -> Iterator[Finding]:
    place = resource.place.at("metadata", "annotations", WEIGHTS)
    if place.value is not None and not STORED.fullmatch(place.text):
        yield Violation(message=f"{place.path} names no commit")


def _fetched(pods: Pods) -> Iterator[Finding]:
    for container in pods.containers():
        yield from judged(_revision(container))


def _revision(container: Place) -> Iterator[Finding]:
    model = variable(container, "MODEL_ID")
    if REPOSITORY.fullmatch(model["value"].text):
        revision = variable(container, "REVISION")
        if not COMMIT.fullmatch(revision["value"].text):
            yield Violation(message=f"{model.path} is a model of the hub, and the variable REVISION is no commit")
    served = _served(container)
    if served is not None and REPOSITORY.fullmatch(served.text):
        argument = _option(container, "--revision")
        if argument is None or not COMMIT.fullmatch(argument):
            yield Violation(message=f"{served.path} is a model of the hub, and the argument --revision is no commit")


def _served(container: Place) -> Place | None:
    """Find what vLLM serves: the first argument of a container with GPUs, or of `vllm serve`. Raises NotKnown."""
    given = [word for word in words(container) if word.text not in ("vllm", "serve")]
    named = next((word for word in given if word.text.startswith("--model=")), None)
    if named is not None:
        return Place(named.text.removeprefix("--model="), named.path)
    for place, following in pairwise(given):
        if place.text == "--model":
            return following
    is_engine = any(word.text.partition("=")[0] in ("--tensor-parallel-size", "--served-model-name") for word in given)
    return given[0] if given and is_engine and not given[0].text.startswith("-") else None


def _option(container: Place, name: str) -> str | None:
    """Find what an option of the command line is set to. Raises NotKnown where a word is not known."""
    given = [word.text for word in words(container)]
    for place, word in enumerate(given):
        if word.startswith(f"{name}="):
            return word.removeprefix(f"{name}=")
        if word == name:
            return given[place + 1] if place + 1 < len(given) else ""
    return None


def safetensors_only(resource: Seen, _: Facts) -> Iterator[Finding]:
    """Yield engines that read pickles; what only the hub or an image knows is not judged."""
    pods = pods_of(resource)
    if pods is not None:
        yield from judged(_formats(pods))


def _formats(pods: Pods) -> Iterator[Finding]:
    for container in pods.containers():
        if gpus_of(container):
            yield from judged(_format(container, pods))


def _format(container: Place, pods: Pods) -> Iterator[Finding]:
    load_format = _option(container, "--load-format")
    if load_format in PICKLES:
        yield Violation(message=f"{container.path}: the argument --load-format reads pickles")
        return
    model, served = variable(container, "MODEL_ID"), _served(container)
    source = model["value"] if model.value is not None else served
    if load_format == "safetensors":
        return
    if source is not None and source.text.startswith("/"):
        volumes = [volume for volume in pods.spec["volumes"].each() if volume.at("csi", "driver").text == BUCKETS]
        if volumes:
            # What fills the bucket takes nothing else: components/in_pod/fill_weights.py.
            return
    where = "in its image" if source is None else "on the hub"
    raise NotKnown(f"{container.path}: whether its weights are safetensors is known {where} alone")


def no_remote_code(resource: Seen, _: Facts) -> Iterator[Finding]:
    """Yield engines that run programs out of a model's repository."""
    pods = pods_of(resource)
    if pods is not None:
        yield from judged(_trusting(pods))


def _trusting(pods: Pods) -> Iterator[Finding]:
    for container in pods.containers():
        yield from judged(_trust_by_variable(container))
        for word in words(container):
            yield from judged(_trust_by_argument(word))


def _trust_by_variable(container: Place) -> Iterator[Finding]:
    entry = variable(container, "TRUST_REMOTE_CODE")
    if entry["valueFrom"].value is not None:
        raise NotKnown(entry["valueFrom"].path)
    if entry["value"].text.lower() not in OFF:
        yield Violation(message=f"{entry.path} is on")


def _trust_by_argument(word: Place) -> Iterator[Finding]:
    name, _, value = word.text.partition("=")
    if name in ("--trust-remote-code", "--trust_remote_code") and (not value or value.lower() not in OFF):
        yield Violation(message=f"{word.path} is on")


RULES: Final = (
    Rule(
        name=Policy.IMAGES_PINNED,
        what="Images are pinned by digest, charts by version.",
        why="a tag can be moved, and a node that comes up tomorrow then runs something that nobody tried.",
        fix="make pin ARGS=--write where there is a network, which writes digests into versions.py; an image of your"
        " own as name:tag@sha256:DIGEST.",
        of_resource=images_pinned,
    ),
    Rule(
        name=Policy.REVISIONS_PINNED,
        what="Models of the hub are pinned by commit.",
        why="whoever may push to a repository would choose what your replicas serve from their next start on.",
        fix="models[].revision: git ls-remote https://huggingface.co/REPOSITORY HEAD.",
        of_resource=revisions_pinned,
    ),
    Rule(
        name=Policy.SAFETENSORS_ONLY,
        what="Weights are safetensors.",
        why="every other common format is a pickle, which can hold a program that runs while it is loaded.",
        fix="a repository with safetensors; weightsFrom: bucket takes nothing else and can be judged here.",
        of_resource=safetensors_only,
    ),
    Rule(
        name=Policy.NO_REMOTE_CODE,
        what="No engine runs code out of a model's repository.",
        why="it would run with the engine's rights, its token among them.",
        fix="take TRUST_REMOTE_CODE or --trust-remote-code out; a model that needs it needs an image of your own with"
        " that code in it, read.",
        of_resource=no_remote_code,
    ),
)

"""`make pin`: look up the digest of every image and the commit of every model that is only named, not pinned.

Models: https://huggingface.co/docs/hub/api; HF_ENDPOINT names another hub, as in Hugging Face's own tools.
"""

import argparse
import json
import os
import re
import runpy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from scripts import registries
from scripts.terminal import OperationError, run, say

VERSIONS = Path("versions.py")


def digest_of(reference: str) -> str:
    """Return the digest of the image `registry/repository:tag`, as its registry gives it without a login.

    Raises OSError where the registry cannot be asked, OperationError where it gives no digest.
    """
    host, answered = reference.partition("/")[0], registries.manifest_of(reference)
    digest = answered.get("Docker-Content-Digest", "")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise OperationError(f"{host} gave no digest for {reference}")
    return digest


def commit_of(repository: str) -> str:
    """Return a model's newest commit on the Hugging Face hub. Raises OSError where it cannot be asked."""
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    return str(json.loads(registries.request(f"{hub}/api/models/{repository}/revision/main", {})[1])["sha"])


def unpinned_images() -> Iterator[tuple[str, str]]:
    """Give constant and reference of each image of versions.py that has no digest."""
    images: Mapping[str, str] = runpy.run_path(str(VERSIONS))["IMAGES"]
    return ((constant, image) for constant, image in images.items() if "@sha256:" not in image)


def unpinned_models() -> Iterator[tuple[str, str, str]]:
    """Give stack, configuration path and repository of each model without a commit: it runs the newest."""
    for file in sorted(Path().glob("Pulumi.*.yaml")):
        document: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        for index, model in enumerate(document.get("config", {}).get("llmserve:models", [])):
            versions = model.get("rollout", {}).get("versions", [{}])
            every_version_pinned = all("revision" in version for version in versions)
            if "repository" in model and "revision" not in model and not every_version_pinned:
                yield file.name.split(".")[1], f"llmserve:models[{index}].revision", model["repository"]


def main(argv: Sequence[str]) -> int:
    """Print what to write, or write versions.py with --write; exit 1 without a network, nothing changed."""
    parser = argparse.ArgumentParser(prog="scripts.pin", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help="write the digests into versions.py")
    arguments = parser.parse_args(argv)
    looked_up: dict[str, str] = {}
    lines: list[str] = []
    asked = ""
    try:
        for constant, image in unpinned_images():
            asked = image
            looked_up[image] = f"{image}@{digest_of(image)}"
            lines.append(f'{constant} = "{looked_up[image]}"')
        for stack, path, repository in unpinned_models():
            asked = repository
            lines.append(f"pulumi config set --stack {stack} --path '{path}' {commit_of(repository)}")
    except OSError as error:
        say(f"{asked} could not be looked up ({error}); nothing was changed")
        return 1
    say("\n".join(lines) or "everything is pinned")
    if arguments.write and looked_up:
        text = VERSIONS.read_text(encoding="utf-8")
        for image, pinned in looked_up.items():
            if f'"{image}"' not in text:
                raise OperationError(f'{VERSIONS} does not hold "{image}" as one string: write the line above by hand')
            text = text.replace(f'"{image}"', f'"{pinned}"')
        VERSIONS.write_text(text, encoding="utf-8")
        say(f"{VERSIONS} is written")
    return 0


if __name__ == "__main__":
    run(main)

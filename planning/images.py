"""Where a model's image is pulled from: Artifact Registry, since GKE's image streaming reads nothing else.

https://docs.cloud.google.com/kubernetes-engine/docs/how-to/image-streaming
"""

import re
from dataclasses import dataclass

OWN = "images"
"""The short name of the stack's own repository."""

DOCKER_HUB = "docker.io"
"""The registry that always has a remote repository: charts pull from it, sidecars on every GPU node among them."""

_REFERENCE = re.compile(
    r"^(?P<path>[a-z0-9][a-z0-9.-]*(?::\d+(?=/))?(?:/[a-z0-9][a-z0-9._-]*)*)"
    r"(?P<tag>:[\w][\w.-]{0,127})?(?P<digest>@sha256:[0-9a-f]{64})?$"
)
_GOOGLE = re.compile(r"(^|\.)gcr\.io$|-docker\.pkg\.dev$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """One image as it is pulled.

    `reference` is what the pod names. `repository` is the stack's Artifact Registry repository that it comes through
    and `upstream` the public registry behind that; both are None where Google's own registry serves the image.
    """

    reference: str
    repository: str | None
    upstream: str | None
    pinned: bool
    pin_command: str


def docker_hub(*, name: str, project: str, region: str) -> tuple[str, str]:
    """Give the remote repository's id for Docker Hub, and the address that stands for `docker.io` in an image.

    Docker Hub counts what an address pulls without an account, and all nodes of the cluster have their NAT's:
    https://docs.docker.com/docker-hub/usage/pulls/
    """
    any_image = resolve(f"{DOCKER_HUB}/any/image:any", name=name, project=project, region=region)
    return any_image.repository or "", any_image.reference.removesuffix("/any/image:any")


def resolve(image: str, *, name: str, project: str, region: str) -> Image:
    """Rewrite an image as a person writes it into one that the cluster pulls.

    Without a registry's host it is in the stack's own repository; with one it comes through a remote repository of the
    stack. Raises ValueError where it is neither tagged nor pinned, or not an image reference at all.
    """
    match = _REFERENCE.match(image)
    if not match:
        raise ValueError("is not an image reference")
    path, tag, digest = match["path"], match["tag"] or "", match["digest"] or ""
    if not tag and not digest:
        raise ValueError("has neither a tag nor a digest: it would run whatever is newest")
    host, _, rest = path.partition("/")
    registry = f"{region}-docker.pkg.dev/{project}"
    pin = f"docker buildx imagetools inspect {image} --format '{{{{.Manifest.Digest}}}}'"
    if not rest or ("." not in host and ":" not in host):
        repository, upstream, reference = (
            f"{name}-{OWN}",
            None,
            f"{registry}/{name}-{OWN}/{path}{tag}{digest}",
        )
        pin = f"gcloud artifacts docker images describe {reference} --format='value(image_summary.digest)'"
        return Image(
            reference=reference,
            repository=repository,
            upstream=upstream,
            pinned=bool(digest),
            pin_command=pin,
        )
    if _GOOGLE.search(host):
        return Image(reference=image, repository=None, upstream=None, pinned=bool(digest), pin_command=pin)
    repository = f"{name}-{re.sub(r'[^a-z0-9]+', '-', host)}"
    return Image(
        reference=f"{registry}/{repository}/{rest}{tag}{digest}",
        repository=repository,
        upstream=host,
        pinned=bool(digest),
        pin_command=pin,
    )

"""Where the cluster's images come from."""

import pulumi
import pulumi_gcp as gcp

from planning.plan import Plan

UPSTREAM_URI = {"docker.io": "https://registry-1.docker.io"}
"""Public registries that answer at another address than the one in their images' names."""


class ImageRegistry(pulumi.ComponentResource):
    """One repository for your own images, a remote one for Docker Hub and one for each registry of a model's image.

    Image streaming reads Artifact Registry only, and a remote repository keeps serving an image that its public
    registry has lost. It builds and copies nothing: a remote repository fetches an image when it is first asked for.
    What charts pull from Docker Hub comes through it as well, since that counts pulls by address, and a sidecar is
    pulled on each new node. Their other images are pulled from their public registries through the NAT.
    """

    repositories: list[gcp.artifactregistry.Repository]
    """Every repository that a node must be able to read."""

    def __init__(self, name: str, plan: Plan, opts: pulumi.ResourceOptions | None = None) -> None:
        """Make the repositories in the stack's region, where pulling is free."""
        super().__init__("llmserve:index:ImageRegistry", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.repositories = [
            gcp.artifactregistry.Repository(
                f"{name}-own",
                repository_id=plan.own_repository,
                location=plan.stack.region,
                format="DOCKER",
                description="Images of your own models",
                # The one thing here that nobody could fetch again.
                opts=pulumi.ResourceOptions(parent=self, protect=plan.stack.deletion_protection),
            )
        ]
        for repository, upstream in plan.upstreams.items():
            self.repositories.append(
                gcp.artifactregistry.Repository(
                    f"{name}-{upstream.replace('.', '-')}",
                    repository_id=repository,
                    location=plan.stack.region,
                    format="DOCKER",
                    mode="REMOTE_REPOSITORY",
                    description=f"Images of {upstream}, fetched when first asked for",
                    remote_repository_config=gcp.artifactregistry.RepositoryRemoteRepositoryConfigArgs(
                        common_repository=gcp.artifactregistry.RepositoryRemoteRepositoryConfigCommonRepositoryArgs(
                            uri=UPSTREAM_URI.get(upstream, f"https://{upstream}")
                        )
                    ),
                    opts=child,
                )
            )
        self.register_outputs({"repositories": [repository.name for repository in self.repositories]})

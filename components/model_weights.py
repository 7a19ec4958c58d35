"""Who fills the bucket, who reads it, and the Jobs that bring each revision into it."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as k8s

from components import weights_mount
from components.handover import Handover
from components.hugging_face_token import KEY
from components.identity import principal
from planning.serving import ModelPlan
from planning.weights import WRITER, Fill

SCRATCH_VOLUME, SCRATCH = "scratch", "/scratch"
RETRIES = 1000
"""Three days and more, five minutes apart in the end: a Job that has given up is not made again by an update."""


class ModelWeights(pulumi.ComponentResource):
    """A Job for each revision, once; its account, which alone may write; and for each model the right to read.

    A Job is never changed: what it runs is in its name, and a new one finds the marker of the old one and ends. It
    takes no GPU, and no update waits for it: the pods that need its weights do. It deletes nothing.
    """

    ready: list[pulumi.Resource]
    """The rights to read."""

    def __init__(
        self,
        name: str,
        fills: Sequence[Fill],
        models: Sequence[ModelPlan],
        handover: Handover,
        *,
        project: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Fill the bucket for these models, which lies in this project."""
        super().__init__("llmserve:index:ModelWeights", name, None, opts)
        after_platform = pulumi.ResourceOptions(parent=self, depends_on=list(handover.ready))
        [bucket] = {fill.weights.bucket for fill in fills}
        account = k8s.core.v1.ServiceAccount(
            f"{name}-writer",
            metadata=k8s.meta.v1.ObjectMetaArgs(name=WRITER, namespace=handover.namespace),
            automount_service_account_token=False,
            opts=after_platform,
        )
        write = gcp.storage.BucketIAMMember(
            f"{name}-write",
            bucket=bucket,
            role="roles/storage.objectUser",
            member=principal(project, handover.namespace, WRITER, self),
            opts=after_platform,
        )
        self.ready = [
            gcp.storage.BucketIAMMember(
                f"{name}-read-{model.name}",
                bucket=bucket,
                role="roles/storage.objectViewer",
                # A model's pods run as an account of its own name.
                member=principal(project, handover.namespace, model.name, self),
                opts=after_platform,
            )
            for model in models
            if model.fills
        ]
        for fill in fills:
            spec = job_spec(fill, handover.token_secret)
            k8s.batch.v1.Job(
                f"{name}-{_digest([fill.weights.repository, fill.weights.revision])}",
                metadata=k8s.meta.v1.ObjectMetaArgs(
                    name=job_name(spec),
                    namespace=handover.namespace,
                    annotations={
                        "pulumi.com/skipAwait": "true",
                        "llmserve/weights": f"{fill.weights.repository}@{fill.weights.revision}",
                    },
                ),
                spec=spec,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[*handover.ready, account, write]),
            )
        self.register_outputs({"bucket": bucket})


def job_name(spec: k8s.batch.v1.JobSpecArgs) -> str:
    """Name a Job by what it runs: a Job's template cannot be changed, so another one needs another name."""
    return f"{WRITER}-{_digest(_plain(spec))}"


def job_spec(fill: Fill, token_secret: str | None) -> k8s.batch.v1.JobSpecArgs:
    """Say how a revision is brought into the bucket, with the token of this Secret."""
    weights = fill.weights
    script = (weights_mount.SCRIPTS / "fill_weights.py").read_text(encoding="utf-8")
    variables = [
        k8s.core.v1.EnvVarArgs(name="HF_HOME", value=f"{SCRATCH}/home"),
        # It would keep up to 10 GB of what it has fetched, for nobody.
        k8s.core.v1.EnvVarArgs(name="HF_HUB_DISABLE_XET", value="1"),
    ]
    if token_secret is not None:
        reference = k8s.core.v1.SecretKeySelectorArgs(name=token_secret, key=KEY)
        source = k8s.core.v1.EnvVarSourceArgs(secret_key_ref=reference)
        variables.append(k8s.core.v1.EnvVarArgs(name=KEY, value_from=source))
    return k8s.batch.v1.JobSpecArgs(
        backoff_limit=RETRIES,
        template=k8s.core.v1.PodTemplateSpecArgs(
            metadata=k8s.meta.v1.ObjectMetaArgs(
                labels={"app.kubernetes.io/component": WRITER, "sidecar.istio.io/inject": "false"},
                annotations=weights_mount.annotations()
                # A node may be taken for empty while this runs; hours of fetching would begin again.
                | {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
            ),
            spec=k8s.core.v1.PodSpecArgs(
                service_account_name=WRITER,
                automount_service_account_token=False,
                enable_service_links=False,
                # In the same pod, whose disk still has what was fetched. GPU nodes are tainted: it is on a system node.
                restart_policy="OnFailure",
                containers=[
                    k8s.core.v1.ContainerArgs(
                        name="fill",
                        image=fill.image.reference,
                        command=[
                            *("python3", "-c", script),
                            *(weights.repository, weights.revision, SCRATCH, weights.path, weights.marker),
                        ],
                        env=variables,
                        resources=k8s.core.v1.ResourceRequirementsArgs(
                            requests={"cpu": "1", "memory": "2Gi", "ephemeral-storage": "1Gi"},
                            limits={"memory": "4Gi", "ephemeral-storage": "1Gi"},
                        ),
                        volume_mounts=[
                            weights_mount.mount(weights, read_only=False),
                            k8s.core.v1.VolumeMountArgs(name=SCRATCH_VOLUME, mount_path=SCRATCH),
                        ],
                        # As root, for TGI's image; what it mounts is root's too.
                        security_context=k8s.core.v1.SecurityContextArgs(
                            run_as_user=0,
                            allow_privilege_escalation=False,
                            capabilities=k8s.core.v1.CapabilitiesArgs(drop=["ALL"]),
                            seccomp_profile=k8s.core.v1.SeccompProfileArgs(type="RuntimeDefault"),
                        ),
                    )
                ],
                volumes=[
                    weights_mount.folder(weights, weights_mount.WRITE_OPTIONS, read_only=False),
                    # A disk that goes with the pod: a system node's own does not hold a large model.
                    k8s.core.v1.VolumeArgs(
                        name=SCRATCH_VOLUME,
                        ephemeral=k8s.core.v1.EphemeralVolumeSourceArgs(
                            volume_claim_template=k8s.core.v1.PersistentVolumeClaimTemplateArgs(
                                spec=k8s.core.v1.PersistentVolumeClaimSpecArgs(
                                    access_modes=["ReadWriteOnce"],
                                    storage_class_name="standard-rwo",
                                    resources=k8s.core.v1.VolumeResourceRequirementsArgs(
                                        requests={"storage": f"{fill.scratch_gib}Gi"}
                                    ),
                                )
                            )
                        ),
                    ),
                ],
            ),
        ),
    )


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    """Turn Args, whose values are all plain here, into what JSON has; a value that is not known stays, and fails."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if hasattr(value, "__dict__") and not isinstance(value, pulumi.Output):
        return _plain(vars(value))
    return value

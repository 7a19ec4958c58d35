"""What is left of pods whose node was called back: swept up, because GKE keeps it."""

import pulumi
import pulumi_kubernetes as k8s

import versions
from components.model_namespace import SERVER_LABELS

NAME = "failed-pods"
SCHEDULE = "17 * * * *"
"""Once an hour: long enough to look at one that is not a preemption's, far from the 1,000 at which GKE begins."""

_NOBODY = 65532


class FailedPods(pulumi.ComponentResource):
    """A CronJob that deletes the model pods that have ended and failed, one after each lost spot node.

    Kubernetes replaces such a pod and keeps the old one; below 100 nodes GKE deletes none before there are 1,000:
    https://docs.cloud.google.com/kubernetes-engine/docs/how-to/preemptible-vms

    It asks for no pod that lives, and for none that is not a model's: what a failed Job says stays. Its right is wider
    than what it asks for, since a Role can name neither a phase nor a label: to list and delete pods, in this one
    namespace. No sidecar, no GPU node, and nothing of Google Cloud.
    """

    ready: pulumi.Resource
    """The CronJob."""

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        namespace_ready: pulumi.Resource,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Sweep the models' namespace."""
        super().__init__("llmserve:index:FailedPods", name, None, opts)
        metadata = k8s.meta.v1.ObjectMetaArgs(name=NAME, namespace=namespace)
        in_namespace = pulumi.ResourceOptions(parent=self, depends_on=[namespace_ready])
        account = k8s.core.v1.ServiceAccount(
            f"{name}-account", metadata=metadata, automount_service_account_token=False, opts=in_namespace
        )
        role = k8s.rbac.v1.Role(
            f"{name}-role",
            metadata=metadata,
            rules=[k8s.rbac.v1.PolicyRuleArgs(api_groups=[""], resources=["pods"], verbs=["list", "delete"])],
            opts=in_namespace,
        )
        binding = k8s.rbac.v1.RoleBinding(
            f"{name}-binding",
            metadata=metadata,
            role_ref=k8s.rbac.v1.RoleRefArgs(api_group="rbac.authorization.k8s.io", kind="Role", name=NAME),
            subjects=[k8s.rbac.v1.SubjectArgs(kind="ServiceAccount", name=NAME, namespace=namespace)],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[account, role]),
        )
        self.ready = k8s.batch.v1.CronJob(
            f"{name}-sweep",
            metadata=metadata,
            spec=k8s.batch.v1.CronJobSpecArgs(
                schedule=SCHEDULE,
                concurrency_policy="Forbid",
                # Without it a hundred missed hours stop a CronJob for good.
                starting_deadline_seconds=600,
                successful_jobs_history_limit=1,
                failed_jobs_history_limit=1,
                job_template=k8s.batch.v1.JobTemplateSpecArgs(
                    spec=k8s.batch.v1.JobSpecArgs(
                        # The next hour is the next attempt.
                        backoff_limit=0,
                        active_deadline_seconds=300,
                        template=k8s.core.v1.PodTemplateSpecArgs(
                            metadata=k8s.meta.v1.ObjectMetaArgs(
                                labels={"app.kubernetes.io/name": NAME, "sidecar.istio.io/inject": "false"}
                            ),
                            spec=_pod(namespace),
                        ),
                    )
                ),
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[binding]),
        )
        self.register_outputs({"schedule": SCHEDULE})


def _pod(namespace: str) -> k8s.core.v1.PodSpecArgs:
    selector = ",".join(f"{key}={value}" for key, value in SERVER_LABELS.items())
    return k8s.core.v1.PodSpecArgs(
        restart_policy="Never",
        service_account_name=NAME,
        automount_service_account_token=True,
        enable_service_links=False,
        # It tolerates nothing, and every GPU node has a taint: the system nodes are left.
        security_context=k8s.core.v1.PodSecurityContextArgs(
            run_as_non_root=True,
            run_as_user=_NOBODY,
            run_as_group=_NOBODY,
            seccomp_profile=k8s.core.v1.SeccompProfileArgs(type="RuntimeDefault"),
        ),
        containers=[
            k8s.core.v1.ContainerArgs(
                name="kubectl",
                image=versions.KUBECTL_IMAGE.reference,
                args=[
                    "delete",
                    "pods",
                    f"--namespace={namespace}",
                    f"--selector={selector}",
                    "--field-selector=status.phase=Failed",
                    # To wait, kubectl would get and watch each of them, and it may do neither.
                    "--wait=false",
                    "--request-timeout=60s",
                ],
                resources=k8s.core.v1.ResourceRequirementsArgs(
                    requests={"cpu": "20m", "memory": "64Mi", "ephemeral-storage": "16Mi"},
                    limits={"cpu": "500m", "memory": "128Mi", "ephemeral-storage": "32Mi"},
                ),
                security_context=k8s.core.v1.SecurityContextArgs(
                    allow_privilege_escalation=False,
                    read_only_root_filesystem=True,
                    capabilities=k8s.core.v1.CapabilitiesArgs(drop=["ALL"]),
                ),
            )
        ],
    )

"""One model: its Service, and for each version the pods, their disruption budget and their scaling."""

from collections.abc import Sequence

import pulumi
import pulumi_kubernetes as k8s

from components import weights_mount
from components.engines import EngineContainer, container_of
from components.handover import Handover
from components.model_namespace import SERVER_LABELS, WITHOUT_INTERNET
from components.scaled_object import scaled_object
from components.traffic import Traffic
from planning.drain import PRE_STOP_SECONDS
from planning.pools import COMPUTE_CLASS, FLOOR, GPU
from planning.serving import ModelPlan, Version, floor_name

PLACEMENT = "llmserve/placement"
"""Label that tells a version's two Deployments apart: `floor` or `elastic`."""
CAPACITY = "llmserve/capacity"
"""Annotation of a pod template: what it says makes no difference but that a change of it is a rollout."""

SHARED_MEMORY = "2Gi"
"""For NCCL between the shards of one replica, and for vLLM's queue to them; Kubernetes gives a container 64 MiB.

https://github.com/huggingface/text-generation-inference#a-note-on-shared-memory-shm
"""


class ModelServer(pulumi.ComponentResource):
    """A model behind one Service, with one Deployment a version; the gateway shares the traffic among the versions.

    A version with a floor has a second one, with a fixed number of replicas on on-demand nodes. Of the other it sets no
    number: KEDA owns it, from none up. It waits for no GPU, so that an update never hangs on one. It gives its pods no
    Kubernetes API token, and of Google Cloud no right but to read weights.
    """

    host: str
    """The name under which the gateway answers for this model."""

    def __init__(
        self,
        name: str,
        model: ModelPlan,
        handover: Handover,
        *,
        weights: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Make the model's objects in the platform's namespace for models; `weights` are the rights to read them."""
        super().__init__("llmserve:index:ModelServer", name, None, opts)
        after_platform = pulumi.ResourceOptions(parent=self, depends_on=list(handover.ready))
        self.host = model.host
        account = k8s.core.v1.ServiceAccount(
            f"{name}-account",
            metadata=_metadata(model.name, handover),
            automount_service_account_token=False,
            opts=after_platform,
        )
        service = k8s.core.v1.Service(
            f"{name}-service",
            # A model that sleeps has no endpoint, and that is no reason to wait.
            metadata=_metadata(
                model.name, handover, labels={"app": model.name}, annotations={"pulumi.com/skipAwait": "true"}
            ),
            spec=k8s.core.v1.ServiceSpecArgs(
                selector={"app": model.name} | SERVER_LABELS,
                ports=[k8s.core.v1.ServicePortArgs(name="http", app_protocol="http", port=80, target_port="http")],
            ),
            opts=after_platform,
        )
        engines = {
            version.name: container_of(
                model,
                version,
                # Who reads the bucket asks the hub for nothing.
                handover.token_secret if version.weights is None else None,
            )
            for version in model.versions
        }
        for version in model.versions:
            self._deploy(
                f"{name}-{version.name}",
                model,
                version,
                engine=engines[version.name],
                handover=handover,
                needs=[account] if version.weights is None else [account, *weights],
            )
        Traffic(
            f"{name}-traffic",
            model,
            handover,
            metrics_path=engines[model.versions[0].name].metrics_path,
            after=[*handover.ready, service],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"host": self.host})

    def _deploy(
        self,
        name: str,
        model: ModelPlan,
        version: Version,
        *,
        engine: EngineContainer,
        handover: Handover,
        needs: Sequence[pulumi.Resource],
    ) -> None:
        workload = f"{model.name}-{version.name}"
        labels = {"app": model.name, "version": version.name}
        after = [*handover.ready, *needs]
        if version.replicas.floor:
            self._deployment(
                floor_name(name),
                floor_name(workload),
                model,
                version,
                engine=engine,
                handover=handover,
                floor=True,
                opts=pulumi.ResourceOptions(parent=self, depends_on=after),
            )
        elastic = self._deployment(
            name,
            workload,
            model,
            version,
            engine=engine,
            handover=handover,
            floor=False,
            # KEDA owns the replicas: sent again, the 0 would put a model that serves to sleep.
            opts=pulumi.ResourceOptions(parent=self, depends_on=after, ignore_changes=["spec.replicas"]),
        )
        k8s.policy.v1.PodDisruptionBudget(
            f"{name}-disruption",
            metadata=_metadata(workload, handover),
            spec=k8s.policy.v1.PodDisruptionBudgetSpecArgs(
                # Of floor and others together. Not minAvailable: with one replica that would block every node upgrade.
                max_unavailable=1,
                selector=k8s.meta.v1.LabelSelectorArgs(match_labels=labels),
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(handover.ready)),
        )
        scaled_object(
            f"{name}-scaling",
            model,
            version,
            handover=handover,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[elastic]),
        )

    def _deployment(
        self,
        name: str,
        workload: str,
        model: ModelPlan,
        version: Version,
        *,
        engine: EngineContainer,
        handover: Handover,
        floor: bool,
        opts: pulumi.ResourceOptions,
    ) -> k8s.apps.v1.Deployment:
        """Make the Deployment of a version's floor, or the one that KEDA scales."""
        labels = {"app": model.name, "version": version.name, PLACEMENT: "floor" if floor else "elastic"}
        return k8s.apps.v1.Deployment(
            name,
            metadata=_metadata(
                workload,
                handover,
                labels=labels | SERVER_LABELS,
                annotations={"pulumi.com/skipAwait": "true"},
            ),
            spec=k8s.apps.v1.DeploymentSpecArgs(
                replicas=version.replicas.floor if floor else 0,
                revision_history_limit=3,
                progress_deadline_seconds=model.start_deadline_seconds,
                selector=k8s.meta.v1.LabelSelectorArgs(match_labels=labels),
                # The new replica serves before the old one goes: its GPU is one node more, for as long as that takes.
                strategy=k8s.apps.v1.DeploymentStrategyArgs(
                    type="RollingUpdate",
                    rolling_update=k8s.apps.v1.RollingUpdateDeploymentArgs(max_surge=1, max_unavailable=0),
                ),
                template=k8s.core.v1.PodTemplateSpecArgs(
                    metadata=k8s.meta.v1.ObjectMetaArgs(
                        labels=labels | SERVER_LABELS | (WITHOUT_INTERNET if version.weights else {}),
                        annotations=_pod_annotations(model, version, engine, floor=floor),
                    ),
                    spec=_pod(model, version, engine, key=FLOOR if floor else COMPUTE_CLASS),
                ),
            ),
            opts=opts,
        )


def _metadata(
    name: str,
    handover: Handover,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> k8s.meta.v1.ObjectMetaArgs:
    return k8s.meta.v1.ObjectMetaArgs(name=name, namespace=handover.namespace, labels=labels, annotations=annotations)


def _pod_annotations(model: ModelPlan, version: Version, engine: EngineContainer, *, floor: bool) -> dict[str, str]:
    # A changed class moves no pod that runs; a changed template does, one by one. The floor stays where it is.
    moved = {CAPACITY: str(model.moves_with)} if model.moves_with is not None and not floor else {}
    # The driver asks the metadata server who it is, and Envoy does not know that address.
    direct = {"traffic.sidecar.istio.io/excludeOutboundIPRanges": weights_mount.METADATA_SERVER}
    stored = {} if version.weights is None else weights_mount.annotations() | direct
    return (
        moved
        | stored
        | {
            # The sidecar's agent merges the engine's metrics into its own page; nothing scrapes the engine itself.
            "prometheus.io/scrape": "true",
            "prometheus.io/port": str(engine.port),
            "prometheus.io/path": engine.metrics_path,
            # Weights are downloaded past Envoy, which would be slower and is no use there.
            "traffic.sidecar.istio.io/excludeOutboundPorts": "443",
            # A sidecar that Kubernetes stops after the engine: the older kind is stopped with it and cuts its streams.
            "sidecar.istio.io/nativeSidecar": "true",
        }
    )


def _pod(model: ModelPlan, version: Version, engine: EngineContainer, *, key: str) -> k8s.core.v1.PodSpecArgs:
    """Describe a replica; `key` is the label and taint of the nodes that it is for."""
    resources = model.resources
    volumes = {"shared-memory": k8s.core.v1.EmptyDirVolumeSourceArgs(medium="Memory", size_limit=SHARED_MEMORY)}
    mounts = {"shared-memory": "/dev/shm"}  # noqa: S108  (in the pod)
    if engine.cache_path is not None:
        volumes["model-cache"] = k8s.core.v1.EmptyDirVolumeSourceArgs(size_limit=f"{resources.disk_gib}Gi")
        mounts["model-cache"] = engine.cache_path
    volume_mounts = [k8s.core.v1.VolumeMountArgs(name=key, mount_path=path) for key, path in mounts.items()]
    pod_volumes = [k8s.core.v1.VolumeArgs(name=key, empty_dir=source) for key, source in volumes.items()]
    waiting = None
    if (weights := version.weights) is not None:
        waiting = [weights_mount.waiting(weights, image=version.image.reference, security=engine.security)]
        volume_mounts.append(weights_mount.mount(weights, read_only=True))
        pod_volumes += [
            weights_mount.folder(
                weights, weights_mount.READ_OPTIONS, read_only=True, user=engine.user, group=engine.group
            ),
            weights_mount.cache(resources.disk_gib),
        ]
    asked = {
        "cpu": str(resources.cpus),
        "memory": f"{resources.memory_gib}Gi",
        "ephemeral-storage": f"{resources.disk_gib}Gi",
        GPU: str(resources.gpus),
    }
    limits = {key: value for key, value in asked.items() if key != "cpu"}
    health = k8s.core.v1.HTTPGetActionArgs(path=engine.health_path, port="http")
    return k8s.core.v1.PodSpecArgs(
        service_account_name=model.name,
        automount_service_account_token=False,
        # A Service called `prometheus` or `master` would set a variable that TGI's launcher reads as its own flag.
        enable_service_links=False,
        termination_grace_period_seconds=model.drain.grace_seconds,
        # One label for all ways of buying; which of them is the ComputeClass's business.
        node_selector={key: model.machine.machine_type},
        tolerations=[
            k8s.core.v1.TolerationArgs(
                key=key, operator="Equal", value=model.machine.machine_type, effect="NoSchedule"
            ),
            k8s.core.v1.TolerationArgs(key=GPU, operator="Exists", effect="NoSchedule"),
        ],
        topology_spread_constraints=[
            # A preference: the autoscaler does not understand a rule, and a GPU in the wrong zone is still a GPU.
            k8s.core.v1.TopologySpreadConstraintArgs(
                max_skew=1,
                topology_key="topology.kubernetes.io/zone",
                when_unsatisfiable="ScheduleAnyway",
                label_selector=k8s.meta.v1.LabelSelectorArgs(match_labels={"app": model.name}),
            )
        ],
        init_containers=waiting,
        containers=[
            k8s.core.v1.ContainerArgs(
                name="engine",
                image=version.image.reference,
                ports=[k8s.core.v1.ContainerPortArgs(name="http", container_port=engine.port)],
                args=list(engine.arguments) or None,
                env=list(engine.environment),
                resources=k8s.core.v1.ResourceRequirementsArgs(requests=asked, limits=limits),
                volume_mounts=volume_mounts,
                startup_probe=engine.startup,
                # Health is answered by the loop that also computes, so a busy engine is slow to say that it is well.
                readiness_probe=k8s.core.v1.ProbeArgs(
                    http_get=health, period_seconds=10, timeout_seconds=10, failure_threshold=3
                ),
                liveness_probe=k8s.core.v1.ProbeArgs(
                    http_get=health, period_seconds=30, timeout_seconds=10, failure_threshold=10
                ),
                lifecycle=k8s.core.v1.LifecycleArgs(
                    pre_stop=k8s.core.v1.LifecycleHandlerArgs(
                        sleep=k8s.core.v1.SleepActionArgs(seconds=PRE_STOP_SECONDS)
                    )
                ),
                security_context=engine.security,
            )
        ],
        volumes=pod_volumes,
    )

"""The NVIDIA driver on GPU nodes, by Google's DaemonSet.

Fields: GoogleCloudPlatform/container-engine-accelerators, commit 992db812, nvidia-driver-installer/cos/
daemonset-preloaded.yaml and daemonset-preloaded-latest.yaml.
"""

import pulumi
import pulumi_kubernetes as k8s

import versions
from planning.pools import DRIVER_AFFINITY

NAME = "nvidia-driver-installer"

_HOST_PATHS = {
    "dev": "/dev",
    "vulkan-icd-mount": "/home/kubernetes/bin/nvidia/vulkan/icd.d",
    "nvidia-install-dir-host": "/home/kubernetes/bin/nvidia",
    "root-mount": "/",
    "cos-tools": "/var/lib/cos-tools",
    "nvidia-config": "/etc/nvidia",
}
_INSTALLER_MOUNTS = {
    "nvidia-install-dir-host": "/usr/local/nvidia",
    "vulkan-icd-mount": "/etc/vulkan/icd.d",
    "dev": "/dev",
    "root-mount": "/root",
    "cos-tools": "/build/cos-tools",
}
_PARTITION_MOUNTS = {
    "nvidia-install-dir-host": "/usr/local/nvidia",
    "dev": "/dev",
    "nvidia-config": "/etc/nvidia",
}
_INSTALLER_ENVIRONMENT = {
    "NVIDIA_INSTALL_DIR_HOST": "/home/kubernetes/bin/nvidia",
    "NVIDIA_INSTALL_DIR_CONTAINER": "/usr/local/nvidia",
    "VULKAN_ICD_DIR_HOST": "/home/kubernetes/bin/nvidia/vulkan/icd.d",
    "VULKAN_ICD_DIR_CONTAINER": "/etc/vulkan/icd.d",
    "ROOT_MOUNT_DIR": "/root",
    "COS_TOOLS_DIR_HOST": "/var/lib/cos-tools",
    "COS_TOOLS_DIR_CONTAINER": "/build/cos-tools",
}
_INSTALL = {
    "default": "/cos-gpu-installer install || exit 1",
    "latest": "/cos-gpu-installer install --version=latest || exit 1; chmod 755 /root/home/kubernetes/bin/nvidia",
}


class GpuDriver(pulumi.ComponentResource):
    """The DaemonSet that installs the driver which the node image carries.

    It changes no driver that is loaded already: a new version comes with new nodes. It is privileged and uses the
    host's network, processes and disks, because a kernel module cannot be installed otherwise; nothing else here is.
    The plan has proved that it matches every GPU pool (`planning.pools.pools_without_driver`).
    """

    def __init__(self, name: str, driver_version: str, opts: pulumi.ResourceOptions | None = None) -> None:
        """Install the `default` or the `latest` driver of the node image."""
        super().__init__("llmserve:index:GpuDriver", name, None, opts)
        labels = {"k8s-app": NAME}
        script = f"if lsmod | grep -q nvidia; then exit 0; fi; {_INSTALL[driver_version]}"
        k8s.apps.v1.DaemonSet(
            f"{name}-installer",
            metadata=k8s.meta.v1.ObjectMetaArgs(
                name=NAME,
                namespace="kube-system",
                labels=labels,
                # Ready means nothing here while there are no GPU nodes, and spot nodes come and go.
                annotations={"pulumi.com/skipAwait": "true"},
            ),
            spec=k8s.apps.v1.DaemonSetSpecArgs(
                selector=k8s.meta.v1.LabelSelectorArgs(match_labels=labels),
                update_strategy=k8s.apps.v1.DaemonSetUpdateStrategyArgs(type="RollingUpdate"),
                template=k8s.core.v1.PodTemplateSpecArgs(
                    metadata=k8s.meta.v1.ObjectMetaArgs(labels=labels | {"name": NAME}),
                    spec=k8s.core.v1.PodSpecArgs(
                        priority_class_name="system-node-critical",
                        host_network=True,
                        host_pid=True,
                        automount_service_account_token=False,
                        tolerations=[k8s.core.v1.TolerationArgs(operator="Exists")],
                        affinity=_on_gpu_nodes_without_driver(),
                        volumes=[
                            k8s.core.v1.VolumeArgs(
                                name=volume, host_path=k8s.core.v1.HostPathVolumeSourceArgs(path=path)
                            )
                            for volume, path in _HOST_PATHS.items()
                        ],
                        init_containers=[
                            k8s.core.v1.ContainerArgs(
                                name=NAME,
                                # Part of the node image and in no registry.
                                image="cos-nvidia-installer:fixed",
                                image_pull_policy="Never",
                                command=["bash", "-c", script],
                                env=_environment(_INSTALLER_ENVIRONMENT),
                                volume_mounts=_mounts(_INSTALLER_MOUNTS),
                                resources=_resources(),
                                security_context=k8s.core.v1.SecurityContextArgs(privileged=True),
                            ),
                            k8s.core.v1.ContainerArgs(
                                # Splits a card only where the pool asks for it; none here does.
                                name="partition-gpus",
                                image=versions.NVIDIA_PARTITION_GPU_IMAGE.reference,
                                env=_environment({"LD_LIBRARY_PATH": "/usr/local/nvidia/lib64"}),
                                volume_mounts=_mounts(_PARTITION_MOUNTS),
                                resources=_resources(),
                                security_context=k8s.core.v1.SecurityContextArgs(privileged=True),
                            ),
                        ],
                        containers=[k8s.core.v1.ContainerArgs(name="pause", image=versions.PAUSE_IMAGE.reference)],
                    ),
                ),
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"name": NAME})


def _on_gpu_nodes_without_driver() -> k8s.core.v1.AffinityArgs:
    term = k8s.core.v1.NodeSelectorTermArgs(
        match_expressions=[
            k8s.core.v1.NodeSelectorRequirementArgs(key=key, operator=str(operator))
            for key, operator in DRIVER_AFFINITY.items()
        ]
    )
    selector = k8s.core.v1.NodeSelectorArgs(node_selector_terms=[term])
    return k8s.core.v1.AffinityArgs(
        node_affinity=k8s.core.v1.NodeAffinityArgs(required_during_scheduling_ignored_during_execution=selector)
    )


def _environment(values: dict[str, str]) -> list[k8s.core.v1.EnvVarArgs]:
    return [k8s.core.v1.EnvVarArgs(name=key, value=value) for key, value in values.items()]


def _mounts(paths: dict[str, str]) -> list[k8s.core.v1.VolumeMountArgs]:
    return [k8s.core.v1.VolumeMountArgs(name=volume, mount_path=path) for volume, path in paths.items()]


def _resources() -> k8s.core.v1.ResourceRequirementsArgs:
    return k8s.core.v1.ResourceRequirementsArgs(requests={"cpu": "150m"})

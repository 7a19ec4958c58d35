"""How a pod sees one revision of a model's weights: a folder of the bucket, by Cloud Storage FUSE.

https://docs.cloud.google.com/kubernetes-engine/docs/how-to/cloud-storage-fuse-csi-driver-ephemeral
"""

from pathlib import Path
from typing import Final

import pulumi_kubernetes as k8s

from planning.weights import StoredWeights

VOLUME: Final = "weights"
CACHE_VOLUME: Final = "gke-gcsfuse-cache"
"""The name by which the driver knows the volume that it caches files in."""
SCRIPTS: Final = Path(__file__).parent / "in_pod"
LOOK_EVERY_SECONDS: Final = 10
METADATA_SERVER: Final = "169.254.169.254/32"
SIDECAR_DISK_MIB: Final = 256
"""Of the driver's sidecar, beside its cache; its own default of 5 GiB does not fit beside a model on every node."""

READ_OPTIONS: Final = (
    "implicit-dirs",
    # What lies under a commit never changes: whatever was learnt of it holds for as long as the pod lives. But that a
    # file is not there is asked anew each time, or a pod that waits for the marker would never see it.
    "metadata-cache:ttl-secs:-1",
    "metadata-cache:stat-cache-max-size-mb:-1",
    "metadata-cache:type-cache-max-size-mb:-1",
    "metadata-cache:negative-ttl-secs:0",
    "file-system:kernel-list-cache-ttl-secs:-1",
    # A file goes into the cache whole and in several parts at once, whichever of its bytes were asked for.
    "file-cache:max-size-mb:-1",
    "file-cache:cache-file-for-range-read:true",
    "file-cache:enable-parallel-downloads:true",
)
"""Google's own for inference: GoogleCloudPlatform/accelerated-platforms at 9320f3b2, inference-ref-arch, vllm."""
WRITE_OPTIONS: Final = ("implicit-dirs", "metadata-cache:negative-ttl-secs:0")


def annotations() -> dict[str, str]:
    """Ask for the driver's sidecar, with as much of the node as it can get beside what the pod itself asks for."""
    prefix = "gke-gcsfuse"
    return {
        f"{prefix}/volumes": "true",
        f"{prefix}/cpu-request": "250m",
        f"{prefix}/memory-request": "256Mi",
        f"{prefix}/ephemeral-storage-request": f"{SIDECAR_DISK_MIB}Mi",
        **{f"{prefix}/{what}-limit": "0" for what in ("cpu", "memory", "ephemeral-storage")},
    }


def folder(
    weights: StoredWeights, options: tuple[str, ...], *, read_only: bool, user: int = 0, group: int = 0
) -> k8s.core.v1.VolumeArgs:
    """Mount exactly the revision's folder, for a container that runs as this user and group."""
    # Files belong to root and are readable by all; the driver asks for this all the same where another user reads them.
    owner = (f"uid={user}", f"gid={group}", "file-mode=444", "dir-mode=555") if user else ()
    return k8s.core.v1.VolumeArgs(
        name=VOLUME,
        csi=k8s.core.v1.CSIVolumeSourceArgs(
            driver="gcsfuse.csi.storage.gke.io",
            read_only=read_only,
            volume_attributes={
                "bucketName": weights.bucket,
                "mountOptions": ",".join((*options, f"only-dir={weights.folder}", *owner)),
                # It asks whether it may read as soon as it mounts.
                "skipCSIBucketAccessCheck": "true",
            },
        ),
    )


def cache(disk_gib: int) -> k8s.core.v1.VolumeArgs:
    """Cache files on the node's disk for pods: its local SSDs where it has some."""
    return k8s.core.v1.VolumeArgs(
        name=CACHE_VOLUME, empty_dir=k8s.core.v1.EmptyDirVolumeSourceArgs(size_limit=f"{disk_gib}Gi")
    )


def mount(weights: StoredWeights, *, read_only: bool) -> k8s.core.v1.VolumeMountArgs:
    """Show the folder where the engine is told to look."""
    return k8s.core.v1.VolumeMountArgs(name=VOLUME, mount_path=weights.path, read_only=True if read_only else None)


def waiting(
    weights: StoredWeights, *, image: str, security: k8s.core.v1.SecurityContextArgs
) -> k8s.core.v1.ContainerArgs:
    """Wait for the marker before the engine is started. It has no end of its own: the Job may take as long as it takes.

    In the engine's image, which the node needs anyway.
    """
    script = (SCRIPTS / "wait_for_weights.sh").read_text(encoding="utf-8")
    return k8s.core.v1.ContainerArgs(
        name="wait-for-weights",
        image=image,
        command=["/bin/sh", "-c", script, "wait_for_weights.sh", weights.marker, str(LOOK_EVERY_SECONDS)],
        resources=k8s.core.v1.ResourceRequirementsArgs(
            requests={"cpu": "10m", "memory": "32Mi"}, limits={"memory": "32Mi"}
        ),
        volume_mounts=[mount(weights, read_only=True)],
        security_context=security,
    )

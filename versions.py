"""Every version that the platform runs, one constant a line, each with where it was read.

An image is pinned by its digest where one is known; one that is only tagged is reported by every preview, with the
command that looks its digest up.
"""

from dataclasses import dataclass

from planning.schema import EngineName


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A Helm chart: its name, its exact version and the repository that has it."""

    name: str
    version: str
    repository: str


_ISTIO = "https://istio-release.storage.googleapis.com/charts"
_PROMETHEUS = "https://prometheus-community.github.io/helm-charts"

# istio/istio, tag 1.30.3, manifests/charts (2026-07-13)
ISTIO_BASE = Chart(name="base", version="1.30.3", repository=_ISTIO)
ISTIOD = Chart(name="istiod", version="1.30.3", repository=_ISTIO)
ISTIO_GATEWAY = Chart(name="gateway", version="1.30.3", repository=_ISTIO)
# prometheus-community/helm-charts, commit cf408a290, charts/kube-prometheus-stack/Chart.yaml
KUBE_PROMETHEUS_STACK = Chart(name="kube-prometheus-stack", version="88.5.3", repository=_PROMETHEUS)
# The operator whose custom resources these are, v0.93.1, is the one of the stack above.
PROMETHEUS_OPERATOR_CRDS = Chart(name="prometheus-operator-crds", version="31.0.1", repository=_PROMETHEUS)
# kedacore/charts, commit 1444d00, keda/Chart.yaml
KEDA = Chart(name="keda", version="2.20.2", repository="https://kedacore.github.io/charts")

# huggingface/text-generation-inference, tag v3.3.7 (2025-12-18), the last release: the project is in maintenance mode.
TGI_IMAGE = "ghcr.io/huggingface/text-generation-inference:3.3.7"
# vllm-project/vllm, tag v0.31.0 (commit db9527a4), for CUDA 13. Not the newest, but the newest whose digest many public
# repositories agree on, in October 2026.
VLLM_IMAGE = (
    "docker.io/vllm/vllm-openai:v0.31.0@sha256:c1c9f6fd5c109ba7f0546a59f5b2f15fb87f64c77782e90a27b648b42a8e67c3"
)
ENGINE_IMAGES = {EngineName.TGI: TGI_IMAGE, EngineName.VLLM: VLLM_IMAGE}
"""What an engine runs where a model names no image of its own."""
# GoogleCloudPlatform/container-engine-accelerators, commit 992db812,
# nvidia-driver-installer/cos/daemonset-preloaded.yaml
NVIDIA_PARTITION_GPU_IMAGE = (
    "gcr.io/gke-release/nvidia-partition-gpu@sha256:de12f85ebfb4fb6c1893cd30c23aab662a72fa0448f97ef74fccb82d7522ef17"
)
PAUSE_IMAGE = "gke.gcr.io/pause:3.8@sha256:880e63f94b145e46f1b1082bb71b85e21f16b99b180b9996407d61240ceb9830"
# Kubernetes' own, without a shell. Four public files on GitHub pin this tag, all by this digest (read 2026-11-26).
KUBECTL_IMAGE = (
    "registry.k8s.io/kubectl:v1.36.4@sha256:b8d523e7b8cdc5e3caa0f8891ee9f504abf137dec786e6e0ddd33e4f272c2f13"
)

IMAGES = {
    "TGI_IMAGE": TGI_IMAGE,
    "VLLM_IMAGE": VLLM_IMAGE,
    "NVIDIA_PARTITION_GPU_IMAGE": NVIDIA_PARTITION_GPU_IMAGE,
    "PAUSE_IMAGE": PAUSE_IMAGE,
    "KUBECTL_IMAGE": KUBECTL_IMAGE,
}
"""The images that this file names, by constant: what `make pin` looks at."""

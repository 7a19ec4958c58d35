"""Every version that the platform runs, one constant each, with where it was read and until when it is looked after.

An image is pinned by its digest where one is known; one that is only tagged is reported by every preview, with the
command that looks its digest up. What is newer, renovate.json tells; that all of it is still there, `make doctor`.
"""

from dataclasses import dataclass
from datetime import date

from planning.schema import EngineName
from planning.support import Part, Support


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A Helm chart: its name, its exact version and the repository that has it."""

    name: str
    version: str
    repository: str
    support: Support


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """A container image, with its tag, its digest where one is known, or both."""

    reference: str
    support: Support


_ISTIO = "https://blob.istio.io/istio-release/charts"
_PROMETHEUS = "https://prometheus-community.github.io/helm-charts"
_KEDA = "https://kedacore.github.io/charts"

# istio/istio, module version 1.31.1 (commit 190ae921b848, 2026-09-16): its source was read. Chart and images of 1.31.1
# are in public use; of 1.31.2 to 1.31.4 and of 1.32.0 only the API's Go module was seen, no chart and no image.
_ISTIO_SUPPORT = Support(
    until=date(2027, 2, 28),
    source='istio.io, supported releases: "Feb 2027 (expected)", read in copies of 2026-10-01; six weeks after 1.33',
)
ISTIO_BASE = Chart(name="base", version="1.31.1", repository=_ISTIO, support=_ISTIO_SUPPORT)
ISTIOD = Chart(name="istiod", version="1.31.1", repository=_ISTIO, support=_ISTIO_SUPPORT)
ISTIO_GATEWAY = Chart(name="gateway", version="1.31.1", repository=_ISTIO, support=_ISTIO_SUPPORT)
ISTIO_IMAGES = tuple(f"docker.io/istio/{name}:{ISTIOD.version}" for name in ("pilot", "proxyv2"))
"""What istiod's chart runs and injects: the chart's tag is its version."""
ISTIO_ENVOY = "1.39"
"""The minor of Envoy that Istio's proxy is built from, release/v1.39 for 1.31.x: the tests run the same one."""
# prometheus-community/helm-charts, commit cf408a290, charts/kube-prometheus-stack/Chart.yaml. 92.3.0 is in public use
# and could not be read: 90 adds a Secret with a token that Grafana's sidecar could read, and 92 another Grafana.
KUBE_PROMETHEUS_STACK = Chart(
    name="kube-prometheus-stack",
    version="88.5.3",
    repository=_PROMETHEUS,
    support=Support(
        until=date(2026, 9, 30),
        source="endoflife.date at a70eca33 of Prometheus 3.14, which it runs; the chart names no day",
    ),
)
# The operator whose custom resources these are, v0.93.1, is the one of the stack above.
PROMETHEUS_OPERATOR_CRDS = Chart(
    name="prometheus-operator-crds",
    version="31.0.1",
    repository=_PROMETHEUS,
    support=Support(until=None, source="they go with the operator of kube-prometheus-stack"),
)
# kedacore/keda, tag v2.21.0 (2026-09-23), whose source was read; it mends CVE-2026-77524, CVE-2026-42151, -42154 and
# -40179. The chart of 2.21.0 is in public use; of its files only those of 2.20.2 were read (kedacore/charts, 1444d00).
KEDA = Chart(
    name="keda",
    version="2.21.0",
    repository=_KEDA,
    support=Support(until=None, source="kedacore/governance, SUPPORT.md: best effort; fixes go into the next release"),
)

# huggingface/text-generation-inference, tag v3.3.7 (2025-12-18), the last release.
TGI_IMAGE = Image(
    reference="ghcr.io/huggingface/text-generation-inference:3.3.7",
    support=Support(until=None, source="its README: maintenance mode since 2025-12-11, minor fixes; no end named"),
)
# vllm-project/vllm, tag v0.31.0 (commit db9527a4), for CUDA 13. Not the newest, which is 0.33.0, but the newest whose
# digest public repositories agree on (ten of them, and no other digest, in October 2026).
VLLM_IMAGE = Image(
    reference="docker.io/vllm/vllm-openai:v0.31.0@sha256:c1c9f6fd5c109ba7f0546a59f5b2f15fb87f64c77782e90a27b648b42a8e67c3",
    support=Support(until=None, source="docs.vllm.ai, release process: a release every two weeks, no window named"),
)
_ENGINES = {EngineName.TGI: TGI_IMAGE, EngineName.VLLM: VLLM_IMAGE}
ENGINE_IMAGES = {engine: image.reference for engine, image in _ENGINES.items()}
"""What an engine runs where a model names no image of its own."""
# GoogleCloudPlatform/container-engine-accelerators, commit 992db812 (2026-06-11),
# nvidia-driver-installer/cos/daemonset-preloaded.yaml
NVIDIA_PARTITION_GPU_IMAGE = Image(
    reference="gcr.io/gke-release/nvidia-partition-gpu@sha256:de12f85ebfb4fb6c1893cd30c23aab662a72fa0448f97ef74fccb82d7522ef17",
    support=Support(until=None, source="that repository's README: not an official Google product; no support named"),
)
PAUSE_IMAGE = Image(
    reference="gke.gcr.io/pause:3.8@sha256:880e63f94b145e46f1b1082bb71b85e21f16b99b180b9996407d61240ceb9830",
    support=Support(until=None, source="the same DaemonSet of Google's runs it; no support named"),
)
# Kubernetes' own, without a shell. Four public files on GitHub pin this tag, all by this digest (read 2026-11-26); of
# 1.36.6 none was seen, and 1.37 would be two minors from GKE 1.35.
KUBECTL_IMAGE = Image(
    reference="registry.k8s.io/kubectl:v1.36.4@sha256:b8d523e7b8cdc5e3caa0f8891ee9f504abf137dec786e6e0ddd33e4f272c2f13",
    support=Support(until=date(2027, 6, 28), source="https://kubernetes.io/releases/ of 1.36, end of life"),
)

_PINNED = {name: value for name, value in globals().items() if isinstance(value, Chart | Image)}
CHARTS = {name: value for name, value in _PINNED.items() if isinstance(value, Chart)}
"""The charts that this file names, by constant."""
IMAGES = {name: value.reference for name, value in _PINNED.items() if isinstance(value, Image)}
"""The images that this file names, by constant: what `make pin` looks at."""
PARTS = tuple(
    Part(
        constant=name,
        version=value.reference if isinstance(value, Image) else f"{value.name} {value.version}",
        support=value.support,
        engine=next((engine for engine, image in _ENGINES.items() if image is value), None),
    )
    for name, value in _PINNED.items()
)
"""All of them, as planning sees them."""

"""How every third-party chart is installed."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from versions import Chart

TIMEOUT_SECONDS = 900
"""Longer than Helm's own 300: on a new cluster the first release waits for system nodes."""


def release(
    logical_name: str,
    chart: Chart,
    *,
    release_name: str,
    namespace: pulumi.Input[str],
    values: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
    skip_crds: bool = False,
) -> k8s.helm.v3.Release:
    """Install a pinned chart as one Helm release that is whole or rolled back.

    The release's name is fixed: charts derive selectors from it, and a random one would leave the gateway's without a
    match.
    """
    return k8s.helm.v3.Release(
        logical_name,
        name=release_name,
        chart=chart.name,
        version=chart.version,
        repository_opts=k8s.helm.v3.RepositoryOptsArgs(repo=chart.repository),
        namespace=namespace,
        values=values,
        atomic=True,
        cleanup_on_fail=True,
        timeout=TIMEOUT_SECONDS,
        skip_crds=skip_crds,
        opts=opts,
    )


def namespace(
    logical_name: str, name: str, opts: pulumi.ResourceOptions, labels: Mapping[str, str] | None = None
) -> k8s.core.v1.Namespace:
    """Make a namespace under a fixed name: other components, people and charts type it."""
    return k8s.core.v1.Namespace(
        logical_name, metadata=k8s.meta.v1.ObjectMetaArgs(name=name, labels=dict(labels or {})), opts=opts
    )

"""What a sidecar says of a request that its engine never saw, so that the gateway may ask another replica."""

import pulumi
import pulumi_kubernetes as k8s

from components.model_namespace import SERVER_LABELS

HEADER = "x-llmserve-not-begun"
"""On a 503 of the sidecar's own: nothing of the request has reached the engine. No caller ever sees it."""

CONNECTION_FAILED = "UF"
"""Envoy's flag for an upstream that it could not connect to; one that broke off later is `UC`.

https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage
"""

_CONNECTION_MANAGER = "envoy.filters.network.http_connection_manager"
_CONNECTION_MANAGER_TYPE = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)


class NotBegun(pulumi.ComponentResource):
    """Two patches of the model pods' sidecars: one marks a refused connection, the other lets nobody else mark one.

    It retries nothing: that is the gateway's, by `Traffic`. It marks no 503 of an engine, none for an engine that broke
    off in the middle, and none for which a sidecar has another reason.

    Istio 1.31.1 sets neither field, so there is nothing to merge with: istio/istio 190ae921, pilot/pkg/networking/core/
    envoyfilter/listener_patch.go and rc_patch.go, and BuildDefaultHTTPInboundRoute in route/route.go beside it.
    """

    ready: pulumi.Resource
    """The EnvoyFilter."""

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        namespace_ready: pulumi.Resource,
        mesh_ready: pulumi.Resource,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Patch the sidecar of every pod that serves a model."""
        super().__init__("llmserve:index:NotBegun", name, None, opts)
        mark = {"header": {"key": HEADER, "value": "1"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        only_refused = {"response_flag_filter": {"flags": [CONNECTION_FAILED]}}
        self.ready = k8s.apiextensions.CustomResource(
            f"{name}-mark",
            # There is no newer version of it.
            api_version="networking.istio.io/v1alpha3",
            kind="EnvoyFilter",
            metadata=k8s.meta.v1.ObjectMetaArgs(name="not-begun", namespace=namespace),
            spec={
                "workloadSelector": {"labels": dict(SERVER_LABELS)},
                "configPatches": [
                    {
                        "applyTo": "NETWORK_FILTER",
                        "match": {
                            "context": "SIDECAR_INBOUND",
                            "listener": {"filterChain": {"filter": {"name": _CONNECTION_MANAGER}}},
                        },
                        "patch": {
                            "operation": "MERGE",
                            "value": {
                                "typed_config": {
                                    "@type": _CONNECTION_MANAGER_TYPE,
                                    "local_reply_config": {
                                        "mappers": [{"filter": only_refused, "headers_to_add": [mark]}]
                                    },
                                }
                            },
                        },
                    },
                    {
                        # From the engine's answers only: a reply of Envoy's own does not pass here.
                        "applyTo": "HTTP_ROUTE",
                        "match": {"context": "SIDECAR_INBOUND"},
                        "patch": {"operation": "MERGE", "value": {"response_headers_to_remove": [HEADER]}},
                    },
                ],
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[namespace_ready, mesh_ready]),
        )
        self.register_outputs({"header": HEADER})

"""How requests for one model reach its versions."""

from collections.abc import Sequence

import pulumi
import pulumi_kubernetes as k8s

from components.handover import Handover
from components.not_begun import HEADER
from planning.serving import ModelPlan


class Traffic(pulumi.ComponentResource):
    """A DestinationRule with a subset a version, and the VirtualService that shares requests among them by weight.

    It sets no time limit on a request, because a stream may be long. It repeats what certainly no engine has begun,
    twice at the most and on another replica, and nothing else: no 503 as such, since an engine that died in
    the middle looks like that, and no request of more than 1 MiB, which is what Envoy keeps of one.
    """

    def __init__(
        self,
        name: str,
        model: ModelPlan,
        handover: Handover,
        *,
        metrics_path: str,
        after: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Route the model's host to its versions, after what a route needs; metrics are for Prometheus alone."""
        super().__init__("llmserve:index:Traffic", name, None, opts)
        service = f"{model.name}.{handover.namespace}.svc.cluster.local"
        metadata = k8s.meta.v1.ObjectMetaArgs(name=model.name, namespace=handover.namespace)
        rule = k8s.apiextensions.CustomResource(
            f"{name}-rule",
            api_version="networking.istio.io/v1",
            kind="DestinationRule",
            metadata=metadata,
            spec={
                "host": service,
                "trafficPolicy": {
                    "loadBalancer": {
                        # Generations differ in length: taking turns would overload whoever got the long ones.
                        "simple": "LEAST_REQUEST",
                        # Ejecting hosts, below, would otherwise keep traffic in the gateway's own zone.
                        "localityLbSetting": {"enabled": False},
                    },
                    "connectionPool": {"http": {"h2UpgradePolicy": "DO_NOT_UPGRADE"}},
                    "outlierDetection": {
                        # A spot node that shuts down stays an endpoint for a while. An engine's 500 ejects nobody.
                        # Split, a sidecar's 503 counts as a gateway error, marked as not begun or not, whatever becomes
                        # of the retry; local origin is only what the gateway itself could not reach or lost.
                        "splitExternalLocalOriginErrors": True,
                        "consecutiveLocalOriginFailures": 2,
                        "consecutiveGatewayErrors": 2,
                        "consecutive5xxErrors": 0,
                        "interval": "5s",
                        "baseEjectionTime": "30s",
                        # Istio's own 10 % of two or three replicas is none.
                        "maxEjectionPercent": 50,
                    },
                },
                "subsets": [{"name": version.name, "labels": {"version": version.name}} for version in model.versions],
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(after)),
        )
        k8s.apiextensions.CustomResource(
            f"{name}-routes",
            api_version="networking.istio.io/v1",
            kind="VirtualService",
            metadata=metadata,
            spec={
                "hosts": [model.host],
                "gateways": [handover.gateway],
                "http": [
                    {
                        "name": "metrics",
                        "match": [{"uri": {"exact": metrics_path}}],
                        "directResponse": {"status": 404},
                    },
                    {
                        "name": "versions",
                        "route": [
                            {
                                "destination": {
                                    "host": service,
                                    "subset": version.name,
                                    "port": {"number": 80},
                                },
                                "weight": version.weight,
                            }
                            for version in model.versions
                        ],
                        # Envoy takes the names of retriable headers from the request, where `set` leaves no caller's
                        # own, and looks at the answer's headers before it removes one.
                        # https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter
                        "headers": {
                            "request": {"set": {"x-envoy-retriable-header-names": HEADER}},
                            "response": {"remove": [HEADER]},
                        },
                        # Only what no engine has seen: a generation is neither cheap nor the same twice. Istio adds
                        # that Envoy passes over a host which was asked, in up to five draws.
                        "retries": {
                            "attempts": 2,
                            "retryOn": "connect-failure,refused-stream,reset-before-request,retriable-headers",
                        },
                    },
                ],
            },
            # A subset that a route names before the rule has it answers 503.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[rule]),
        )
        self.register_outputs({"host": model.host})

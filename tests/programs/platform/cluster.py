"""A component with two resources of Google Cloud."""

import pulumi
import pulumi_gcp as gcp


class Cluster(pulumi.ComponentResource):
    """A cluster and its nodes."""

    def __init__(self, name: str, *, spot: bool, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("platform:index:Cluster", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        cluster = gcp.container.Cluster(
            name,
            location="europe-west4",
            opts=pulumi.ResourceOptions(parent=self, protect=True, additional_secret_outputs=["masterAuth"]),
        )
        pool = gcp.container.NodePool(
            "gpu",
            cluster=cluster.name,
            node_config=gcp.container.NodePoolNodeConfigArgs(spot=spot),
            opts=child,
        )
        self.endpoint = cluster.endpoint
        self.pool = pool.id
        self.kubeconfig = pulumi.Output.secret(pulumi.Output.json_dumps({"server": cluster.endpoint}))
        self.register_outputs({"endpoint": self.endpoint})

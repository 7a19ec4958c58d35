"""The bucket that models' weights lie in, and the private way to it."""

import pulumi
import pulumi_gcp as gcp

from planning.schema import Stack

STORAGE_HOST = "storage.googleapis.com"
PRIVATE_GOOGLE_RANGE = "199.36.153.8/30"
PRIVATE_GOOGLE_ADDRESSES = ["199.36.153.8", "199.36.153.9", "199.36.153.10", "199.36.153.11"]
"""Of private.googleapis.com: https://docs.cloud.google.com/vpc/docs/configure-private-google-access#config-options

The public names of Google's APIs have addresses that change, which no network policy can name. These four are fixed.
"""


class WeightsBucket(pulumi.ComponentResource):
    """A private bucket in the stack's region, and Cloud Storage's name in the VPC's DNS at Google's private addresses.

    It gives nobody a right: that is `ModelWeights`, which fills it. It keeps nothing that was deleted and no old
    revision of an object, since all of it can be fetched again; and it has no hierarchical namespace, which makes
    renames cheap, because nothing in it is ever renamed. It deletes no revision that is no longer served.
    """

    ready: list[pulumi.Resource]
    """The bucket and the way to it."""

    def __init__(
        self,
        name: str,
        stack: Stack,
        *,
        bucket: str,
        network_id: pulumi.Output[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Make the bucket of that name. Of a protected stack it is not deleted while there is something in it."""
        super().__init__("llmserve:index:WeightsBucket", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        made = gcp.storage.Bucket(
            f"{name}-bucket",
            # Fixed, because the pods name it.
            name=bucket,
            location=stack.region,
            storage_class="STANDARD",
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            force_destroy=not stack.deletion_protection,
            soft_delete_policy=gcp.storage.BucketSoftDeletePolicyArgs(retention_duration_seconds=0),
            labels={"holds": "model-weights"},
            opts=child,
        )
        zone = gcp.dns.ManagedZone(
            f"{name}-zone",
            dns_name=f"{STORAGE_HOST}.",
            description="Cloud Storage at Google's private addresses",
            visibility="private",
            private_visibility_config=gcp.dns.ManagedZonePrivateVisibilityConfigArgs(
                networks=[gcp.dns.ManagedZonePrivateVisibilityConfigNetworkArgs(network_url=network_id)]
            ),
            opts=child,
        )
        # Buckets are also asked as hosts of their own, and in this zone a name that is not there is nowhere.
        names = {"host": f"{STORAGE_HOST}.", "buckets": f"*.{STORAGE_HOST}."}
        records = [
            gcp.dns.RecordSet(
                f"{name}-{key}",
                managed_zone=zone.name,
                name=host,
                type="A",
                ttl=300,
                rrdatas=PRIVATE_GOOGLE_ADDRESSES,
                opts=child,
            )
            for key, host in names.items()
        ]
        self.ready = [made, *records]
        self.register_outputs({"bucket": made.name})

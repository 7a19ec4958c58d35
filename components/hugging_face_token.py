"""The token that engines download gated models with."""

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as k8s

from components.identity import principal
from planning.checks.platform import HUGGING_FACE as NAME
from planning.schema import Stack, TokenSource

KEY = "HF_TOKEN"
"""The Secret's key and the engine's variable: TGI's launcher reads no other name."""


class HuggingFaceToken(pulumi.ComponentResource):
    """A Kubernetes Secret in the models' namespace, filled by GKE from Secret Manager.

    With Secret Manager the value passes through no program, no argument and no state: this makes the way, and the user
    adds the value. With `config` the value is in the stack's state, encrypted, and is meant for a stack of one's own.
    https://docs.cloud.google.com/secret-manager/docs/sync-k8-secrets
    """

    secret_name: str
    """The Kubernetes Secret's name."""
    ready: pulumi.Resource
    """What fills it."""

    def __init__(
        self,
        name: str,
        stack: Stack,
        token: pulumi.Output[str] | None,
        *,
        namespace: str,
        namespace_ready: pulumi.Resource,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Make the Secret from Secret Manager, or from the token where the stack holds it."""
        super().__init__("llmserve:index:HuggingFaceToken", name, None, opts)
        self.secret_name = NAME
        metadata = k8s.meta.v1.ObjectMetaArgs(name=NAME, namespace=namespace)
        in_namespace = pulumi.ResourceOptions(parent=self, depends_on=[namespace_ready])
        if stack.hugging_face_token_from is TokenSource.CONFIG and token is not None:
            self.ready = k8s.core.v1.Secret(
                f"{name}-secret", metadata=metadata, string_data={KEY: token}, opts=in_namespace
            )
        else:
            self.ready = self._from_secret_manager(name, stack, metadata, namespace, in_namespace)
        self.register_outputs({"secretName": self.secret_name})

    def _from_secret_manager(
        self,
        name: str,
        stack: Stack,
        metadata: k8s.meta.v1.ObjectMetaArgs,
        namespace: str,
        in_namespace: pulumi.ResourceOptions,
    ) -> pulumi.Resource:
        # An account of its own, so that no model's pod may read Secret Manager.
        account = k8s.core.v1.ServiceAccount(
            f"{name}-reader", metadata=metadata, automount_service_account_token=False, opts=in_namespace
        )
        right = gcp.secretmanager.SecretIamMember(
            f"{name}-access",
            project=stack.project,
            secret_id=stack.hugging_face_token_secret,
            role="roles/secretmanager.secretAccessor",
            member=principal(stack.project, namespace, NAME, self),
            # A project has no identity pool before its first cluster.
            opts=in_namespace,
        )
        source = f"projects/{stack.project}/secrets/{stack.hugging_face_token_secret}/versions/latest"
        provider_class = k8s.apiextensions.CustomResource(
            f"{name}-source",
            api_version="secrets-store.csi.x-k8s.io/v1",
            kind="SecretProviderClass",
            metadata=metadata,
            spec={
                "provider": "gke",
                "parameters": {"secrets": f'- resourceName: "{source}"\n  path: "{KEY}"\n'},
            },
            opts=in_namespace,
        )
        return k8s.apiextensions.CustomResource(
            f"{name}-sync",
            api_version="secret-sync.gke.io/v1",
            kind="SecretSync",
            metadata=metadata,
            spec={
                "serviceAccountName": NAME,
                "secretProviderClassName": NAME,
                "secretObject": {"type": "Opaque", "data": [{"sourcePath": KEY, "targetKey": KEY}]},
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[account, provider_class, right]),
        )

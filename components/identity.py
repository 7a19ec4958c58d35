"""How Google Cloud names a project and an account of the cluster."""

import pulumi
import pulumi_gcp as gcp


def project_number(project: str, parent: pulumi.Resource) -> pulumi.Output[str]:
    """Ask Google for the number that some of its APIs want instead of the project's id."""
    return gcp.organizations.get_project_output(
        project_id=project, opts=pulumi.InvokeOutputOptions(parent=parent)
    ).number


def principal(project: str, namespace: str, account: str, parent: pulumi.Resource) -> pulumi.Output[str]:
    """Name a Kubernetes ServiceAccount as a member in a grant, without a Google account between the two.

    https://docs.cloud.google.com/kubernetes-engine/docs/how-to/workload-identity#authenticating_to
    """
    return pulumi.Output.concat(
        "principal://iam.googleapis.com/projects/",
        project_number(project, parent),
        f"/locations/global/workloadIdentityPools/{project}.svc.id.goog/subject/ns/{namespace}/sa/{account}",
    )

"""How Google Cloud names an account of the cluster."""

import pulumi
import pulumi_gcp as gcp


def principal(project: str, namespace: str, account: str, parent: pulumi.Resource) -> pulumi.Output[str]:
    """Name a Kubernetes ServiceAccount as a member in a grant, without a Google account between the two.

    https://docs.cloud.google.com/kubernetes-engine/docs/how-to/workload-identity#authenticating_to
    """
    number = gcp.organizations.get_project_output(
        project_id=project, opts=pulumi.InvokeOutputOptions(parent=parent)
    ).number
    return pulumi.Output.concat(
        "principal://iam.googleapis.com/projects/",
        number,
        f"/locations/global/workloadIdentityPools/{project}.svc.id.goog/subject/ns/{namespace}/sa/{account}",
    )

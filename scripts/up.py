"""`make up STACK=prod` and `make destroy STACK=dev`: checks that cost a second, then pulumi itself."""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from planning.refusal import Problem, Refusal
from scripts import pulumi_command, stack_file
from scripts.stack_file import StackFile
from scripts.terminal import OperationError, answer_of, run, say

PLUGIN_MISSING = (
    "gke-gcloud-auth-plugin is not on PATH; pulumi and kubectl reach the cluster through it:\n"
    "  gcloud components install gke-gcloud-auth-plugin   (Debian, Ubuntu: apt install"
    " google-cloud-cli-gke-gcloud-auth-plugin)"
)
CREDENTIALS_MISSING = (
    "there are no application default credentials; pulumi calls Google Cloud with them:\n"
    "  gcloud auth application-default login   (in CI: GOOGLE_APPLICATION_CREDENTIALS=FILE)"
)


def check_tools() -> None:
    """Stop with everything that is missing on this machine at once."""
    missing = [] if shutil.which("gke-gcloud-auth-plugin") else [PLUGIN_MISSING]
    # The one variable that both the provider and the plugin read.
    if not os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        token = ["gcloud", "auth", "application-default", "print-access-token", "--quiet"]
        if shutil.which("gcloud") is None or answer_of(token).returncode != 0:
            missing.append(CREDENTIALS_MISSING)
    if missing:
        raise OperationError("\n".join(missing))


def check_preview(stack: str) -> int:
    """Run the offline preview for its checks alone; its output is shown only where it fails."""
    preview = subprocess.run(
        [sys.executable, "-m", "preview", stack],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if preview.returncode != 0:
        sys.stdout.write(preview.stdout)
    return preview.returncode


def refuse_protected(stack: StackFile) -> None:
    """Refuse to destroy a stack that says it is protected."""
    if stack.protected:
        problem = Problem(
            key="llmserve:deletionProtection",
            value="true",
            reason="a protected stack is not destroyed; the cluster itself would refuse as well",
            fix=f"pulumi config set --stack {stack.stack} llmserve:deletionProtection false\n"
            f"    make up STACK={stack.stack}",
        )
        raise Refusal(stack.file, [problem])


def main(argv: Sequence[str]) -> int:
    """Check, choose pulumi, backend and stack, then become `pulumi up` with the policy pack, or `pulumi destroy`."""
    parser = argparse.ArgumentParser(
        prog="scripts.up",
        description=__doc__,
        epilog="Any other option goes to pulumi, such as --yes or --target URN.",
    )
    parser.add_argument("stack", help="the stack to bring up: Pulumi.STACK.yaml")
    parser.add_argument("--destroy", action="store_true", help="take the stack down instead")
    arguments, for_pulumi = parser.parse_known_args(argv)
    stack = stack_file.read(arguments.stack)
    project = stack.real_project()
    if arguments.destroy:
        refuse_protected(stack)
    else:
        failed = check_preview(stack.stack)
        if failed:
            return failed
    check_tools()
    pulumi = pulumi_command.find_or_install()
    url, environment = pulumi_command.backend(pulumi, stack)
    pulumi_command.select(pulumi, stack, url, environment, create=not arguments.destroy)
    if arguments.destroy:
        say(
            f"This takes away all that stack {stack.stack} made in {project}: the cluster with its models,\n"
            "metrics and dashboards, the network, and the image repositories with every image in them.\n"
            "The state bucket, its key and the Hugging Face token's secret stay (`make bootstrap` made them)."
        )
    say()
    wanted = ["destroy"] if arguments.destroy else ["up", "--policy-pack", "policy"]
    command = [pulumi, *wanted, "--stack", stack.stack, *for_pulumi]
    # pulumi takes this process's place, so that the terminal and ctrl-C are its own.
    return os.execvpe(pulumi, command, environment)  # noqa: S606


if __name__ == "__main__":
    run(main)

"""`make bootstrap STACK=prod`: what a team needs once, before the first `make up`. Safe to run again."""

import argparse
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from scripts import stack_file
from scripts.terminal import OperationError, answer_of, run, say, shown

SERVICES = (
    "artifactregistry",
    "cloudkms",
    "cloudresourcemanager",
    "compute",
    "container",
    "containerfilesystem",
    "dns",
    "iam",
    "logging",
    "monitoring",
    "secretmanager",
    "storage",
)
BUDGET_SERVICE = "billingbudgets"
"""Beside them where a stack has a budget."""
KEY_RING, KEY = "llmserve", "state"
GCLOUD_MISSING = "gcloud is not on PATH: see https://cloud.google.com/sdk/docs/install, then run gcloud auth login"


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One thing to have: skipped where `exists` succeeds, else run; without it always run."""

    purpose: str
    exists: tuple[str, ...] | None = None
    command: tuple[str, ...]

    def __str__(self) -> str:
        """Return the step as a line for a shell."""
        wanted = shown(self.command)
        return wanted if self.exists is None else f"{shown(self.exists)} >/dev/null 2>&1 || {wanted}"


def bucket(project: str) -> str:
    """Return the URL of the bucket for Pulumi's state."""
    return f"gs://{project}-llmserve-state"


def state_key(project: str, region: str) -> str:
    """Return the resource name of the key that encrypts the secrets in Pulumi's state."""
    return f"projects/{project}/locations/{region}/keyRings/{KEY_RING}/cryptoKeys/{KEY}"


def login_lines(project: str, region: str, stack: str) -> tuple[str, str]:
    """Return the two lines that each person runs once to work with the team's state."""
    provider = f"gcpkms://{state_key(project, region)}"
    return f"pulumi login {bucket(project)}", f"pulumi stack init {stack} --secrets-provider={provider}"


def services(*, budget: bool) -> tuple[str, ...]:
    """Name the APIs that a stack calls, without `.googleapis.com`."""
    return (*SERVICES, BUDGET_SERVICE) if budget else SERVICES


def steps(project: str, region: str, token_secret: str | None, *, budget: bool) -> list[Step]:
    """Return every step in order; `token_secret` is the id of the Hugging Face token's secret, or None."""
    gcloud = ("gcloud", "--quiet", f"--project={project}")
    ring = (f"--location={region}",)
    wanted = [
        Step(
            purpose="the APIs that the platform calls",
            command=(*gcloud, "services", "enable", *(f"{name}.googleapis.com" for name in services(budget=budget))),
        ),
        Step(
            purpose="a private bucket for Pulumi's state",
            exists=(*gcloud, "storage", "buckets", "describe", bucket(project)),
            command=(
                *(*gcloud, "storage", "buckets", "create", bucket(project), f"--location={region}"),
                *("--uniform-bucket-level-access", "--public-access-prevention"),
            ),
        ),
        Step(
            purpose="every earlier state kept, so that a broken one can be undone",
            command=(*gcloud, "storage", "buckets", "update", bucket(project), "--versioning"),
        ),
        Step(
            purpose="a key ring (it can never be deleted; it costs nothing)",
            exists=(*gcloud, "kms", "keyrings", "describe", KEY_RING, *ring),
            command=(*gcloud, "kms", "keyrings", "create", KEY_RING, *ring),
        ),
        Step(
            purpose="the key that encrypts the secrets in Pulumi's state",
            exists=(*gcloud, "kms", "keys", "describe", KEY, f"--keyring={KEY_RING}", *ring),
            command=(
                *gcloud,
                "kms",
                "keys",
                "create",
                KEY,
                f"--keyring={KEY_RING}",
                *ring,
                "--purpose=encryption",
            ),
        ),
    ]
    if token_secret is not None:
        wanted.append(
            Step(
                purpose="an empty secret for the Hugging Face token",
                exists=(*gcloud, "secrets", "describe", token_secret),
                command=(*gcloud, "secrets", "create", token_secret, "--replication-policy=automatic"),
            )
        )
    return wanted


def closing_words(project: str, region: str, stack: str, token_secret: str | None, *, budget: bool) -> str:
    """Return what is left to a person: the token, the login, and the rights of everyone else."""
    token = []
    if token_secret is not None:
        add = shown(["gcloud", "secrets", "versions", "add", token_secret, f"--project={project}", "--data-file=-"])
        token = [
            "The Hugging Face token goes in from standard input (bash or zsh; without echo or newline):",
            f'  read -rs HF_TOKEN; printf %s "$HF_TOKEN" | {add}; unset HF_TOKEN',
        ]
    return "\n".join(
        [
            *token,
            "Log in, and make the stack once:",
            *(f"  {line}" for line in login_lines(project, region, stack)),
            "Whoever runs `make up` and does not own the project needs",
            f"  roles/storage.objectAdmin on {bucket(project)}",
            f"  roles/cloudkms.cryptoKeyEncrypterDecrypter on {state_key(project, region)}",
            *(["  roles/billing.costsManager on the billing account that the budget is in"] if budget else []),
        ]
    )


def main(argv: Sequence[str]) -> int:
    """Make what is missing, each step shown first; with --dry-run or without gcloud only show them."""
    parser = argparse.ArgumentParser(prog="scripts.bootstrap", description=__doc__)
    parser.add_argument("stack", help="the stack whose gcp:project and gcp:region are prepared")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run none")
    arguments = parser.parse_args(argv)
    stack = stack_file.read(arguments.stack)
    project, region = stack.real_project(), stack.required("gcp:region")
    from_secret_manager = stack.settings.get("llmserve:huggingFaceTokenFrom", "secret-manager") == "secret-manager"
    token_secret = stack.required("llmserve:huggingFaceTokenSecret") if from_secret_manager else None
    budget = stack.settings.get("llmserve:budget", "{}") != "{}"
    have_gcloud = shutil.which("gcloud") is not None
    for step in steps(project, region, token_secret, budget=budget):
        say(f"# {step.purpose}\n{step}")
        if arguments.dry_run or not have_gcloud:
            continue
        if step.exists is not None and answer_of(step.exists).returncode == 0:
            say("  is there")
        elif subprocess.run(step.command, check=False).returncode != 0:
            raise OperationError(
                f"this step failed: {step.purpose}. Put right what gcloud says above, then run it again."
            )
    say()
    say(closing_words(project, region, stack.stack, token_secret, budget=budget))
    if not have_gcloud and not arguments.dry_run:
        raise OperationError(
            f"nothing was made: {GCLOUD_MISSING}. Or run the commands above where gcloud is (Cloud Shell)."
        )
    return 0


if __name__ == "__main__":
    run(main)

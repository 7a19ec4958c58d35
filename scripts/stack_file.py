"""The few settings that the scripts need, read and checked as the offline preview does."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from planning.advice import EXAMPLE_PROJECT
from planning.refusal import Problem, Refusal
from preview.files import read_mapping
from preview.project import load_project, load_stack


@dataclass(frozen=True, kw_only=True, slots=True)
class StackFile:
    """One stack's settings by full key, each as text: those of its own file over the defaults of Pulumi.yaml."""

    stack: str
    file: str
    project: str
    settings: Mapping[str, str]
    secrets_provider: str | None

    @property
    def protected(self) -> bool:
        """Whether the stack is protected against deletion; one that does not say so is."""
        return self.settings.get("llmserve:deletionProtection") != "false"

    def required(self, key: str) -> str:
        """Return a setting; refuse a stack that lacks it."""
        value = self.settings.get(key)
        if not value:
            problem = Problem(key=key, reason="is required and missing", fix=f"write it into {self.file}")
            raise Refusal(self.file, [problem])
        return value

    def real_project(self) -> str:
        """Return the Google Cloud project; refuse the example that the committed file holds."""
        project = self.required("gcp:project")
        if project == EXAMPLE_PROJECT:
            problem = Problem(
                key="gcp:project",
                value=project,
                reason="is the example's; nothing can be made there",
                fix=f"write your own there, or: pulumi config set --stack {self.stack} gcp:project ID",
            )
            raise Refusal(self.file, [problem])
        return project


def read(stack: str) -> StackFile:
    """Read a stack of the project in the working directory.

    Raises PreviewError where there is no such stack or the engine would not take its file.
    """
    project = load_project(Path())
    config = load_stack(project, stack)
    provider = read_mapping(project.stack_folder / config.file).get("secretsprovider")
    return StackFile(
        stack=stack,
        file=config.file,
        project=project.name,
        settings=config.values,
        secrets_provider=provider if isinstance(provider, str) else None,
    )

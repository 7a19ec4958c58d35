"""Two revisions of the project in folders of their own, as git has them, without any file that is in no commit.

Nothing of the repository is touched: a revision is written out by `git archive`.
"""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from preview.errors import Refused

DEFAULT_BASE: Final = "origin/main"


@dataclass(frozen=True, kw_only=True, slots=True)
class Revision:
    """A commit, written out into a folder; `commit` is its 40 digits, empty for a folder as it stands."""

    name: str
    commit: str
    folder: Path

    @property
    def short(self) -> str:
        """Its first ten digits, or what it is called."""
        return self.commit[:10] or self.name


@contextmanager
def two_revisions(
    project: Path, against: str, head: str | None, *, uncommitted: bool
) -> Iterator[tuple[Revision, Revision]]:
    """Write out the merge base of two revisions and the later one. Raises Refused where git cannot.

    `head` None is the commit that is checked out; `uncommitted` takes the project's folder as it stands in its place.
    """
    root = Path(_git(project, "rev-parse", "--show-toplevel"))
    inside = project.resolve().relative_to(root)
    last = _commit(project, head or "HEAD")
    base = _git(project, "merge-base", _commit(project, against), last)
    with TemporaryDirectory(prefix="preview-") as holder:
        # Both are called as the project is: its name may be shown.
        places = [Path(holder) / side / root.name for side in ("base", "head")]
        _write(root, base, places[0])
        before = Revision(name=against, commit=base, folder=places[0] / inside)
        after = Revision(name=head or "HEAD", commit=last, folder=places[1] / inside)
        if uncommitted:
            after = Revision(name="uncommitted", commit="", folder=project)
        else:
            _write(root, last, places[1])
        for revision in (before, after):
            if not revision.folder.is_dir():
                raise Refused(f"{revision.name}: {inside} is not in that revision")
        yield before, after


def has_uncommitted(project: Path) -> bool:
    """Whether a file that git knows differs from the commit that is checked out."""
    return bool(_git(project, "status", "--porcelain", "--untracked-files=no", "--", "."))


def _commit(project: Path, name: str) -> str:
    if name.startswith("-"):
        raise Refused(f"{name} is no revision: it begins with a dash")
    try:
        return _git(project, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    except Refused as error:
        known = "git fetch origin main, with enough history for a merge base" if name == DEFAULT_BASE else "git log"
        raise Refused(f"{name} is no commit of this repository\n    fix: {known}") from error


def _git(folder: Path, *arguments: str) -> str:
    try:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    except FileNotFoundError as error:
        raise Refused("--against needs git, which is not on PATH") from error
    if done.returncode:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        raise Refused(f"git {arguments[0]}: {said.splitlines()[-1]}")
    return done.stdout.strip()


def _write(root: Path, commit: str, place: Path) -> None:
    place.mkdir(parents=True)
    command = ["git", "-C", str(root), "archive", "--format=tar", commit]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603 - no shell
        if process.stdout is None:
            raise AssertionError("a pipe was asked for")
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            archive.extractall(place, filter="data")
    if process.returncode:
        raise Refused(f"git archive {commit}: exit code {process.returncode}")

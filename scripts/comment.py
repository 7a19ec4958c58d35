"""`python -m scripts.comment DIR`: post what the preview of a pull request wrote, as its one comment, kept up to date.

Runs in the workflow `preview-comment`, which may write comments, from the default branch's own code. What is in DIR
was made by the pull request's code: it is data to check, never to run, and says nothing of where it is posted. That
comes from the event (REPOSITORY, HEAD_SHA, HEAD_REPOSITORY, HEAD_BRANCH, RUN_URL in the environment) and from the API.

Refuses text that is too large, no UTF-8, without its marker, or that looks like a secret. Posts nothing, and that is
no failure, where the run left no comment, or where the pull request was closed or has got newer commits. Never
touches a comment that another account wrote. Needs Python alone and `gh` with GH_TOKEN.
"""

import argparse
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from scripts.terminal import OperationError, answer_of, run, say

MARKER: Final = "<!-- llmserve-preview -->"
"""The first line of the comment, by which the next run finds it."""
AUTHOR: Final = "github-actions[bot]"
"""Whom GITHUB_TOKEN comments as; nobody can register that name."""
MOST_BYTES: Final = 65_536
"""GitHub takes as many characters, and counts some of them twice: so many bytes are never too much."""
PER_PAGE: Final = 100

SECRETS: Final = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"),
    "a Google service account's key": re.compile(r"\"private_key(_id)?\\?\"\s*:"),
    "a Google access token": re.compile(r"\bya29\.[\w-]{20}"),
    "a Google API key": re.compile(r"\bAIza[\w-]{35}"),
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{20}"),
    "a GitHub token": re.compile(r"\b(gh[pousr]_[A-Za-z0-9]{30}|github_pat_\w{30})"),
    "a Pulumi token": re.compile(r"\bpul-[0-9a-f]{40}"),
    "an AWS key": re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b"),
    "a signed token (JWT)": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    "a secret of Pulumi's state": re.compile(r"\bv1:[A-Za-z0-9+/]{16}:[A-Za-z0-9+/=]{16}"),
}
"""Forms of credentials, each by a name that may be printed."""


class NothingToPost(Exception):  # noqa: N818 - says what happened
    """There is no comment to make, through nobody's fault; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """The run of `preview` that has ended, as GitHub's event tells it; none of it is from the artifact."""

    repository: str
    """OWNER/NAME, where the pull request is."""
    head_sha: str
    head_repository: str
    """OWNER/NAME, where the commit is from; a fork, or `repository` itself."""
    head_branch: str
    """Chosen by whoever made the pull request: any text that git allows."""
    url: str

    @classmethod
    def from_environment(cls) -> Self:
        """Read the event; OperationError where something of it is missing or has another form."""
        forms = {
            "REPOSITORY": r"[\w.-]+/[\w.-]+",
            "HEAD_SHA": r"[0-9a-f]{40}",
            "HEAD_REPOSITORY": r"[\w.-]+/[\w.-]+",
            "HEAD_BRANCH": r"[^\x00-\x20\x7f]+",
            "RUN_URL": r"https://[\w./-]+",
        }
        values = {name: os.environ.get(name, "") for name in forms}
        wrong = [name for name, form in forms.items() if not re.fullmatch(form, values[name])]
        if wrong:
            raise OperationError(f"not as the event of a workflow run has it: {', '.join(wrong)}")
        return cls(
            repository=values["REPOSITORY"],
            head_sha=values["HEAD_SHA"],
            head_repository=values["HEAD_REPOSITORY"],
            head_branch=values["HEAD_BRANCH"],
            url=values["RUN_URL"],
        )


def comment_of(folder: Path) -> str:
    """Return the comment that the run left, checked.

    Raises NothingToPost where it left none, OperationError where it is none that may be posted.
    """
    file = folder / "comment.md"
    # A link would be followed to a file of this machine.
    if not file.is_file() or file.is_symlink():
        raise NothingToPost("the run left no comment.md: its log says why")
    with file.open("rb") as opened:
        content = opened.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise OperationError(f"comment.md has more than {MOST_BYTES:,} bytes")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise OperationError("comment.md is no UTF-8") from None
    if text.partition("\n")[0].strip() != MARKER:
        raise OperationError(f"the first line of comment.md is not {MARKER}")
    if found := [name for name, form in SECRETS.items() if form.search(text)]:
        raise OperationError(f"comment.md holds what looks like {', '.join(found)}; it stays unposted")
    return text


def signed(text: str, made_by: Run) -> str:
    """Return the comment with a line of our own below the marker, where nothing that follows can hide it.

    Raises OperationError where that is more than GitHub takes.
    """
    rest = text.partition("\n")[2]
    author = f"the code of {made_by.head_sha[:10]} itself"
    origin = f"<sub>Written by {author}, in [a run without credentials]({made_by.url}).</sub>"
    whole = f"{MARKER}\n{origin}\n\n{rest}"
    if len(whole.encode()) > MOST_BYTES:
        raise OperationError(
            f"comment.md has more than the {MOST_BYTES:,} bytes that fit into a comment with its origin"
        )
    return whole


def base_of(folder: Path) -> str | None:
    """Return the branch that the run compared with, as metadata.json says, or None.

    The pull request's own code wrote it: it may choose between pull requests of the very same commit, no more.
    """
    file = folder / "metadata.json"
    if not file.is_file() or file.is_symlink() or file.stat().st_size > MOST_BYTES:
        return None
    try:
        base = json.loads(file.read_bytes())["base"]
    except (ValueError, LookupError, TypeError):
        return None
    return base if isinstance(base, str) else None


def pull_request(made_by: Run, base: str | None) -> int:
    """Return the number of the open pull request whose newest commit the run was of.

    Raises NothingToPost where there is none: it was closed, or has moved on and a newer run will tell.
    """
    owner = made_by.head_repository.partition("/")[0]
    # The branch narrows the list down; whose commit it is decides.
    listed = _ask(
        "--method=GET",
        f"repos/{made_by.repository}/pulls",
        "--raw-field=state=open",
        f"--raw-field=head={owner}:{made_by.head_branch}",
        f"--raw-field=per_page={PER_PAGE}",
    )
    found = {
        pull["base"]["ref"]: int(pull["number"])
        for pull in listed
        if pull["state"] == "open"
        and pull["head"]["sha"] == made_by.head_sha
        and (pull["head"]["repo"] or {}).get("full_name") == made_by.head_repository
    }
    if not found:
        raise NothingToPost(f"no open pull request has {made_by.head_sha} as its newest commit")
    if len(found) == 1:
        [number] = found.values()
        return number
    if base in found:
        return found[base]
    raise OperationError(
        f"{made_by.head_sha} is the newest commit of {len(found)} pull requests, and which was meant is unknown"
    )


def own_comment(made_by: Run, number: int) -> int | None:
    """Return the id of the comment that an earlier run made, or None."""
    for comment in _comments(made_by, number):
        user = comment["user"] or {}
        ours = (user.get("login"), user.get("type")) == (AUTHOR, "Bot")
        if ours and str(comment["body"]).startswith(MARKER):
            return int(comment["id"])
    return None


def _comments(made_by: Run, number: int) -> Iterator[dict[str, Any]]:
    page = 1
    while True:
        listed = _ask(
            "--method=GET",
            f"repos/{made_by.repository}/issues/{number}/comments",
            f"--raw-field=per_page={PER_PAGE}",
            f"--raw-field=page={page}",
        )
        yield from listed
        if len(listed) < PER_PAGE:
            return
        page += 1


def post(made_by: Run, number: int, text: str) -> None:
    """Change the comment of an earlier run, or make the first one."""
    known = own_comment(made_by, number)
    with tempfile.TemporaryDirectory() as folder:
        body = Path(folder) / "body.json"
        body.write_text(json.dumps({"body": text}), encoding="utf-8")
        if known is None:
            where = ("--method=POST", f"repos/{made_by.repository}/issues/{number}/comments")
        else:
            where = ("--method=PATCH", f"repos/{made_by.repository}/issues/comments/{known}")
        answer = _ask(*where, f"--input={body}")
    say(f"{'made' if known is None else 'updated'}: {answer['html_url']}")


def _ask(*words: str) -> Any:
    answer = answer_of(["gh", "api", *words])
    if answer.returncode != 0:
        raise OperationError(f"gh api {words[1]}: {answer.stderr.strip()}")
    return json.loads(answer.stdout)


def main(argv: Sequence[str]) -> int:
    """Check the comment in DIR, find its pull request, and post it there."""
    parser = argparse.ArgumentParser(prog="scripts.comment", description=__doc__)
    parser.add_argument("folder", metavar="DIR", type=Path, help="where the artifact of the run was unpacked")
    folder = parser.parse_args(argv).folder
    made_by = Run.from_environment()
    try:
        text = signed(comment_of(folder), made_by)
        post(made_by, pull_request(made_by, base_of(folder)), text)
    except NothingToPost as reason:
        say(f"nothing posted: {reason}")
    return 0


if __name__ == "__main__":
    run(main)

"""The sticky comment: what is posted, where, and what never is; GitHub is a stand-in `gh` that keeps pages of 100."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from scripts.comment import AUTHOR, MARKER, MOST_BYTES, PER_PAGE, main
from tests.operations_fakes import SENTINEL, Fakes, Finished, Shell
from tests.recording import ROOT

# `gh api` over a file of pull requests and comments; it notes each call as the other stand-ins do.
GH = """
    import json, pathlib, sys
    here = pathlib.Path(__file__)
    state_file = here.parent.parent / "github.json"
    with (here.parent.parent / "calls").open("a") as calls:
        calls.write(json.dumps(["gh", *sys.argv[1:]]) + "\\n")
    state = json.loads(state_file.read_text())
    assert sys.argv[1] == "api", sys.argv
    options = [word.removeprefix("--") for word in sys.argv[2:] if word.startswith("--")]
    [path] = [word for word in sys.argv[2:] if not word.startswith("--")]
    fields = dict(o.removeprefix("raw-field=").split("=", 1) for o in options if o.startswith("raw-field="))
    [method] = [o.removeprefix("method=") for o in options if o.startswith("method=")]
    body = [json.loads(pathlib.Path(o.removeprefix("input=")).read_text()) for o in options if o.startswith("input=")]

    def fail(said):
        print(said, file=sys.stderr)
        sys.exit(1)

    def answer(value):
        state_file.write_text(json.dumps(state))
        print(json.dumps(value))
        sys.exit(0)

    assert path.startswith("repos/acme/llmserve/"), path
    match method, *path.removeprefix("repos/acme/llmserve/").split("/"):
        case "GET", "pulls":
            assert fields["state"] == "open"
            answer([p for p in state["pulls"] if fields["head"] == state["label"]])
        case "GET", "issues", number, "comments":
            size, page = int(fields["per_page"]), int(fields["page"])
            answer([c for c in state["comments"] if c["number"] == int(number)][(page - 1) * size:page * size])
        case "POST", "issues", number, "comments":
            [sent] = body
            url = f"https://github.com/acme/llmserve/pull/{number}#new"
            state["comments"].append({"id": 1000, "number": int(number), "made": True, "html_url": url,
                                      "user": {"login": "github-actions[bot]", "type": "Bot"}, **sent})
            answer(state["comments"][-1])
        case "PATCH", "issues", "comments", id:
            [sent] = body
            [comment] = [c for c in state["comments"] if c["id"] == int(id)]
            comment.update(sent, updated=True)
            answer(comment)
    fail("gh: Not Found (HTTP 404)")
"""

HEAD = "a" * 40
BOT = {"login": AUTHOR, "type": "Bot"}
EVENT = {
    "REPOSITORY": "acme/llmserve",
    "HEAD_SHA": HEAD,
    "HEAD_REPOSITORY": "someone/llmserve",
    "HEAD_BRANCH": "more-replicas",
    "RUN_URL": "https://github.com/acme/llmserve/actions/runs/7",
}
TEXT = f"{MARKER}\n**prod**: + 1 to create\n"


def pull(
    number: int = 12, *, sha: str = HEAD, repository: str | None = "someone/llmserve", **more: Any
) -> dict[str, Any]:
    head = {"sha": sha, "repo": None if repository is None else {"full_name": repository}}
    return {"number": number, "state": "open", "head": head, "base": {"ref": "main"}} | more


def comment(id: int, body: str = MARKER, user: dict[str, str] | None = None, number: int = 12) -> dict[str, Any]:  # noqa: A002
    return {"id": id, "number": number, "body": body, "user": user or BOT, "html_url": f"https://github.com/c/{id}"}


def people(count: int) -> list[dict[str, Any]]:
    return [comment(100 + i, f"I think {i}", {"login": "someone", "type": "User"}) for i in range(count)]


class GitHub:
    """A repository with pull requests and comments, and the artifact of a run."""

    def __init__(self, shell: Shell, folder: Path) -> None:
        self.shell = shell
        self._state = shell.fakes.directory / "github.json"
        self.artifact = folder
        folder.mkdir()
        program = shell.fakes.path / "gh"
        program.write_text(f"#!{sys.executable} -IS\n{textwrap.dedent(GH)}", encoding="utf-8")
        program.chmod(0o755)
        self.has()

    def has(self, *comments: dict[str, Any], pulls: list[dict[str, Any]] | None = None) -> None:
        state = {
            "pulls": [pull()] if pulls is None else pulls,
            "comments": comments,
            "label": f"{EVENT['HEAD_REPOSITORY'].partition('/')[0]}:{EVENT['HEAD_BRANCH']}",
        }
        self._state.write_text(json.dumps(state), encoding="utf-8")

    def post(self, text: str | bytes = TEXT, *, base: str | None = None, **event: str) -> Finished:
        content = text.encode() if isinstance(text, str) else text
        (self.artifact / "comment.md").write_bytes(content)
        if base is not None:
            (self.artifact / "metadata.json").write_text(json.dumps({"base": base}), encoding="utf-8")
        return self.shell.run(main, str(self.artifact), **{**EVENT, **event})

    def comments(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self._state.read_text(encoding="utf-8"))["comments"]
        return found

    def touched(self) -> list[dict[str, Any]]:
        return [found for found in self.comments() if found.get("made") or found.get("updated")]


@pytest.fixture
def github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> GitHub:
    return GitHub(Shell(Fakes(tmp_path / "fakes"), monkeypatch, capfd), tmp_path / "artifact")


def test_the_first_comment_is_made(github: GitHub) -> None:
    github.has(*people(3))
    finished = github.post()
    assert finished.code == 0, finished.err
    [made] = github.touched()
    assert made["number"] == 12
    assert made["made"]
    first, origin, *rest = made["body"].splitlines()
    assert first == MARKER
    assert HEAD[:10] in origin
    assert EVENT["RUN_URL"] in origin
    assert rest == ["", "**prod**: + 1 to create"]
    assert "made: https://github.com/acme/llmserve/pull/12" in finished.out


def test_the_text_is_in_no_command_line(github: GitHub) -> None:
    # Fakes.calls() refuses a call that holds it.
    assert github.post(f"{TEXT}{SENTINEL}\n").code == 0
    assert SENTINEL in github.touched()[0]["body"]
    assert len(github.shell.fakes.calls()) == 3


def test_the_next_run_updates_it_and_nothing_else(github: GitHub) -> None:
    github.has(
        comment(1, "hello"), comment(2, f"{MARKER}\nold"), comment(3, f"{MARKER}\nanother pull request's", number=13)
    )
    assert github.post().code == 0
    [updated] = github.touched()
    assert (updated["id"], updated.get("made")) == (2, None)
    assert "+ 1 to create" in updated["body"]


def test_it_is_found_on_the_third_page(github: GitHub) -> None:
    github.has(*people(2 * PER_PAGE + 5), comment(2, f"{MARKER}\nold"))
    assert github.post().code == 0
    assert [found["id"] for found in github.touched()] == [2]


@pytest.mark.parametrize("count", [PER_PAGE, 2 * PER_PAGE])
def test_full_pages_alone_end(github: GitHub, count: int) -> None:
    github.has(*people(count))
    assert github.post().code == 0
    assert len(github.comments()) == count + 1


@pytest.mark.parametrize(
    "user",
    [
        {"login": "someone", "type": "User"},
        {"login": "github-actions", "type": "User"},
        {"login": "another[bot]", "type": "Bot"},
    ],
    ids=lambda user: str(user["login"]),
)
def test_anothers_comment_with_the_same_marker_is_not_touched(github: GitHub, user: dict[str, str]) -> None:
    github.has(comment(2, f"{MARKER}\nnot ours", user))
    assert github.post().code == 0
    [made] = github.touched()
    assert made["made"]
    assert github.comments()[0]["body"] == f"{MARKER}\nnot ours"


def test_a_comment_of_a_deleted_account_is_passed_over(github: GitHub) -> None:
    github.has({**comment(2, MARKER), "user": None})
    assert github.post().code == 0
    assert github.touched()[0]["made"]


def test_a_comment_that_only_quotes_the_marker_is_not_ours(github: GitHub) -> None:
    github.has(comment(2, f"see {MARKER}"))
    assert github.post().code == 0
    assert github.touched()[0]["made"]


@pytest.mark.parametrize(
    "pulls",
    [
        pytest.param([], id="none"),
        pytest.param([pull(state="closed")], id="closed"),
        pytest.param([pull(sha="b" * 40)], id="its head moved on"),
        pytest.param([pull(repository="another/llmserve")], id="the same commit in another's fork"),
        pytest.param([pull(repository=None)], id="the fork is gone"),
    ],
)
def test_without_an_open_pull_request_of_this_very_commit_nothing_is_posted(
    github: GitHub, pulls: list[dict[str, Any]]
) -> None:
    github.has(comment(2, f"{MARKER}\nold"), pulls=pulls)
    finished = github.post()
    assert (finished.code, github.touched()) == (0, [])
    assert "nothing posted: no open pull request has" in finished.out


def test_of_several_of_one_commit_the_one_of_the_runs_base_gets_it(github: GitHub) -> None:
    github.has(pulls=[pull(12), pull(13, base={"ref": "next"})])
    assert github.post(base="next").code == 0
    assert [made["number"] for made in github.touched()] == [13]


@pytest.mark.parametrize("base", [None, "elsewhere"])
def test_of_several_of_one_commit_none_is_guessed(github: GitHub, base: str | None) -> None:
    github.has(pulls=[pull(12), pull(13, base={"ref": "next"})])
    finished = github.post(base=base)
    assert (finished.code, github.touched()) == (2, [])
    assert "2 pull requests" in finished.err


def test_what_the_artifact_says_of_its_base_chooses_no_other_pull_request(github: GitHub) -> None:
    github.has(pulls=[pull(12), pull(13, sha="b" * 40, base={"ref": "next"})])
    assert github.post(base="next").code == 0
    assert [made["number"] for made in github.touched()] == [12]


@pytest.mark.parametrize(
    "metadata", ["[]", "null", "no json", '{"base": 3}', '{"other": "main"}', "x" * (MOST_BYTES + 1)]
)
def test_metadata_of_any_form_does_no_harm(github: GitHub, metadata: str) -> None:
    (github.artifact / "metadata.json").write_text(metadata, encoding="utf-8")
    assert github.post().code == 0
    assert github.touched()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(TEXT + "x" * MOST_BYTES, "more than 65,536 bytes", id="too large"),
        pytest.param(
            TEXT + "x" * (MOST_BYTES - len(TEXT)), "the 65,536 bytes that fit", id="too large with its origin"
        ),
        pytest.param(TEXT + "ä" * 33_000, "more than 65,536 bytes", id="too many bytes, not characters"),
        pytest.param("**prod**\n", "the first line", id="no marker"),
        pytest.param(f"**prod**\n{MARKER}\n", "the first line", id="the marker elsewhere"),
        pytest.param("", "the first line", id="empty"),
        pytest.param(TEXT.encode() + b"\xff", "no UTF-8", id="no UTF-8"),
    ],
)
def test_what_is_no_comment_of_the_preview_is_refused(github: GitHub, text: str | bytes, said: str) -> None:
    finished = github.post(text)
    assert (finished.code, github.touched()) == (2, [])
    assert said in finished.err
    assert not github.shell.fakes.calls()


# Put together here, so that no scanner of repositories takes them for real ones.
LOOK_LIKE_SECRETS = {
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "a Google service account's key": '"private_key' + '": "x"',
    "a Google access token": "ya29" + ".a0AfH6SMBexample-example",
    "a Google API key": "AIza" + "S" * 35,
    "a Hugging Face token": "hf_" + "a1" * 17,
    "a GitHub token": "ghs_" + "a1" * 18,
    "a Pulumi token": "pul-" + "0f" * 20,
    "an AWS key": "AKIA" + "A1" * 8,
    "a signed token (JWT)": "eyJ" + "hbGciOiJIUzI1" + ".eyJ" + "zdWIiOiIxMjM0" + ".dozjgNryP4J3jVmN",
    "a secret of Pulumi's state": "v1:" + "a" * 16 + ":" + "b" * 24 + "==",
}


@pytest.mark.parametrize("name", LOOK_LIKE_SECRETS)
def test_what_looks_like_a_secret_is_not_posted_and_not_shown(github: GitHub, name: str) -> None:
    finished = github.post(f"{TEXT}token: {LOOK_LIKE_SECRETS[name]}\n")
    assert (finished.code, github.touched()) == (2, [])
    assert name in finished.err
    assert LOOK_LIKE_SECRETS[name] not in finished.out + finished.err


def test_every_form_of_secret_is_tried() -> None:
    from scripts.comment import SECRETS  # noqa: PLC0415 - beside the table that it is about

    assert set(LOOK_LIKE_SECRETS) == set(SECRETS)


@pytest.mark.parametrize("words", ["huggingFaceToken: [secret]", "hf_token", "private keys", "revision " + "a" * 40])
def test_what_a_preview_really_says_is_no_secret(github: GitHub, words: str) -> None:
    assert github.post(f"{TEXT}{words}\n").code == 0
    assert github.touched()


def test_a_run_that_left_no_comment_is_no_failure(github: GitHub) -> None:
    finished = github.shell.run(main, str(github.artifact), **EVENT)
    assert (finished.code, github.touched()) == (0, [])
    assert "left no comment.md" in finished.out


def test_a_link_is_not_followed(github: GitHub, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(TEXT, encoding="utf-8")
    (github.artifact / "comment.md").symlink_to(tmp_path / "elsewhere")
    finished = github.shell.run(main, str(github.artifact), **EVENT)
    assert (finished.code, github.touched()) == (0, [])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REPOSITORY", "acme"),
        ("HEAD_SHA", "main"),
        ("HEAD_REPOSITORY", ""),
        ("HEAD_BRANCH", "two words"),
        ("RUN_URL", "javascript:alert(1)"),
    ],
)
def test_an_event_of_another_form_is_refused(github: GitHub, name: str, value: str) -> None:
    finished = github.post(**{name: value})
    assert (finished.code, github.touched()) == (2, [])
    assert name in finished.err


def test_what_github_refuses_is_said(github: GitHub) -> None:
    program = github.shell.fakes.path / "gh"
    program.write_text(
        "#!/bin/sh\necho 'HTTP 403: Resource not accessible by integration' >&2\nexit 1\n", encoding="utf-8"
    )
    finished = github.post()
    assert finished.code == 2
    assert "gh api repos/acme/llmserve/pulls: HTTP 403" in finished.err


def test_it_needs_nothing_that_has_to_be_installed() -> None:
    """The job that may write comments installs nothing: -S leaves site-packages out."""
    environment = {"PATH": os.defpath}
    command = [sys.executable, "-S", "-m", "scripts.comment", "--help"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

"""Whether the pods will be able to fetch a stack's models from the hub, with the token that they will have.

The hub's answers: https://github.com/huggingface/huggingface_hub/blob/main/src/huggingface_hub/utils/_http.py
HF_ENDPOINT names another hub, as in Hugging Face's own tools.
"""

import http.client
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator

from planning.schema import TokenSource
from scripts.asking import NotAsked, Outcome, Site, last, not_asked, ok, problem
from scripts.terminal import shown

TIMEOUT_SECONDS = 20


def token_secret(site: Site) -> Iterator[Outcome]:
    """Find the token's secret, and whether its newest version can be read."""
    stack = site.plan.stack
    source, secret = stack.hugging_face_token_from, stack.hugging_face_token_secret
    if source is not TokenSource.SECRET_MANAGER:
        where = "the stack uses none" if source is TokenSource.NONE else "it is in the stack's configuration, encrypted"
        yield ok(f"nothing to check in Secret Manager: {where}")
        return
    try:
        listed = site.ask("secrets", "versions", "list", secret)
    except NotAsked as complaint:
        if "NOT_FOUND" not in str(complaint):
            raise
        yield problem(f"there is no secret {secret}", f"make bootstrap STACK={site.name}")
        return
    newest = max(listed, key=lambda found: int(last(found["name"])), default=None)
    if newest is None:
        yield problem(f"{secret} is empty", _add_token(site))
    elif newest["state"].upper() == "ENABLED":
        yield ok(f"{secret}, version {last(newest['name'])}")
    else:
        # The pods read `latest`, which is the newest one whatever its state.
        state = f"the newest version of {secret}, {last(newest['name'])}, is {newest['state'].lower()}"
        yield problem(f"{state}, and the pods read no other", _add_token(site))


def _add_token(site: Site) -> str:
    secret = site.plan.stack.hugging_face_token_secret
    add = shown(["gcloud", "secrets", "versions", "add", secret, f"--project={site.project}", "--data-file=-"])
    return f'read -rs HF_TOKEN; printf %s "$HF_TOKEN" | {add}; unset HF_TOKEN'


def models(site: Site) -> Iterator[Outcome]:
    """Ask the hub for each model's config.json: with the stack's token, or without where that cannot be had."""
    stack, token, without = site.plan.stack, None, "the stack uses none"
    wanted = {
        (model.declared.repository, version.revision or "main")
        for model in site.plan.models
        for version in model.versions
        if model.declared.repository is not None
    }
    if not wanted:
        yield ok("nothing to check: none comes from the hub")
        return
    if stack.hugging_face_token_from is TokenSource.CONFIG:
        without = "the stack's is encrypted"
    elif stack.hugging_face_token_from is TokenSource.SECRET_MANAGER:
        secret = f"--secret={stack.hugging_face_token_secret}"
        try:
            token = site.read("secrets", "versions", "access", "latest", secret)
        except NotAsked as reason:
            without = f"the stack's cannot be read: {reason}"
        if token is not None and not re.fullmatch(r"[!-~]+", token):
            yield problem("the secret holds more than a token, or none: a blank or a line break", _add_token(site))
            token, without = None, "the stack's is broken"
    for repository, revision in sorted(wanted):
        yield _model(site, repository, revision, token, without)


def _model(site: Site, repository: str, revision: str, token: str | None, without: str) -> Outcome:
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    what = f"{repository} at {revision}"
    try:
        status, code = _status(f"{hub}/{repository}/resolve/{revision}/config.json", token)
    except (OSError, http.client.HTTPException) as error:
        return not_asked(f"{what}: {hub} cannot be reached ({getattr(error, 'reason', None) or type(error).__name__})")
    if status < 400:
        return ok(f"{what}: can be read {'with the token' if token else 'without a token'}")
    if status not in (401, 403, 404):
        return not_asked(f"{what}: the hub answers {status}")
    if status != 404 and token is None:
        return _without_token(site, what, without)
    absent = {"RevisionNotFound": "it has no such revision", "EntryNotFound": "it has no config.json"}
    reason, fix = {
        401: ("the hub refuses the token itself: wrong, revoked or expired", _add_token(site)),
        403: (
            "the token may not read it",
            f"ask for access at {hub}/{repository}, with the account that the token is of; a fine-grained token must "
            f"also be allowed to read public gated repositories: {hub}/settings/tokens",
        ),
        404: (
            absent.get(code, "there is no such repository, or the token may not know of it"),
            f"correct the setting; git ls-remote {hub}/{repository} HEAD prints the newest revision",
        ),
    }[status]
    return problem(f"{what}: {reason}", fix)


def _without_token(site: Site, what: str, without: str) -> Outcome:
    wants = f"{what}: the hub wants a token (it is gated, private or misspelt), and {without}"
    if site.plan.stack.hugging_face_token_from is not TokenSource.NONE:
        return not_asked(wants)
    fix = f"pulumi config set --stack {site.name} huggingFaceTokenFrom secret-manager"
    return problem(wants, f"{fix}; make bootstrap STACK={site.name}")


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow nothing: the request holds the token."""


def _status(url: str, token: str | None) -> tuple[int, str]:
    """Return a file's HTTP status, and the hub's own code for an error. Raises OSError without an answer.

    Redirects are followed on the same host only. One to another host leads to the stored file: the hub lets it be read.
    """
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    host = urllib.parse.urlsplit(url)[:2]
    for _ in range(5):
        request = urllib.request.Request(url, headers=headers, method="HEAD")  # noqa: S310
        try:
            with urllib.request.build_opener(_Stay).open(request, timeout=TIMEOUT_SECONDS) as answered:
                return answered.status, ""
        except urllib.error.HTTPError as answered:
            answered.close()
            if not 300 <= answered.code < 400:
                return answered.code, answered.headers.get("X-Error-Code", "")
            url = urllib.parse.urljoin(url, answered.headers.get("Location", ""))
        if urllib.parse.urlsplit(url)[:2] != host:
            return 200, ""
    raise urllib.error.URLError("it redirects without end")

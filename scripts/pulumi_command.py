"""Where `pulumi` is, and which backend holds a stack's state."""

import json
import os
import shutil
from importlib import metadata
from pathlib import Path

from scripts.bootstrap import login_lines, state_key
from scripts.stack_file import StackFile
from scripts.terminal import OperationError, answer_of, say

LOCAL_STATE = ".pulumi-local"


def find() -> str | None:
    """Return the `pulumi` of PATH, else the one that `install` put where the SDK keeps its own."""
    version = metadata.version("pulumi")
    own = Path.home() / ".pulumi" / "versions" / version / "bin" / "pulumi"
    return shutil.which("pulumi") or (str(own) if os.access(own, os.X_OK) else None)


def find_or_install() -> str:
    """Return a `pulumi`; without one, install the SDK's version the way the SDK offers, and say so."""
    found = find()
    if found:
        return found
    # Half a second of imports that only this case needs.
    from pulumi.automation import PulumiCommand  # noqa: PLC0415

    version = metadata.version("pulumi")
    say(f"pulumi is not on PATH: installing {version} from get.pulumi.com into ~/.pulumi/versions/{version}")
    try:
        return PulumiCommand.install().command
    except Exception as error:
        raise OperationError(
            f"pulumi {version} could not be installed ({error}).\n"
            "Install it as https://www.pulumi.com/docs/install/ says, then run the same command again."
        ) from error


def backend(pulumi: str, stack: StackFile) -> tuple[str, dict[str, str]]:
    """Return the URL of the backend that holds the stack's state and the environment that selects it.

    It is the one that the user is logged in to. Without a login a stack without protection keeps its state in
    the working directory, for which the passphrase comes from the environment; a protected one is refused.
    """
    who = answer_of([pulumi, "whoami", "--json", "--non-interactive"])
    local = Path(LOCAL_STATE).absolute()
    url = f"file://{local}"
    if who.returncode == 0:
        logged_in = str(json.loads(who.stdout)["url"])
        if logged_in.startswith("file://") and stack.protected:
            raise _needs_a_shared_backend(stack, f"you are logged in to {logged_in}")
        state = local / ".pulumi" / "stacks" / stack.project / f"{stack.stack}.json"
        if logged_in != url and state.exists() and '"urn"' in state.read_text(encoding="utf-8"):
            raise OperationError(
                f"the state of {stack.stack} is in {LOCAL_STATE}, but you are logged in to {logged_in},\n"
                "where all its resources would be made a second time. Go on with the local state:\n"
                f"  export PULUMI_BACKEND_URL={url}\n"
                f"Or move it (pulumi stack export, then init and import there) and remove\n  {state}"
            )
        return logged_in, dict(os.environ)
    if "login during non-interactive" not in who.stderr:
        raise OperationError(f"pulumi cannot reach the backend that you are logged in to:\n{who.stderr.strip()}")
    if stack.protected:
        raise _needs_a_shared_backend(stack, "you are not logged in")
    if "PULUMI_CONFIG_PASSPHRASE" not in os.environ and "PULUMI_CONFIG_PASSPHRASE_FILE" not in os.environ:
        raise OperationError(
            f"you are not logged in, so the state of {stack.stack} stays here, in {LOCAL_STATE};\n"
            "its secrets need a passphrase:\n  export PULUMI_CONFIG_PASSPHRASE_FILE=FILE\n"
            "Or log in first: pulumi login"
        )
    say(f"not logged in; {stack.stack} is not protected, so its state stays here: keep {LOCAL_STATE}")
    local.mkdir(mode=0o700, exist_ok=True)
    return url, {**os.environ, "PULUMI_BACKEND_URL": url}


def _needs_a_shared_backend(stack: StackFile, why: str) -> OperationError:
    lines = login_lines(stack.real_project(), stack.required("gcp:region"), stack.stack)
    return OperationError(
        f"{why}, and {stack.stack} is protected: its state must not be on one machine only.\n"
        f"Once for a team: make bootstrap STACK={stack.stack}\nThen:\n" + "\n".join(f"  {line}" for line in lines)
    )


def select(pulumi: str, stack: StackFile, url: str, environment: dict[str, str], *, create: bool) -> None:
    """Select the stack, or make it where the backend has none of that name and `create` allows it."""
    selected = answer_of([pulumi, "stack", "select", stack.stack, "--non-interactive"], environment)
    if selected.returncode == 0:
        say(f"stack {stack.stack}, state in {url}")
        return
    if "no stack named" not in selected.stderr:
        raise OperationError(f"pulumi cannot select the stack {stack.stack}:\n{selected.stderr.strip()}")
    if not create:
        raise OperationError(f"there is no stack {stack.stack} in {url}: nothing was ever made there with this login")
    provider = stack.secrets_provider
    if provider is None and url.startswith("gs://"):
        provider = f"gcpkms://{state_key(stack.real_project(), stack.required('gcp:region'))}"
    options = [] if provider is None else ["--secrets-provider", provider]
    say(f"making stack {stack.stack} in {url} (pulumi notes its encryption in {stack.file}: commit that)")
    made = answer_of([pulumi, "stack", "init", stack.stack, "--non-interactive", *options], environment)
    if made.returncode != 0:
        raise OperationError(
            f"pulumi cannot make the stack {stack.stack}:\n{made.stderr.strip()}\n"
            f"Was `make bootstrap STACK={stack.stack}` run, and may you use its key?"
        )

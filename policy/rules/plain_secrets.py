"""The rule for secrets: none in a value that everybody can read who may list objects, or the stack's state."""

import re
from collections.abc import Iterator
from typing import Final

from planning.policies import Policy
from policy.rules.place import Place
from policy.rules.rule import Facts, Finding, Rule, Seen, Violation, judged
from policy.rules.workload import pods_of, words

RELEASE: Final = "kubernetes:helm.sh/v3:Release"
CONFIG_MAP: Final = "kubernetes:core/v1:ConfigMap"

NAMES: Final = re.compile(
    r"^secret$|(^|[_.-])(pass(word|wd|phrase)|token|credentials?|(api|access|auth|private|secret)[_.-]?key"
    r"|client[_.-]?secret)$",
    re.IGNORECASE,
)
"""How a variable or a key of a chart is called that holds a secret itself, and not the name of one: existingSecret."""
CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
SHAPES: Final = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    re.compile(r"\bhf_[A-Za-z0-9]{30,}"),
    re.compile(r"\bAIza[0-9A-Za-z_-]{35}"),
    re.compile(r"\bya29\.[0-9A-Za-z_-]{20,}"),
    re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
    re.compile(r"\bgh[opsur]_[A-Za-z0-9]{36,}"),
    re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}"),
    re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    re.compile(r"\bsk-[A-Za-z0-9_-]{32,}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\."),
)
"""Keys and tokens that are known by how they look: private keys, Hugging Face, Google, AWS, GitHub, GitLab, Slack,
OpenAI, and signed tokens of any kind."""


def no_plain_secret(resource: Seen, _: Facts) -> Iterator[Finding]:
    """Yield values that are called or look like a secret, where everybody reads them. Secrets may be in a Secret."""
    whole = resource.place
    pods = pods_of(resource)
    if pods is not None:
        yield from _named(pods.metadata["annotations"])
        yield from judged(_containers(resource))
    elif resource.type == CONFIG_MAP:
        yield from _named(whole["data"])
    elif resource.type == RELEASE:
        yield from _named(whole["values"])
    if resource.type.startswith("kubernetes:"):
        yield from _named(whole.at("metadata", "annotations"))
        yield from _named(whole.at("metadata", "labels"))


def _containers(resource: Seen) -> Iterator[Finding]:
    pods = pods_of(resource)
    for container in pods.containers() if pods is not None else ():
        for entry in container["env"].each():
            # A reference to a Secret has `valueFrom` in its place.
            yield from judged(_value(entry["value"], called=entry["name"].text))
        for word in words(container):
            yield from judged(_value(word, called=""))


def _named(place: Place) -> Iterator[Finding]:
    for key, leaf in place.leaves():
        yield from judged(_value(leaf, called=key))


def _value(place: Place, *, called: str) -> Iterator[Finding]:
    value = place.value
    if not isinstance(value, str) or not value:
        return
    if is_secret_name(called):
        yield Violation(message=f"{place.path} is called like a secret and stands there in clear")
    elif any(shape.search(value) for shape in SHAPES):
        yield Violation(message=f"{place.path} looks like a key or a token")


def is_secret_name(called: str) -> bool:
    """Whether what is called so is a secret itself: HF_TOKEN and adminPassword, not MAX_TOTAL_TOKENS or passwordKey."""
    return bool(NAMES.search(CAMEL.sub("_", called)))


RULES: Final = (
    Rule(
        name=Policy.NO_PLAIN_SECRET,
        what="No secret stands in a plain value: environment, arguments, ConfigMaps, charts' values, annotations.",
        why="whoever may list pods or read the state has it, and so has every log of either.",
        fix="a Kubernetes Secret, filled from Secret Manager, and a reference to it; and a new secret, since this one"
        " has been seen.",
        of_resource=no_plain_secret,
    ),
)

"""How image registries and chart repositories are asked: without a login, as nodes and Helm ask them.

Images: the OCI distribution API, https://github.com/opencontainers/distribution-spec/blob/main/spec.md
Charts: https://helm.sh/docs/topics/chart_repository/#the-index-file
"""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from http.client import HTTPMessage

import yaml

MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
ANSWERS_AT = {"docker.io": "registry-1.docker.io"}
"""Registries that answer at another host than the one in their images' names."""
TIMEOUT_SECONDS = 20


def manifest_of(reference: str) -> HTTPMessage:
    """Return what a registry says of an image: of its digest where it has one, else of its tag.

    Raises HTTPError where the registry refuses, another OSError where it cannot be asked, and LookupError or ValueError
    where its token service answers something else than a token.
    """
    name, _, digest = reference.partition("@")
    host, _, path = name.partition("/")
    repository, _, tag = path.rpartition(":") if ":" in path else (path, "", "")
    url = f"{_scheme(host)}://{ANSWERS_AT.get(host, host)}/v2/{repository}/manifests/{digest or tag}"
    headers = {"Accept": ", ".join(MANIFEST_TYPES)}
    try:
        return request(url, headers, method="HEAD")[0]
    except urllib.error.HTTPError as error:
        challenge = dict(re.findall(r'(\w+)="([^"]*)"', error.headers.get("WWW-Authenticate", "")))
        if error.code != 401 or "realm" not in challenge:
            raise
    query = {key: challenge[key] for key in ("service", "scope") if key in challenge}
    token = json.loads(request(f"{challenge['realm']}?{urllib.parse.urlencode(query)}", {})[1])
    headers["Authorization"] = f"Bearer {token.get('token') or token['access_token']}"
    return request(url, headers, method="HEAD")[0]


def charts_at(repository: str) -> Mapping[str, list[str]]:
    """Return the versions of every chart that a repository lists.

    Raises OSError where it cannot be asked, LookupError, TypeError, ValueError or YAMLError where it lists nothing.
    """
    index = yaml.load(
        request(f"{repository}/index.yaml", {})[1],
        Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader),  # noqa: S506  (a safe one: the usual one takes a minute)
    )
    return {name: [str(entry["version"]) for entry in entries] for name, entries in index["entries"].items()}


def request(url: str, headers: Mapping[str, str], method: str = "GET") -> tuple[HTTPMessage, bytes]:
    """Ask, and return headers and body. Raises OSError without an answer, HTTPError for one that refuses."""
    asked = urllib.request.Request(url, headers=dict(headers), method=method)  # noqa: S310
    with urllib.request.urlopen(asked, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
        return response.headers, response.read()


def _scheme(host: str) -> str:
    # As container engines do: a registry on the machine itself needs no TLS.
    return "http" if re.match(r"(localhost|127\.0\.0\.1)(:|$)", host) else "https"

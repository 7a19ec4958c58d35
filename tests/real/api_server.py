"""A real Kubernetes API server on loopback: etcd and kube-apiserver, and where wanted what makes pods and nodes move.

Ports are free ones, files are in a folder of the caller's, and every program ends with the test run, however that ends.
"""

import base64
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.real.kubernetes_yaml import load_all
from tests.real.programs import need

READY_SECONDS: Final = 90
KWOK_STAGES: Final = Path(__file__).parent / "kwok_stages.yaml"
SERVICE_RANGE: Final = "10.96.0.0/16"

# The shell ends the program when its own standard input ends: that of a killed test run as well.
_GUARD: Final = """
exec 3<&0
"$@" </dev/null 3<&- & program=$!
{ read -r nothing <&3; kill -9 $program; } 2>/dev/null & guard=$!
wait $program; code=$?
kill $guard 2>/dev/null
exit $code
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the API server said: an HTTP status, its JSON and its warnings."""

    status: int
    body: dict[str, Any]
    warnings: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether the request was carried out."""
        return 200 <= self.status < 300

    @property
    def message(self) -> str:
        """Why it was not, in the server's words."""
        return str(self.body.get("message", ""))


class NotServedError(Exception):
    """The API server has no such kind: a custom resource without its definition."""


@dataclass(kw_only=True, slots=True)
class ApiServer:
    """A running API server that takes its one administrator's token. Nothing but loopback reaches it."""

    address: str
    """https://127.0.0.1:PORT."""
    token: str
    certificate: Path
    """The server's own certificate, with the authority that signed it."""
    kubeconfig: Path
    """For kubectl, helm, Pulumi and every other client; names no file."""
    folder: Path
    """Logs (`<program>.log`), data and keys."""
    start: Callable[[str, list[str]], None]
    """Start another program that ends together with the server."""
    _kinds: dict[str, dict[str, tuple[str, bool]]] = field(default_factory=dict)

    def request(self, method: str, path: str, body: object = None, *, content_type: str = "application/json") -> Answer:
        """Ask for a path, and return the answer whether it was accepted or refused."""
        request = urllib.request.Request(  # noqa: S310 - the address is this server's own
            self.address + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": content_type},
        )
        trust = ssl.create_default_context(cafile=self.certificate)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
        )
        try:
            with opener.open(request, timeout=60) as answer:
                return Answer(
                    status=answer.status,
                    body=_object(answer.read()),
                    warnings=tuple(answer.headers.get_all("Warning") or ()),
                )
        except urllib.error.HTTPError as error:
            with error:
                return Answer(status=error.code, body=_object(error.read()))

    def path(self, manifest: Mapping[str, Any]) -> str:
        """Where an object lives; NotServedError where the server does not know its kind."""
        version, kind = manifest["apiVersion"], manifest["kind"]
        base = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if kind not in self._kinds.get(version, {}):
            listed = self.request("GET", base).body.get("resources", [])
            self._kinds[version] = {
                item["kind"]: (item["name"], item["namespaced"]) for item in listed if "/" not in item["name"]
            }
        try:
            plural, namespaced = self._kinds[version][kind]
        except KeyError:
            raise NotServedError(f"{version} {kind}") from None
        metadata = manifest["metadata"]
        namespace = f"/namespaces/{metadata.get('namespace', 'default')}" if namespaced else ""
        return f"{base}{namespace}/{plural}/{metadata['name']}"

    def apply(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Answer:
        """Server-side apply with strict field validation: an unknown or doubled field is refused.

        https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation
        """
        options = {"fieldManager": "tests", "force": "true", "fieldValidation": "Strict"}
        if dry_run:
            options["dryRun"] = "All"
        path = f"{self.path(manifest)}?{urllib.parse.urlencode(options)}"
        return self.request("PATCH", path, manifest, content_type="application/apply-patch+yaml")

    def merge(self, path: str, patch: Mapping[str, Any]) -> Answer:
        """Merge a patch into an object or one of its subresources."""
        return self.request("PATCH", path, patch, content_type="application/merge-patch+json")

    def items(self, path: str) -> list[dict[str, Any]]:
        """The objects of a list."""
        found: list[dict[str, Any]] = self.request("GET", path).body["items"]
        return found

    def make_namespaces(self, *names: str) -> None:
        """Make namespaces that are not there yet."""
        for name in names:
            made = self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            assert made.accepted, made.message

    def define(self, *places: Path) -> set[str]:
        """Make every CustomResourceDefinition in YAML files, or below folders, and wait until they are served.

        Returns their names, `<plural>.<group>`.
        """
        names: set[str] = set()
        for manifest in (found for place in places for found in definitions(place)):
            made = self.apply(manifest)
            name = manifest["metadata"]["name"]
            assert made.accepted, f"{name}: {made.message}"
            names.add(name)

        self.wait_for_definitions(names)
        return names

    def wait_for_definitions(self, names: Collection[str]) -> None:
        """Wait until these definitions, `<plural>.<group>`, are served."""

        def established() -> bool:
            listed = self.items("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
            return set(names) <= {
                item["metadata"]["name"]
                for item in listed
                if any(
                    condition["type"] == "Established" and condition["status"] == "True"
                    for condition in item.get("status", {}).get("conditions") or ()
                )
            }

        wait_until(established, "the definitions are served", seconds=30)

    def run_controllers(self) -> None:
        """Start what makes pods of Deployments and DaemonSets, and what chooses their nodes."""
        for program in ("kube-controller-manager", "kube-scheduler"):
            need(program)
        keys = ["--service-account-private-key-file", str(self.folder / "service-accounts.pem")]
        trust = ["--root-ca-file", str(self.certificate)]
        common = ["--kubeconfig", str(self.kubeconfig), "--leader-elect=false", "--secure-port=0"]
        self.start("kube-controller-manager", [*common, *keys, *trust, "--controllers=*,-node-ipam-controller"])
        self.start("kube-scheduler", common)

    def run_nodes(self) -> None:
        """Start KWOK: every Node object becomes Ready, and every pod on it runs, with nothing behind it."""
        need("kwok")
        options = ["--kubeconfig", str(self.kubeconfig), "--manage-all-nodes=true", "--config", str(KWOK_STAGES)]
        self.start("kwok", options)


def definitions(place: Path) -> Iterator[dict[str, Any]]:
    """Yield every CustomResourceDefinition in a YAML file, or in the YAML files below a folder."""
    files = sorted(place.rglob("*")) if place.is_dir() else [place]
    for file in (path for path in files if path.suffix in {".yaml", ".yml"}):
        for manifest in load_all(file.read_text(encoding="utf-8")):
            if manifest.get("kind") == "CustomResourceDefinition":
                yield manifest


def wait_until(done: Callable[[], bool], what: str, *, seconds: float) -> None:
    """Ask again until it is so; TimeoutError where it never is."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so within {seconds:.0f} seconds: {what}")
        time.sleep(0.2)


@contextmanager
def running(folder: Path) -> Iterator[ApiServer]:
    """Run etcd and kube-apiserver, with files in the folder, until the block ends. Skips where they are not at hand."""
    for program in ("etcd", "kube-apiserver"):
        need(program)
    folder.mkdir(parents=True, exist_ok=True)
    etcd, peer, port = free_ports(3)
    token = secrets.token_hex(16)
    (folder / "tokens.csv").write_text(f"{token},administrator,administrator,system:masters\n", encoding="utf-8")
    key = folder / "service-accounts.pem"
    key.write_text(_private_key(), encoding="utf-8")
    certificates = folder / "certificates"

    with ExitStack() as programs:

        def start(program: str, arguments: list[str]) -> None:
            programs.enter_context(_program(program, arguments, folder / f"{program}.log"))

        storage, peers = f"http://127.0.0.1:{etcd}", f"http://127.0.0.1:{peer}"
        start(
            "etcd",
            [
                "--data-dir", str(folder / "etcd"), "--unsafe-no-fsync",
                "--listen-client-urls", storage, "--advertise-client-urls", storage,
                "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
                "--initial-cluster", f"default={peers}",
            ],
        )  # fmt: skip
        start(
            "kube-apiserver",
            [
                "--etcd-servers", storage, "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1",
                "--secure-port", str(port), "--cert-dir", str(certificates), "--endpoint-reconciler-type", "none",
                "--token-auth-file", str(folder / "tokens.csv"), "--authorization-mode", "RBAC",
                "--service-account-issuer", "https://kubernetes.default.svc",
                "--service-account-key-file", str(key), "--service-account-signing-key-file", str(key),
                "--service-cluster-ip-range", SERVICE_RANGE, "--allow-privileged=true",
                # etcd 3.4, Debian's, cannot serve such lists: clients would ask again and again, ever more slowly.
                "--feature-gates", "WatchList=false",
            ],
        )  # fmt: skip
        server = ApiServer(
            address=f"https://127.0.0.1:{port}",
            token=token,
            certificate=certificates / "apiserver.crt",
            kubeconfig=folder / "kubeconfig",
            folder=folder,
            start=start,
        )
        wait_until(lambda: _ready(server), "kube-apiserver is ready", seconds=READY_SECONDS)
        server.kubeconfig.write_text(json.dumps(_kubeconfig(server), indent=1), encoding="utf-8")
        yield server


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on."""
    with ExitStack() as open_sockets:
        ports = []
        for _ in range(count):
            listening = open_sockets.enter_context(socket.socket())
            listening.bind(("127.0.0.1", 0))
            ports.append(int(listening.getsockname()[1]))
        return ports


@contextmanager
def _program(program: str, arguments: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        # A session of its own: ctrl-C reaches the tests alone, and they end what they started.
        process = subprocess.Popen(
            ["sh", "-c", _GUARD, program, str(need(program)), *arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        try:
            process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _ready(server: ApiServer) -> bool:
    try:
        return server.certificate.exists() and server.request("GET", "/readyz?verbose").status == 200
    except (urllib.error.URLError, ssl.SSLError, ConnectionError, TimeoutError):
        return False


def _object(content: bytes) -> dict[str, Any]:
    try:
        read = json.loads(content)
    except ValueError:
        read = None
    return read if isinstance(read, dict) else {"message": content.decode(errors="replace")}


def _kubeconfig(server: ApiServer) -> dict[str, Any]:
    authority = base64.b64encode(server.certificate.read_bytes()).decode()
    name = "loopback"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [
            {"name": name, "cluster": {"server": server.address, "certificate-authority-data": authority}},
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "users": [{"name": name, "user": {"token": server.token}}],
    }


def _private_key() -> str:
    """Make a key on the curve P-256 that signs service accounts' tokens: an ECPrivateKey of RFC 5915, in PEM.

    The public half is optional there, and whoever reads the key computes it.
    """
    number = secrets.token_bytes(32)
    curve = bytes.fromhex("a00a06082a8648ce3d030107")
    content = b"\x02\x01\x01\x04\x20" + number + curve
    text = base64.b64encode(bytes([0x30, len(content)]) + content).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN EC PRIVATE KEY-----", *lines, "-----END EC PRIVATE KEY-----", ""])

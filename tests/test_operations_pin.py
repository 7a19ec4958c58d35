import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from scripts import pin
from scripts.terminal import OperationError

DIGEST = "sha256:" + "5" * 64
COMMIT = "c" * 40


class Registry(BaseHTTPRequestHandler):
    """A registry that wants the anonymous token of its own token service, and a model hub."""

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, code: int, body: object = None, **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if body is not None:
            self.wfile.write(json.dumps(body).encode())

    def do_HEAD(self) -> None:
        realm = f"http://{self.headers['Host']}/token"
        if self.headers.get("Authorization") != "Bearer anonymous":
            challenge = f'Bearer realm="{realm}",service="registry",scope="repository:team/tgi:pull"'
            self.answer(401, WWW_Authenticate=challenge)
        elif self.path == "/v2/team/tgi/manifests/3.3.7" and "oci.image.index" in self.headers["Accept"]:
            self.answer(200, Docker_Content_Digest=DIGEST)
        elif self.path.endswith("/manifests/odd"):
            self.answer(200, Docker_Content_Digest="sha256:short")
        else:
            self.answer(404)

    def do_GET(self) -> None:
        if self.path == "/token?service=registry&scope=repository%3Ateam%2Ftgi%3Apull":
            self.answer(200, {"token": "anonymous"})
        elif self.path == "/api/models/acme/llama/revision/main":
            self.answer(200, {"sha": COMMIT})
        else:
            self.answer(404)


@pytest.fixture
def host() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", f"http://{host}")
    return tmp_path


def versions(*images: str) -> str:
    """Write a versions.py with these images and return its text."""
    named = {f"IMAGE_{number}": image for number, image in enumerate(images)}
    constants = "".join(f'{name} = "{image}"  # kept\n' for name, image in named.items())
    text = f"{constants}IMAGES = {{{', '.join(f'{name!r}: {name}' for name in named)}}}\n"
    pin.VERSIONS.write_text(text)
    return text


def test_the_line_to_write_is_printed_and_nothing_is_changed(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = versions(f"{host}/team/tgi:3.3.7", f"gke.gcr.io/pause:3.8@{DIGEST}")
    assert pin.main([]) == 0
    assert capsys.readouterr().out == f'IMAGE_0 = "{host}/team/tgi:3.3.7@{DIGEST}"\n'
    assert pin.VERSIONS.read_text() == before


def test_write_pins_the_constant_and_keeps_the_rest(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = versions(f"{host}/team/tgi:3.3.7", f"gke.gcr.io/pause:3.8@{DIGEST}")
    assert pin.main(["--write"]) == 0
    assert pin.VERSIONS.read_text() == before.replace("3.3.7", f"3.3.7@{DIGEST}")
    capsys.readouterr()
    assert pin.main(["--write"]) == 0
    assert capsys.readouterr().out == "everything is pinned\n"


@pytest.mark.parametrize("second", ["127.0.0.1:1/team/tgi:3.3.7", "HOST/team/gone:1"])
def test_without_an_answer_nothing_is_changed(host: str, second: str, capsys: pytest.CaptureFixture[str]) -> None:
    second = second.replace("HOST", host)
    before = versions(f"{host}/team/tgi:3.3.7", second)
    assert pin.main(["--write"]) == 1
    assert f"{second} could not be looked up" in capsys.readouterr().out
    assert pin.VERSIONS.read_text() == before


def test_a_digest_that_is_none_is_not_written(host: str) -> None:
    before = versions(f"{host}/team/tgi:odd")
    with pytest.raises(OperationError, match="gave no digest"):
        pin.main(["--write"])
    assert pin.VERSIONS.read_text() == before


def test_a_constant_that_is_put_together_is_left_to_a_person(host: str) -> None:
    pin.VERSIONS.write_text(f'IMAGES = {{"TGI": "{host}/team/" + "tgi:3.3.7"}}\n')
    with pytest.raises(OperationError, match="by hand"):
        pin.main(["--write"])


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("{name: m, repository: acme/llama}", True),
        (f"{{name: m, repository: acme/llama, revision: {COMMIT}}}", False),
        ("{name: m, image: own}", False),
        (f"{{name: m, repository: acme/llama, rollout: {{versions: [{{revision: {COMMIT}}}]}}}}", False),
        (f"{{name: m, repository: acme/llama, rollout: {{versions: [{{revision: {COMMIT}}}, {{}}]}}}}", True),
    ],
)
def test_a_model_without_a_commit_gets_its_line(
    project: Path, model: str, *, expected: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    versions()
    (project / "Pulumi.prod.yaml").write_text(f"config:\n  llmserve:models:\n    - {{name: first}}\n    - {model}\n")
    assert pin.main([]) == 0
    line = f"pulumi config set --stack prod --path 'llmserve:models[1].revision' {COMMIT}\n"
    assert capsys.readouterr().out == (line if expected else "everything is pinned\n")

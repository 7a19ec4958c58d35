"""The command line: what it shows, what it writes, what it refuses, and its exit codes."""

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

import preview
from preview import cli
from preview.document import document, seconds
from preview.masking import mask
from preview.text import Style, render, short_type

ROOT = Path(__file__).parent.parent
PLATFORM = Path(__file__).parent / "programs" / "platform"
TOKEN = "hf_never-shown/anywhere+1"  # noqa: S105 - made up
SENTINEL = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A project with stacks dev and prod; its program is to be written by the test."""
    (tmp_path / "Pulumi.yaml").write_text(
        "name: small\nruntime: python\nconfig: {token: {type: string, secret: true}}\n"
    )
    for stack in ("dev", "prod"):
        (tmp_path / f"Pulumi.{stack}.yaml").write_text("config: {token: {secure: v1:abc}}\n")
    write(tmp_path, "")
    return tmp_path


def write(project: Path, source: str) -> None:
    (project / "__main__.py").write_text("import pulumi\nimport pulumi_random as random\n" + textwrap.dedent(source))


def run(*arguments: object) -> int:
    try:
        return cli.run([str(argument) for argument in arguments])
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else 99


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    return document(preview.record(PLATFORM, "dev", config={"token": TOKEN}))


def state(shown: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [
        step["newState"] for step in shown["steps"] if step["urn"].endswith(f"::{name}") and step["op"] != "import"
    ]
    assert isinstance(found, dict)
    return found


# The document


def test_the_document_has_the_engines_shape(shown: dict[str, Any]) -> None:
    assert list(shown) == ["config", "steps", "diagnostics", "changeSummary", "outputs"]
    assert shown["config"]["platform:token"] == "[secret]"
    assert shown["config"]["platform:models"] == '[{"name":"small","scaling":{"max":2,"min":0}}]'
    assert shown["changeSummary"] == {"create": 11, "import": 1, "read": 1, "update": 1}
    assert shown["diagnostics"] == [
        {"urn": state(shown, "token")["urn"], "message": "warning: the token was read\n", "severity": "warning"}
    ]
    pool = state(shown, "gpu")
    assert pool["type"] == "gcp:container/nodePool:NodePool"
    assert pool["custom"] is True
    assert pool["provider"].endswith(f"::pulumi:providers:gcp::google::{SENTINEL}")
    assert pool["sourcePosition"].startswith("project:///cluster.py#")
    assert pool["propertyDependencies"]["nodeConfig"] == []
    server = state(shown, "server")
    assert server["ignoreChanges"] == server["options"]["ignoreChanges"] == ["spec.replicas"]
    assert server["customTimeouts"] == {"create": 900}
    assert server["inputs"]["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] == SENTINEL


def test_an_import_is_two_steps(shown: dict[str, Any]) -> None:
    steps = [step for step in shown["steps"] if step["urn"].endswith("::suffix")]
    assert [step["op"] for step in steps] == ["import", "update"]
    assert steps[0]["newState"]["importID"] == "p-9hUg"


@pytest.mark.parametrize(("text", "value"), [("15m", 900), ("1h30m", 5400), ("500ms", 0.5), ("90s", 90)])
def test_durations_are_seconds(text: str, value: float) -> None:
    assert seconds(text) == value


def test_the_same_program_gives_the_same_bytes(tmp_path: Path) -> None:
    """Other hash seeds, and another place on the disk."""
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for file in PLATFORM.glob("*.*"):
        (copy / file.name).write_text(file.read_text())
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "preview", "dev", "--project", str(folder), "--format", "json"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
        )
        for folder, seed in ((PLATFORM, "1"), (copy, "2"))
    ]
    first, second = (process.communicate()[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert first == second
    assert len(json.loads(first)["steps"]) == 14


# Secrets


@pytest.mark.parametrize(
    "source",
    [
        'pulumi.export("leak", pulumi.Config().get("token"))',
        'pulumi.export("leak", "prefix " + pulumi.Config().get("token") + " suffix")',
        'pulumi.export(pulumi.Config().get("token"), 1)',
        'pulumi.log.warn("the token is " + pulumi.Config().get("token"))',
        'print("the token is", pulumi.Config().get("token"))',
        'random.RandomId(pulumi.Config().get("token"), byte_length=1, keepers={"t": pulumi.Config().get("token")})',
        'raise ValueError("cannot use " + pulumi.Config().get("token"))',
        'raise pulumi.RunError("cannot use " + repr(pulumi.Config().get("token")))',
        'import base64; pulumi.export("leak", base64.b64encode(pulumi.Config().get("token").encode()).decode())',
        'import json; pulumi.export("leak", json.dumps({"t": pulumi.Config().get("token")}))',
        'print(pulumi.Config().get("token")); import os; os._exit(1)',
        f'random.RandomPet("p", prefix=pulumi.Output.secret("{TOKEN}")); pulumi.export("leak", "with {TOKEN} inside")',
    ],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_secret_is_shown_nowhere(small: Path, capfd: pytest.CaptureFixture[str], source: str, form: str) -> None:
    write(small, source)
    arguments = [] if "Output.secret" in source else ["-c", f"token={TOKEN}"]
    run("dev", "--project", small, "--format", form, "--details", *arguments)
    out, err = capfd.readouterr()
    assert "hf_never" not in out + err
    assert "aGZfbmV2ZXI" not in out + err
    assert "[secret]" in out + err


def test_masking_keeps_what_is_not_secret() -> None:
    assert mask({"a": ["x hunter2 y", 1, None]}, frozenset({"hunter2"})) == {"a": ["x [secret] y", 1, None]}
    assert mask("untouched", frozenset()) == "untouched"


# Text


def test_the_tree_shows_parents_operations_outputs_and_a_summary(
    shown: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    text = render(shown, stack="dev", style=Style(lines=True))
    lines = text.splitlines()
    parent = next(number for number, line in enumerate(lines) if re.search(r"\+ Cluster +main", line))
    assert re.match(r"│  ├─ \+ container Cluster +main +\(protected, cluster\.py:\d+\)", lines[parent + 1])
    assert re.match(r"│  └─ \+ container NodePool +gpu +\(cluster\.py:\d+\)", lines[parent + 2])
    assert re.search(r"<= compute Network +shared", text)
    assert "  token: the token was read" in lines
    assert "  endpoint  [unknown]" in lines
    assert "  token     [secret]" in lines
    assert lines[-1] == "+ 11 to create, <= 1 to read, = 1 to import, ~ 1 to update"
    assert SENTINEL not in text
    assert "\x1b" not in text
    assert "\x1b[32m" in render(shown, stack="dev", style=Style(color=True))
    assert run("dev", "--project", PLATFORM) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_details_show_inputs(shown: dict[str, Any]) -> None:
    text = render(shown, stack="dev", style=Style(details=True))
    assert re.search(r"\n│ +nodeConfig:\n│ +spot: true\n", text)
    assert re.search(r"- name: server\n? *", text) or "name: server" in text
    assert "stringData: [secret]" in text


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("gcp:container/nodePool:NodePool", "container NodePool"),
        ("kubernetes:apps/v1:Deployment", "Deployment"),
        ("kubernetes:monitoring.coreos.com/v1:PodMonitor", "PodMonitor"),
        ("llmserve:index:Network", "Network"),
        ("pulumi:providers:gcp", "provider gcp"),
        ("random:index/randomId:RandomId", "RandomId"),
    ],
)
def test_types_are_shown_without_what_repeats(token: str, text: str) -> None:
    assert short_type(token) == text


# Calls, exit codes, several stacks


def test_help_and_wrong_calls(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run("--help") == 0
    assert "exit codes:" in capsys.readouterr().out
    for arguments in (
        [],
        ["dev", "--fromat", "json"],
        ["dev", "--format", "yaml"],
        ["dev", "-c", "x", "--project", PLATFORM],
    ):
        assert run(*arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) <= 2
    assert run("dev", "--project", tmp_path) == 2
    assert "no Pulumi.yaml here" in capsys.readouterr().err


def test_a_program_that_fails_shows_nothing_as_whole(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(small, 'random.RandomId("a", byte_length=1)\nraise ValueError("not like this")')
    assert run("dev", "--project", small, "--format", "json") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == '__main__.py:4: in <module>\n    raise ValueError("not like this")\nValueError: not like this\n'


def test_several_stacks_are_one_object_in_the_order_given(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(small, 'pulumi.export("stack", pulumi.get_stack())')
    assert run("prod", "dev", "--project", small, "--format", "json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert [(stack, shown[stack]["outputs"]["stack"]) for stack in shown] == [("prod", "prod"), ("dev", "dev")]


def test_one_refused_stack_of_several_shows_nothing(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(
        small,
        """
        class Refusal(Exception):
            pass
        if pulumi.get_stack() == "prod":
            raise pulumi.RunError("no") from Refusal("Pulumi.prod.yaml: no")
        """,
    )
    assert run("dev", "prod", "--project", small) == 2
    assert capsys.readouterr() == ("", "Pulumi.prod.yaml: no\n")
    assert run("dev", "nope", "nada", "--project", small) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "no stack 'nope'" in err
    assert "no stack 'nada'" in err
    write(
        small,
        """
        class Refusal(Exception):
            pass
        raise Refusal("no") if pulumi.get_stack() == "dev" else ValueError("x")
        """,
    )
    assert run("dev", "prod", "--project", small) == 2
    assert run("prod", "--project", small) == 1


def test_overrides_reach_the_program_and_are_not_written(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(small, 'pulumi.export("models", pulumi.Config().require_object("models"))')
    file = small / "Pulumi.dev.yaml"
    file.write_text("config: {token: {secure: v1:abc}, models: [{name: a, scaling: {min: 0, max: 2}}]}\n")
    before = file.read_bytes()
    call = ["dev", "--project", small, "--format", "json", "--config-path", "-c", "models[0].scaling.min=1"]
    assert run(*call) == 0
    models = json.loads(capsys.readouterr().out)["outputs"]["models"]
    assert models == [{"name": "a", "scaling": {"min": 1, "max": 2}}]
    assert file.read_bytes() == before


def test_functions_that_nobody_answered_are_listed(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(small, 'import pulumi_gcp as gcp\ngcp.organizations.get_project_output(project_id="x")')
    assert run("dev", "--project", small) == 0
    assert "stays unknown: gcp:organizations/getProject:getProject" in capsys.readouterr().out


def test_the_command_itself_from_a_cold_interpreter(small: Path) -> None:
    """The real command, with nothing in its environment and a parent that must not import the project."""
    write(small, 'pulumi.export("loaded", "preview.run" in __import__("sys").modules)')
    called = subprocess.run(
        [sys.executable, "-m", "preview", "dev", "--project", str(small)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (called.returncode, called.stderr) == (0, "")
    # The child was forked before its parent had read anything.
    assert "loaded  false" in called.stdout


# Manifests


def test_manifests_are_one_file_an_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "out" / "dev"
    assert run("dev", "--project", PLATFORM, "--manifests", folder, "-c", f"token={TOKEN}") == 0
    assert "4 manifests in" in capsys.readouterr().err
    files = sorted(file.name for file in folder.iterdir())
    namespace = next(name for name in files if name.startswith("namespace-models"))
    secret = next(name for name in files if name.startswith("secret-models"))
    assert files == sorted([namespace, secret, "deployment-models-server.yaml", "values-monitoring.yaml"])
    deployment = yaml.safe_load((folder / "deployment-models-server.yaml").read_text())
    assert list(deployment)[:3] == ["apiVersion", "kind", "metadata"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert [variable["value"] for variable in container["env"]] == ["⟦Cluster/main.endpoint⟧", "pool-⟦NodePool/gpu.id⟧"]
    assert yaml.safe_load((folder / secret).read_text())["stringData"] == {"password": "[secret]", "token": "[secret]"}
    values = (folder / "values-monitoring.yaml").read_text()
    assert "# chart: kube-prometheus-stack" in values
    assert yaml.safe_load(values) == {"grafana": {"adminPassword": "[secret]", "replicas": 1}}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["dev"]


def test_every_kind_of_secret_value_is_hidden_in_manifests_and_its_key_shown(small: Path, tmp_path: Path) -> None:
    write(
        small,
        """
        import pulumi_kubernetes as kubernetes
        metadata = kubernetes.meta.v1.ObjectMetaArgs(name="s", namespace="n")
        kubernetes.core.v1.Secret("s", metadata=metadata, string_data=pulumi.Output.secret({"short": "ab"}))
        """,
    )
    assert run("dev", "--project", small, "--manifests", tmp_path / "out") == 0
    assert yaml.safe_load((tmp_path / "out" / "secret-n-s.yaml").read_text())["stringData"] == {"short": "[secret]"}


def test_manifests_do_not_mix_with_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert run("dev", "--project", PLATFORM, "--manifests", tmp_path) == 2
    assert "holds files already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failing_second_pass_is_said_and_the_preview_stands(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(small, 'random.RandomId("a", byte_length=1).hex.apply(lambda hex: int(hex, 16))')
    folder = tmp_path / "manifests"
    assert run("dev", "--project", small, "--manifests", folder) == 0
    out, err = capsys.readouterr()
    assert "RandomId" in out
    assert "no manifests" in err
    assert "invalid literal for int()" in err
    assert not folder.exists()

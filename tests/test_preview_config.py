"""The project and stack files: merging, checking and paths as the engine has them."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preview.errors import InvalidFile, Refused
from preview.files import read_mapping
from preview.paths import PathError, coerce, parse_path, set_path
from preview.project import Override, StackConfig, load_project, load_stack

PROJECT = """
name: shop
runtime: {name: python, options: {virtualenv: .venv}}
config:
  gcp:region: {value: europe-west4}
  name: {type: string}
  replicas: {type: integer, default: 2}
  spot: {type: boolean, default: false}
  ratio: {default: 0.5}
  models: {type: array, items: {type: object}, default: []}
  zones: {type: array, items: {type: string}, default: [a, b]}
  labels: {type: object, default: {}}
  token: {type: string, secret: true}
"""
STACK = """
config:
  shop:name: corner
  shop:token: {secure: v1:abc}
"""
Load = Callable[..., StackConfig]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads a stack from the text of its files."""

    def run(stack: str = STACK, *arguments: str, project: str = PROJECT, is_path: bool = False) -> StackConfig:
        (tmp_path / "Pulumi.yaml").write_text(project)
        (tmp_path / "Pulumi.dev.yaml").write_text(stack)
        (tmp_path / "__main__.py").touch()
        overrides = [Override.parse(argument, is_path=is_path) for argument in arguments]
        return load_stack(load_project(tmp_path), "dev", overrides)

    return run


def refusal(load: Load, *arguments: Any, **options: Any) -> InvalidFile:
    with pytest.raises(InvalidFile) as caught:
        load(*arguments, **options)
    return caught.value


# Merging


def test_defaults_and_values_of_the_project_are_merged_as_text(load: Load) -> None:
    assert load().values == {
        "gcp:region": "europe-west4",
        "shop:labels": "{}",
        "shop:models": "[]",
        "shop:name": "corner",
        "shop:ratio": "0.5",
        "shop:replicas": "2",
        "shop:spot": "false",
        "shop:token": stand_in("shop:token", "v1:abc"),
        "shop:zones": '["a","b"]',
    }


def test_the_stack_wins_and_zero_and_false_are_values(load: Load) -> None:
    values = load(STACK + "  shop:replicas: 0\n  shop:spot: false\n  zones: []\n  gcp:region: us-east5\n").values
    assert (values["shop:replicas"], values["shop:spot"], values["shop:zones"]) == ("0", "false", "[]")
    assert values["gcp:region"] == "us-east5"


def test_structured_values_are_json_with_sorted_keys(load: Load) -> None:
    values = load(STACK + "  shop:models:\n    - {name: b, gpus: 1.0, a: {y: null}}\n").values
    assert values["shop:models"] == '[{"a":{"y":null},"gpus":1,"name":"b"}]'


def stand_in(label: str, ciphertext: str) -> str:
    """What stands for an encrypted value: another ciphertext is another secret."""
    return f"[secret {label} {hashlib.sha256(ciphertext.encode()).hexdigest()[:10]}]"


def test_encrypted_values_are_stand_ins_and_their_keys_secret(load: Load) -> None:
    loaded = load(STACK + "  shop:models:\n    - {name: a, key: {secure: v1:xyz}}\n")
    assert loaded.secret_keys == {"shop:token", "shop:models"}
    assert json.loads(loaded.values["shop:models"])[0]["key"] == stand_in("shop:models[0].key", "v1:xyz")
    assert loaded.secrets == {stand_in("shop:token", "v1:abc"), stand_in("shop:models[0].key", "v1:xyz")}


def test_what_pulumi_writes_itself_is_accepted_and_an_environment_warned_of(load: Load) -> None:
    head = "encryptionsalt: v1:x\nsecretsprovider: gcpkms://k\nencryptedkey: abc\nenvironment: [shared]\n"
    assert load(head + STACK).warnings == (
        "Pulumi.dev.yaml names an environment (Pulumi ESC): its values are not read",
    )


@pytest.mark.parametrize(
    ("written", "read"),
    [("yes", "yes"), ("on", "on"), ("12:30", "12:30"), ("2024-01-01", "2024-01-01"), ("1e3", "1000"), ("0x10", "16")],
)
def test_yaml_is_read_as_the_engine_reads_it(load: Load, written: str, read: str) -> None:
    assert load(STACK + f"  shop:extra: {written}\n").values["shop:extra"] == read


# Checking


def test_all_problems_come_at_once_with_key_reason_and_fix(load: Load) -> None:
    error = refusal(load, "config:\n  shop:replicas: many\n  shop:zones: [1]\n  shop:token: in-clear\n")
    assert [problem.key for problem in error.problems] == ["shop:name", "shop:replicas", "shop:token", "shop:zones"]
    missing, wrong, clear, items = error.problems
    assert "is missing" in missing.reason
    assert "pulumi config set --stack dev name" in missing.fix
    assert (wrong.value, wrong.reason) == ("many", "must be of type 'integer'")
    assert clear.reason == "is declared secret but stands in clear"
    assert "in-clear" not in str(error)
    assert items.reason == "must be of type 'array<string>'"
    assert str(error).startswith("Pulumi.dev.yaml: 4 problems\n  shop:name\n")


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("shop:spot: 1", "boolean"),
        ("shop:replicas: 1.5", "integer"),
        ("shop:labels: [a]", "object"),
        ("shop:models: {a: b}", "array<object>"),
        ("shop:models: [a]", "array<object>"),
        ("shop:name: [a]", "string"),
    ],
)
def test_a_wrong_type_is_refused(load: Load, line: str, kind: str) -> None:
    (problem,) = refusal(
        load,
        STACK.replace("shop:name: corner", "") + f"  {line}\n  name: x\n"
        if "name" not in line
        else STACK.replace("shop:name: corner", line),
    ).problems
    assert problem.reason == f"must be of type '{kind}'"


def test_text_that_reads_as_a_number_fits_string_and_integer(load: Load) -> None:
    values = load(STACK.replace("corner", "7") + '  shop:replicas: "3"\n').values
    assert (values["shop:name"], values["shop:replicas"]) == ("7", "3")


def test_an_unknown_top_level_key_names_the_one_that_was_meant(load: Load) -> None:
    (problem,) = refusal(load, STACK.replace("config:", "confg:") + "config: {name: a, token: {secure: x}}\n").problems
    assert (problem.key, problem.fix) == ("confg", "write `config:`")


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("config:\n  a: 1\n b: 2\n", "Pulumi.dev.yaml:3:2", "not valid YAML"),
        ("config:\n  token: 'hunter2-never-shown\n", "Pulumi.dev.yaml:3:1", "not valid YAML"),
        ("config:\n  a: 1\n  a: 2\n", "Pulumi.dev.yaml:3:3", "key 'a' stands twice, first in line 2"),
        ("- a\n", "Pulumi.dev.yaml:1", "holds a list"),
    ],
)
def test_broken_yaml_names_file_line_and_column(load: Load, text: str, where: str, what: str) -> None:
    (problem,) = refusal(load, text).problems
    assert problem.key == where
    assert what in problem.reason
    assert "hunter2" not in problem.reason


def test_a_stack_without_file_names_those_that_have_one(load: Load, tmp_path: Path) -> None:
    load()
    with pytest.raises(Refused) as caught:
        load_stack(load_project(tmp_path), "dve")
    assert "stacks: dev; did you mean dev?" in str(caught.value)
    assert "pulumi stack init dve" in str(caught.value)


@pytest.mark.parametrize("name", ["../dev", "a/b", ""])
def test_a_stack_name_is_no_path(load: Load, tmp_path: Path, name: str) -> None:
    load()
    (tmp_path / "Pulumi.a").mkdir()
    (tmp_path / "Pulumi.a" / "b.yaml").write_text(STACK)
    with pytest.raises(Refused):
        load_stack(load_project(tmp_path), name)


@pytest.mark.parametrize(
    ("project", "key"),
    [
        ("runtime: python\n", "name"),
        ("name: shop\nruntime: nodejs\n", "runtime"),
        ("name: shop\nruntime: python\nmain: nowhere.py\n", "main"),
        ("name: shop\nruntime: python\nconfig: {a: {type: number}}\n", "config.a.type"),
        ("name: shop\nruntime: python\nconfig: {a: {type: array}}\n", "config.a"),
        ("name: shop\nruntime: python\nconfig: {a: {default: 1, value: 1}}\n", "config.a"),
        ("name: shop\nruntime: python\nconfig: {a: {type: integer, default: x}}\n", "config.a.default"),
        ("name: shop\nruntime: python\nconfig: {'gcp:a': {type: string}}\n", "config.gcp:a"),
        ("name: shop\nruntime: python\nconfig: {'gcp:a': {description: nothing}}\n", "config.gcp:a"),
    ],
)
def test_a_project_file_that_the_engine_would_not_take(load: Load, project: str, key: str) -> None:
    error = refusal(load, project=project)
    assert error.file == "Pulumi.yaml"
    assert [problem.key for problem in error.problems] == [key]


def test_a_secret_with_a_default_is_refused_as_in_the_engine(load: Load) -> None:
    project = PROJECT.replace("token: {type: string, secret: true}", "token: {type: string, secret: true, default: x}")
    (problem,) = refusal(load, "config: {name: a}", project=project).problems
    assert problem.key == "shop:token"


# Overrides


def test_an_override_gets_the_projects_namespace_and_is_not_written(load: Load, tmp_path: Path) -> None:
    loaded = load(STACK, "replicas=5", "gcp:region=us-east5", "token=hf_secret")
    assert (loaded.values["shop:replicas"], loaded.values["gcp:region"]) == ("5", "us-east5")
    assert "hf_secret" in loaded.secrets
    assert (tmp_path / "Pulumi.dev.yaml").read_text() == STACK


def test_every_part_of_a_secret_that_is_given_is_secret(load: Load) -> None:
    project = PROJECT.replace("{type: string, secret: true}", "{type: object, secret: true}")
    assert "hunter2" in load(STACK, 'token={"inner": ["hunter2"]}', project=project).secrets


def test_an_override_is_checked_like_the_file(load: Load) -> None:
    assert [p.key for p in refusal(load, STACK, "replicas=x").problems] == ["shop:replicas"]
    assert load(STACK, 'models=[{"name": "a"}]').values["shop:models"] == '[{"name": "a"}]'
    assert [p.key for p in refusal(load, STACK, "models=[1]").problems] == ["shop:models"]


@pytest.mark.parametrize("argument", ["replicas", "=5", ""])
def test_an_override_without_key_or_value_is_refused(argument: str) -> None:
    with pytest.raises(Refused, match="KEY=VALUE"):
        Override.parse(argument, is_path=False)


def test_a_path_keeps_what_stands_beside_it(load: Load) -> None:
    stack = STACK + "  shop:models:\n    - {name: a, scaling: {min: 0, max: 4}}\n    - {name: b}\n"
    loaded = load(stack, "shop:models[0].scaling.min=1", "models[1].spot=true", "labels.team=ml", is_path=True)
    assert json.loads(loaded.values["shop:models"]) == [
        {"name": "a", "scaling": {"min": 1, "max": 4}},
        {"name": "b", "spot": True},
    ]
    assert loaded.values["shop:labels"] == '{"team":"ml"}'


def test_a_path_that_does_not_fit_is_a_problem_of_the_call(load: Load) -> None:
    stack = STACK + "  shop:models:\n    - {name: a}\n"
    (problem,) = refusal(load, stack, "models[3].name=x", is_path=True).problems
    assert problem.key == "-c models[3].name"
    assert "out of range, it has 1 items" in problem.reason


# Paths (the cases of pulumi/pulumi, sdk/go/common/resource/properties_path_test.go)


@pytest.mark.parametrize(
    ("path", "elements"),
    [
        ("root", ["root"]),
        ("root.nested", ["root", "nested"]),
        ('root["nested"]', ["root", "nested"]),
        ("root.double.nest", ["root", "double", "nest"]),
        ('root["double"]["nest"]', ["root", "double", "nest"]),
        ("root.array[0]", ["root", "array", 0]),
        ("root.array[0][1].nested", ["root", "array", 0, 1, "nested"]),
        ('root["key with \\"escaped\\" quotes"]', ["root", 'key with "escaped" quotes']),
        ('root["key with a ."]', ["root", "key with a ."]),
        ('["root key with a ."][100]', ["root key with a .", 100]),
    ],
)
def test_paths_that_can_be_read(path: str, elements: list[Any]) -> None:
    assert parse_path(path) == elements


@pytest.mark.parametrize("path", ["root[", 'root["nested', 'root["nested"', "root[abc]", ".path", "root.", "root.[1]"])
def test_paths_that_cannot_be_read(path: str) -> None:
    with pytest.raises(PathError):
        parse_path(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("7", 7),
        ("-7", -7),
        ("0", 0),
        ("007", "007"),
        ("1.5", "1.5"),
        ("True", "True"),
    ],
)
def test_values_of_paths_are_read_as_pulumi_does(text: str, value: object) -> None:
    assert coerce(text) == value
    assert type(coerce(text)) is type(value)


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
STEPS = st.lists(st.integers(0, 3) | st.text(max_size=3), min_size=1, max_size=4)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], Any]:
    pairs: Sequence[tuple[Any, Any]]
    if isinstance(value, dict) and value:
        pairs = list(value.items())
    elif isinstance(value, list) and value:
        pairs = list(enumerate(value))
    else:
        return {path: value}
    return {key: leaf for step, inner in pairs for key, leaf in leaves(inner, (*path, step)).items()}


@given(root=st.dictionaries(st.text(max_size=3), TREES, max_size=3) | st.lists(TREES, max_size=3), path=STEPS)
def test_setting_a_path_changes_that_path_and_nothing_else(root: Any, path: list[Any]) -> None:
    before = json.dumps(root, sort_keys=True)
    try:
        after = set_path(root, path, "new")
    except PathError:
        return
    finally:
        assert json.dumps(root, sort_keys=True) == before
    value = after
    for step in path:
        value = value[step]
    assert value == "new"
    target = tuple(path)
    kept = {
        key: leaf for key, leaf in leaves(root).items() if key[: len(target)] != target and target[: len(key)] != key
    }
    assert kept.items() <= leaves(after).items()


WORDS = st.text(alphabet=st.characters(categories=["L", "N", "P"]), max_size=8)


@given(value=st.dictionaries(WORDS, WORDS | st.integers() | st.booleans()))
def test_yaml_that_is_json_reads_as_json(tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any]) -> None:
    file = tmp_path_factory.getbasetemp() / "value.yaml"
    file.write_text(json.dumps(value, ensure_ascii=False))
    assert read_mapping(file) == value

"""The project and stack files: merging, checking and paths as the engine has them."""

import hashlib
import json
import re
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
from preview.scalars import number_text

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


# YAML. What stands here as expected is what Pulumi 3.276.0 answered; tests/real asks it again.

# What a word is: resolve() of resolve.go in gopkg.in/yaml.v3. How it is told: MarshalString() of
# sdk/go/common/resource/config/object.go, by floatEncoder() and appendString() of encoding/json/encode.go.
SCALARS = [
    ("yes", "yes", '"yes"'),
    ("on", "on", '"on"'),
    ("TRUE", "true", "true"),
    ("12:30", "12:30", '"12:30"'),
    ("1e3", "1000", "1000"),
    ("0x1F", "31", "31"),
    ("0777", "511", "511"),
    ("0o17", "15", "15"),
    ("08", "8", "8"),
    ("0b11", "3", "3"),
    ("0b-11", "-3", "-3"),
    ("0b2", "0b2", '"0b2"'),
    ("1_000", "1000", "1000"),
    ("1.", "1", "1"),
    ("+.5", "0.5", "0.5"),
    ("-0.0", "0", "0"),
    ("0.000001", "0.000001", "0.000001"),
    ("1e-7", "1e-7", "1e-7"),
    ("1e20", "100000000000000000000", "100000000000000000000"),
    ("1e21", "1e+21", "1e+21"),
    ("5e-324", "5e-324", "5e-324"),
    ("1e400", "1e400", '"1e400"'),
    ("9223372036854775807", "9223372036854775807", "9223372036854775807"),
    # An unsigned number goes through JSON and is a float then, but not at the top.
    ("18446744073709551615", "18446744073709551615", "18446744073709552000"),
    ("99999999999999999999", "100000000000000000000", "100000000000000000000"),
    # Time.String() of Go's time package.
    ("2026-01-01", "2026-01-01 00:00:00 +0000 UTC", '"2026-01-01 00:00:00 +0000 UTC"'),
    ("2026-1-2 3:04:05,60", "2026-01-02 03:04:05.6 +0000 UTC", '"2026-01-02 03:04:05.6 +0000 UTC"'),
    ("2001-12-14t21:59:43.10-11:07", "2001-12-14 21:59:43.1 -1107 -1107", '"2001-12-14 21:59:43.1 -1107 -1107"'),
    ("2026-01-01T10:00:00", "2026-01-01T10:00:00", '"2026-01-01T10:00:00"'),
    ("2026-02-30", "2026-02-30", '"2026-02-30"'),
    ("'2026-01-01'", "2026-01-01", '"2026-01-01"'),
    # A null at the top is an empty text: checkForEmptyConfig() of sdk/go/common/workspace/loaders.go.
    ("", "", "null"),
    ("~", "", "null"),
    ("'a&b<c>\u2028'", "a&b<c>\u2028", r'"a\u0026b\u003cc\u003e\u2028"'),
    ("é\U0001f600", "é\U0001f600", '"é\U0001f600"'),
    ("!!binary aGVsbG8=", "hello", '"hello"'),
    ("!!binary /w==", "\ufffd", '"\ufffd"'),
    ("!!str 1", "1", '"1"'),
    ("!!int '12'", "12", "12"),
    ("!!float 3", "3", "3"),
    ("!other x", "x", '"x"'),
    # Written as a block, the first line break is lost: yaml_emitter_write_literal_scalar() of yaml.v3's emitterc.go.
    (r'"\na"', "a", '"a"'),
    (r'"\n a \nb"', "\n a \nb", r'"\n a \nb"'),
    (
        "{1: a, 0x2: b, true: c, 1.5: d}",
        '{"1":"a","1.5":"d","2":"b","true":"c"}',
        '{"1":"a","1.5":"d","2":"b","true":"c"}',
    ),
    ("{~: a, 2026-01-01: b}",) + ('{"2026-01-01 00:00:00 +0000 UTC":"b","\\u003cnil\\u003e":"a"}',) * 2,
    ("{<<: {a: 1, b: 2}, b: 3}", '{"a":1,"b":3}', '{"a":1,"b":3}'),
    ("{<<: [{a: 1}, {a: 2}], '1': 3}", '{"1":3,"a":1}', '{"1":3,"a":1}'),
    ("{b: 1, <<: {0x10: 2}}", '{"0x10":2,"b":1}', '{"0x10":2,"b":1}'),
    ("[&a [1], *a]", "[[1],[1]]", "[[1],[1]]"),
    ("{secure: 5}", '{"secure":5}', '{"secure":5}'),
]


@pytest.mark.parametrize(("written", "top", "nested"), SCALARS, ids=[repr(row[0]) for row in SCALARS])
def test_yaml_is_read_as_the_engine_reads_it(load: Load, written: str, top: str, nested: str) -> None:
    values = load(STACK + f"  shop:extra: {written}\n  shop:inner:\n    x: {written}\n").values
    assert (values["shop:extra"], values["shop:inner"]) == (top, f'{{"x":{nested}}}')


# createConfigValue() of pkg/workspace/config.go: all but text, whole numbers and truths goes through JSON.
DEFAULTS = [
    ("2026-01-01", "2026-01-01T00:00:00Z", '"2026-01-01T00:00:00Z"'),
    ("2001-12-14t21:59:43.10-11:07", "2001-12-14T21:59:43.1-11:07", '"2001-12-14T21:59:43.1-11:07"'),
    ("18446744073709551615", "18446744073709552000", "18446744073709552000"),
    ("99999999999999999999", "100000000000000000000", "100000000000000000000"),
    ("1e-7", "1e-7", "1e-7"),
    ("true", "true", "true"),
    ("'a&b'", "a&b", r'"a\u0026b"'),
]


@pytest.mark.parametrize(("written", "top", "nested"), DEFAULTS)
def test_defaults_of_the_project_are_told_as_the_engine_tells_them(
    load: Load, written: str, top: str, nested: str
) -> None:
    project = PROJECT + f"  extra: {{default: {written}}}\n  inner: {{default: [{written}]}}\n"
    values = load(project=project).values
    assert (values["shop:extra"], values["shop:inner"]) == (top, f"[{nested}]")


def test_a_default_that_only_a_float_can_hold_is_a_whole_number_to_the_engine(load: Load) -> None:
    project = PROJECT + "  large: {type: integer, default: 99999999999999999999}\n"
    assert load(project=project).values["shop:large"] == "100000000000000000000"


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (r'"a\/b"', r"`\/` is no escape that the engine knows"),
        (".inf", "is no number that the engine can hand over"),
        ("{a: [-.Inf, 1]}", "is no number that the engine can hand over"),
        ("!!bool yes", "the tag !!bool does not fit: 'yes' is no !!bool"),
        ("!!int 1.5", "the tag !!int does not fit"),
        ("!!binary YQ", "the tag !!binary does not fit: its text is not base64"),
        ("!!null x", "the tag !!null does not fit"),
        (r'"\ta\nb"', "text of several lines cannot begin with a tab"),
        ("{a: &x [*x]}", "the value of anchor &x contains itself"),
        ("{a: *x}", "there is no anchor &x above it"),
        ("{<<: [1]}", "`<<` takes a mapping or a list of mappings"),
        ("{? {a: b} : c}", "a key must be text"),
        ("{a: 1, 'a': 2}", "key 'a' stands twice, first in line 5"),
        ("{1: a, '1': b}", "key '1' stands twice, first in line 5"),
        ("{1.0: a, 1: b}", "key '1' stands twice, first in line 5"),
        ("{url: a?b=c}", "in brackets a `?` ends a word to the engine"),
        ("[!x, 1]", "to the engine the tag goes on to the next space"),
        ("x\n\ufeff  shop:more: 1", "an invisible byte order mark stands within the file"),
    ],
)
def test_yaml_that_the_engine_refuses_or_misreads_is_refused(load: Load, written: str, reason: str) -> None:
    problem, *_ = refusal(load, STACK + f"  shop:extra: {written}\n").problems
    assert problem.key.startswith(("Pulumi.dev.yaml:5", "Pulumi.dev.yaml:6"))
    assert reason in problem.reason
    assert problem.fix


def test_all_that_is_wrong_with_the_yaml_is_told_at_once(load: Load) -> None:
    error = refusal(load, STACK + '  shop:a: .inf\n  shop:b: "\\/"\n  shop:b: !!int x\n')
    assert [problem.key for problem in error.problems] == [
        "Pulumi.dev.yaml:5:11",
        "Pulumi.dev.yaml:6:11",
        "Pulumi.dev.yaml:7:11",
        "Pulumi.dev.yaml:7:3",
    ]


@pytest.mark.parametrize("more", ["---\nconfig: {}\n", "...\nmore: text\n", "--- {{{\n"])
def test_what_the_engine_would_not_look_at_is_refused(load: Load, more: str) -> None:
    (problem,) = refusal(load, STACK + more).problems
    assert problem.key.startswith("Pulumi.dev.yaml:5:") or problem.key.startswith("Pulumi.dev.yaml:6:")


def test_a_document_may_begin_with_a_mark_and_end_with_one(load: Load) -> None:
    assert load("\ufeff%YAML 1.1\n---" + STACK + "...\n").values == load().values
    (problem,) = refusal(load, "%YAML 1.2\n---" + STACK).problems
    assert "the engine reads YAML 1.1 only" in problem.reason


def test_aliases_that_unfold_to_a_thousandfold_are_refused(load: Load) -> None:
    lines = ["  shop:a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"]
    lines += [f"  shop:a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 9)]
    (problem,) = refusal(load, STACK + "".join(lines)).problems
    assert "too much of it is aliases" in problem.reason
    (problem,) = refusal(load, STACK + "  shop:a: " + "[" * 100_000).problems
    assert problem.reason == "nests too deep"


def test_a_key_without_a_value_is_an_empty_text_and_said(load: Load) -> None:
    loaded = load(STACK.replace("shop:name: corner", "shop:name:"))
    assert loaded.values["shop:name"] == ""
    assert loaded.warnings == ('Pulumi.dev.yaml: shop:name has no value, which is read as an empty text: write ""',)
    # strconv.Atoi("") of ValidateConfigValue() in sdk/go/common/workspace/project.go
    assert [problem.key for problem in refusal(load, STACK + "  shop:replicas:\n").problems] == ["shop:replicas"]


@pytest.mark.parametrize(
    ("lines", "spellings"),
    [
        ("  name: other\n", "shop:name and as name"),
        ("  shop:config:name: other\n", "shop:name and as shop:config:name"),
        ("  shop:config:name: other\n  name: b\n", "shop:name and as shop:config:name and as name"),
    ],
)
def test_a_key_in_two_spellings_is_refused(load: Load, lines: str, spellings: str) -> None:
    # UnmarshalYAML() of config/map.go and stackConfigNamespacedWithProject() of loaders.go go over a map of Go's.
    (problem,) = refusal(load, STACK + lines).problems
    assert problem.key == "shop:name"
    assert problem.reason == f"is written as {spellings}, of which the engine takes one by chance"


@pytest.mark.parametrize("key", ["a:b:c", "a:b:c:d", "::", "1", "~", "!x k"])
def test_a_key_that_is_none_is_refused(load: Load, key: str) -> None:
    # ParseKey() of sdk/go/common/resource/config/key.go
    assert len(refusal(load, STACK + f"  {key}: 1\n").problems) == 1


@pytest.mark.parametrize("block", ["config: 5\n", "config: []\n", 'config: ""\n'])
def test_a_block_that_holds_no_keys_is_refused(load: Load, block: str) -> None:
    assert [problem.key for problem in refusal(load, block).problems] == ["config"]


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
        ("shop:replicas: 99999999999999999999", "integer"),
        ("shop:replicas: 9223372036854775808", "integer"),
        ("shop:labels: {secure: v1:x}", "object"),
        ("shop:models: {secure: v1:x}", "array<object>"),
        ("shop:models: [{secure: v1:x}]", "array<object>"),
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
    assert problem.reason.startswith(f"must be of type '{kind}'")


def test_what_is_encrypted_as_a_whole_is_text_and_no_object(load: Load) -> None:
    # Object() of a `secure:` value is false: MarshalString() of sdk/go/common/resource/config/object.go
    (problem,) = refusal(load, STACK + "  shop:labels: {secure: v1:x}\n").problems
    assert problem.reason == "must be of type 'object', and what is encrypted as a whole is text"
    assert problem.fix == "encrypt the texts in it, each by its path: pulumi config set --secret --path"
    inside = load(STACK + "  shop:labels: {a: {secure: v1:x}}\n  shop:zones: [{secure: v1:y}]\n")
    assert {"shop:labels", "shop:zones"} < inside.secret_keys


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
        # project.json beside sdk/go/common/workspace/project.go
        ("name: shop\nruntime: python\nconfig: {a: 0.5}\n", "config.a"),
        ("name: shop\nruntime: python\nconfig: {a: }\n", "config.a"),
        ("name: shop\nruntime: python\nconfig: {a: [{1: b}]}\n", "config.a"),
        ("name: shop\nruntime: python\nconfig: {a: 2026-01-01}\n", "config.a"),
        ("name: shop\nruntime: python\nconfig: {a: {type: null}}\n", "config.a.type"),
        ("name: shop\nruntime: python\nconfig: {a: {defualt: 1}}\n", "config.a.defualt"),
        ("name: shop\nruntime: python\nconfig: {a: {secret: 'true', default: 1}}\n", "config.a.secret"),
        ("name: shop\nruntime: python\nconfig: {a: {description: 5, default: 1}}\n", "config.a.description"),
        ("name: shop\nruntime: python\nconfig: {a: {type: array, items: {type: array}}}\n", "config.a.items"),
        ("name: shop\nruntime: python\nconfig: {a: {type: string, default: 2026-01-01}}\n", "config.a.default"),
        ("name: shop\nruntime: python\nconfig: {a: {default: {1: b}}}\n", "config.a.default"),
        ("name: shop\nruntime: python\nconfig: {a: x, 'shop:a': y}\n", "shop:a"),
        ("name: shop\nruntime: python\nconfig: {'a:b:c': x}\n", "a:b:c"),
        ("name: shop\nruntime: python\nconfig: {a.b: x}\n", "config.a.b"),
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


@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_told_in_the_fewest_digits_that_mean_it(number: float) -> None:
    text = number_text(number)
    assert float(text) == number
    assert re.fullmatch(r"-?(0|[1-9]\d{0,20})(\.\d*[1-9])?|-?[1-9](\.\d*[1-9])?e(\+[1-9]\d+|-[1-9]\d*)", text)


WORDS = st.text(alphabet=st.characters(categories=["L", "N", "P"]), max_size=8)


@given(
    value=st.dictionaries(WORDS.filter(lambda word: word != "<<"), WORDS | st.integers(-(2**63), 2**63) | st.booleans())
)
def test_yaml_that_is_json_reads_as_json(tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any]) -> None:
    file = tmp_path_factory.getbasetemp() / "value.yaml"
    file.write_text(json.dumps(value, ensure_ascii=False))
    assert read_mapping(file) == value

"""The project and stack files, read and checked as the engine does, and the configuration that the program gets.

Sources in pulumi/pulumi: `pkg/workspace/config.go` (merging and checking), `sdk/go/common/workspace/project.go`
(the `config:` block), `sdk/go/common/resource/config/` (keys, paths, text form of values). Differences, all on
purpose: every problem is reported at once; a `secure:` value is not decrypted but replaced by a stand-in of its
declared type; a key of the project that a stack file misspells at its top level is refused; so is a key in two
spellings, of which the engine takes one by chance, and one in the project file that the engine would read as a path.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from preview.errors import InvalidFile, Problem, Refused
from preview.files import NotText, read_mapping
from preview.paths import PathError, parse_path, set_path
from preview.scalars import INT64, Timestamp, json_text

_STACK_KEYS: Final = ("config", "encryptedkey", "encryptionsalt", "environment", "secretsprovider")
_TYPES: Final = ("string", "integer", "boolean", "array", "object")
_DECLARED: Final = ("type", "items", "description", "secret", "default", "value")
_STACK_NAME: Final = re.compile(r"^[A-Za-z0-9_.-]{1,100}$")
_STAND_INS: Final = {"integer": 0, "boolean": False}


@dataclass(frozen=True, kw_only=True, slots=True)
class Declaration:
    """One entry of the project file's `config:` block."""

    type: str | None = None
    items: Mapping[str, Any] | None = None
    secret: bool = False
    preset: Any = None
    """`default` or `value`; None where the stack has to say."""

    @property
    def shown_type(self) -> str:
        """The type as the engine names it: `array<string>`."""
        return _shown_type(self.type or "", self.items)


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """A Pulumi project folder."""

    root: Path
    file: str
    name: str
    program: Path
    """The `__main__.py`, or the file that `main:` names."""
    declarations: Mapping[str, Declaration] = field(default_factory=dict)
    """By full key (`namespace:name`)."""
    stack_folder: Path

    def stacks(self) -> tuple[str, ...]:
        """The stacks that have a file, sorted."""
        files = (*self.stack_folder.glob("Pulumi.*.yaml"), *self.stack_folder.glob("Pulumi.*.yml"))
        return tuple(sorted({file.name.removeprefix("Pulumi.").rpartition(".")[0] for file in files}))


@dataclass(frozen=True, kw_only=True, slots=True)
class Override:
    """One `-c KEY=VALUE`; with `is_path`, KEY is a path as for `pulumi config set --path`."""

    key: str
    value: str
    is_path: bool = False

    @classmethod
    def parse(cls, argument: str, *, is_path: bool) -> Override:
        """Split a command-line argument; Refused where it has no `=`."""
        key, equals, value = argument.partition("=")
        if not equals or not key:
            raise Refused(f"-c {key}: expected KEY=VALUE, as in -c capacity=spot")
        return cls(key=key, value=value, is_path=is_path)


@dataclass(frozen=True, kw_only=True, slots=True)
class StackConfig:
    """The configuration of one stack as its program reads it: every value as text, structured ones as JSON."""

    stack: str
    file: str
    values: Mapping[str, str]
    secret_keys: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
    """Texts that must not be shown: stand-ins for encrypted values, and secrets given for this run."""
    project: str = ""
    encrypted: frozenset[str] = frozenset()
    """Where a stand-in stands for an encrypted value, by key and path: `shop:models[0].token`."""
    warnings: tuple[str, ...] = ()

    @property
    def disabled_providers(self) -> frozenset[str]:
        """Packages whose default provider the project forbids, `*` for all (`pulumi:disable-default-providers`)."""
        listed = self.values.get("pulumi:disable-default-providers", "")
        return frozenset(str(item).strip() for item in json.loads(listed)) if listed else frozenset()


def load_project(folder: Path) -> Project:
    """Read the project file of a folder.

    Raises `Refused` where there is none or its runtime is not Python, `InvalidFile` where the engine would not
    take it.
    """
    root = folder.resolve()
    file = next((root / name for name in ("Pulumi.yaml", "Pulumi.yml") if (root / name).is_file()), None)
    if file is None:
        raise Refused(f"{folder}: no Pulumi.yaml here; run this in a project's folder or name one with --project")
    content = read_mapping(file)
    problems: list[Problem] = []
    name = content.get("name")
    if not isinstance(name, str) or not name:
        problem = Problem(key="name", reason="is missing or not text", fix="write `name: my-project`")
        raise InvalidFile(file.name, [problem])
    runtime = content.get("runtime")
    runtime_name = runtime.get("name") if isinstance(runtime, dict) else runtime
    if runtime_name != "python":
        problems.append(
            Problem(
                key="runtime",
                value=_shown(runtime_name),
                reason="only Python programs can be previewed",
                fix="write `runtime: python`",
            )
        )
    config = content.get("config")
    stack_folder = root / str(content.get("stackConfigDir") or (config if isinstance(config, str) else "."))
    block = config if isinstance(config, dict) else {}
    main = content.get("main")
    program = root / str(main) if main else root
    if program.is_dir():
        program /= "__main__.py"
    if not program.is_file():
        problems.append(
            Problem(
                key="main",
                value=None if main is None else str(main),
                reason=f"there is no {program.name} in {program.parent.name}/",
                fix="write the program into __main__.py",
            )
        )
    full_keys, wrong_keys = _keys_of(block, name)
    problems.extend(wrong_keys)
    declarations = {}
    for full_key, key in full_keys.items():
        declared, wrong = _declaration(name, key, block[key])
        declarations[full_key] = declared
        problems.extend(wrong)
        if not _is_plain_path(full_key.partition(":")[2]):
            problems.append(
                Problem(
                    key=f"config.{key}",
                    reason="is a path to the engine, which splits it",
                    fix="name it without . and [",
                )
            )
    if problems:
        raise InvalidFile(file.name, problems)
    return Project(
        root=root,
        file=file.name,
        name=name,
        program=program,
        declarations=declarations,
        stack_folder=stack_folder,
    )


def load_stack(project: Project, stack: str, overrides: Sequence[Override] = ()) -> StackConfig:
    """Read a stack's file, apply overrides and the project's defaults, and check the result.

    Raises `Refused` where the stack has no file, `InvalidFile` with everything that the engine would not take.
    """
    file = _stack_file(project, stack)
    content = read_mapping(file)
    problems = [_unknown_stack_key(key) for key in content if key not in _STACK_KEYS]
    for key in ("encryptedkey", "encryptionsalt", "secretsprovider"):
        if isinstance(content.get(key), (dict, list)):
            problems.append(Problem(key=key, reason="is not text", fix="write it as pulumi does"))
    block = {} if content.get("config") is None else content["config"]
    if not isinstance(block, dict):
        problem = Problem(key="config", reason="is not keys with values", fix="write `config:` and keys under it")
        raise InvalidFile(file.name, [*problems, problem])
    full_keys, wrong_keys = _keys_of(block, project.name)
    problems.extend(wrong_keys)
    config = {full_key: _handed_over(block[key]) for full_key, key in full_keys.items()}
    empty = [key for key in full_keys if config[key] is None]
    config |= dict.fromkeys(empty, "")
    given: set[str] = set()
    for override in overrides:
        try:
            given.add(_apply(override, config, project))
        except PathError as error:
            problems.append(
                Problem(key=f"-c {override.key}", reason=str(error), fix="check the path against the stack's file")
            )
    problems.extend(_merge_and_check(project, stack, config, given))
    if problems:
        raise InvalidFile(file.name, problems)
    warnings = [f'{file.name}: {key} has no value, which is read as an empty text: write ""' for key in empty]
    if content.get("environment"):
        warnings.append(f"{file.name} names an environment (Pulumi ESC): its values are not read")
    empty_config = StackConfig(stack=stack, file=file.name, values={}, project=project.name)
    return _as_program_reads(project, empty_config, config, given, warnings)


def _as_program_reads(
    project: Project,
    empty: StackConfig,
    config: Mapping[str, Any],
    given: Iterable[str],
    warnings: list[str],
) -> StackConfig:
    values: dict[str, str] = {}
    secret_keys: set[str] = set()
    secrets: set[str] = set()
    encrypted: set[str] = set()
    for key in sorted(config):
        declared = project.declarations.get(key, Declaration())
        stand_ins: dict[str, str] = {}
        value = _replace_secure(config[key], key, declared, stand_ins)
        encrypted |= stand_ins.keys()
        values[key] = text_of(value)
        if stand_ins or declared.secret:
            secret_keys.add(key)
            secrets |= set(stand_ins.values()) or {values[key]}
        if stand_ins and declared.type in _STAND_INS:
            warnings.append(f"{key} is encrypted: this preview reckons with {values[key]} in its place")
        if key in given and declared.secret:
            typed = _as_typed(declared, value, from_argument=True)
            secrets |= {str(item) for item in _leaves(typed)}
    return replace(
        empty,
        values=values,
        secret_keys=frozenset(secret_keys),
        secrets=frozenset(text for text in secrets if text),
        encrypted=frozenset(encrypted),
        warnings=tuple(warnings),
    )


def _stack_file(project: Project, stack: str) -> Path:
    known = project.stacks()
    for suffix in ("yaml", "yml"):
        file = project.stack_folder / f"Pulumi.{stack}.{suffix}"
        if _STACK_NAME.match(stack) and file.is_file():
            return file
    close = _close_to(stack, known)
    raise Refused(
        f"no stack {stack!r}: there is no Pulumi.{stack}.yaml in {project.root.name}/\n"
        + f"    stacks: {', '.join(known) or 'none yet'}"
        + (f"; did you mean {close[0]}?" if close else "")
        + f"\n    fix: name one of them, or make it: pulumi stack init {stack}, or copy one of their files"
    )


def _unknown_stack_key(key: str) -> Problem:
    close = _close_to(key, _STACK_KEYS)
    return Problem(
        key=key,
        reason=f"is not a key of a stack file, which are {', '.join(_STACK_KEYS)}",
        fix=f"write `{close[0]}:`" if close else "write settings under `config:`",
    )


def _declaration(project_name: str, key: str, entry: Any) -> tuple[Declaration, list[Problem]]:
    """`Project.Validate` and `RewriteShorthandConfigValues` of project.go."""
    own = ":" not in key or key.startswith(f"{project_name}:")
    if not isinstance(entry, dict):
        plain = isinstance(entry, (str, list)) or (isinstance(entry, int) and entry in INT64)
        if plain and not _has_other_keys(entry):
            return Declaration(preset=_handed_over(entry, in_project=True)), []
        attribute = "default" if own else "value"
        return Declaration(), [
            Problem(
                key=f"config.{key}",
                value=_shown(entry),
                reason="holds keys that are not text, which a project file cannot have"
                if plain
                else "is neither text, a whole number, true, false, a list nor a declaration",
                fix="write them in quotes" if plain else f"write `{{{attribute}: VALUE}}`, with a VALUE, or its type",
            )
        ]
    problems = _wrong_attributes(key, entry)
    type_name, items = entry.get("type"), entry.get("items")
    default, value = entry.get("default"), entry.get("value")
    if problems:
        return Declaration(), problems
    if "type" in entry and type_name not in _TYPES:
        problems.append(
            Problem(
                key=f"config.{key}.type",
                value=_shown(type_name),
                reason=f"is not one of {', '.join(_TYPES)}",
                fix="name one of them",
            )
        )
        return Declaration(), problems
    if default is not None and value is not None:
        problems.append(Problem(key=f"config.{key}", reason="has both `default` and `value`", fix="keep one of them"))
    if own and type_name == "array" and not isinstance(items, dict):
        problems.append(
            Problem(
                key=f"config.{key}",
                reason="is an array that does not say of what",
                fix="add `items: {type: string}`",
            )
        )
    elif (
        own
        and type_name is not None
        and default is not None
        and (_is_secure(default) or not _fits(type_name, items, default))
    ):
        problems.append(
            Problem(
                key=f"config.{key}.default",
                value=_shown(default),
                reason=f"is not of type '{_shown_type(type_name, items)}'",
                fix="change the default or the type",
            )
        )
    if not own and (type_name is not None or default is not None):
        problems.append(
            Problem(
                key=f"config.{key}",
                reason="belongs to another namespace, which takes only `value`",
                fix="write `value:` instead of `type:` and `default:`",
            )
        )
    elif not own and value is None:
        problems.append(Problem(key=f"config.{key}", reason="has no `value`", fix="add `value:`"))
    declared = Declaration(
        type=type_name,
        items=items if isinstance(items, dict) else None,
        secret=bool(entry.get("secret")),
        preset=_handed_over(value if default is None else default, in_project=True),
    )
    return declared, problems


def _wrong_attributes(key: str, entry: Mapping[str, Any]) -> list[Problem]:
    """What project.json, the schema of project files, says of a declaration beside its type."""
    problems = [
        Problem(
            key=f"config.{key}.{attribute}",
            reason=f"is not said of a key; what is, is {', '.join(_DECLARED)}",
            fix=f"write `{close[0]}:`" if (close := _close_to(attribute, _DECLARED)) else "take it out",
        )
        for attribute in entry
        if attribute not in _DECLARED
    ]
    expected = {
        "description": (isinstance(entry.get("description", ""), str), "text"),
        "secret": (isinstance(entry.get("secret", False), bool), "true or false"),
        "items": ("items" not in entry or _are_items(entry["items"]), "a type, as {type: string}"),
        "default": (not _has_other_keys(entry.get("default")), "a value all of whose keys are text, in quotes"),
        "value": (not _has_other_keys(entry.get("value")), "a value all of whose keys are text, in quotes"),
    }
    return problems + [
        Problem(key=f"config.{key}.{attribute}", reason=f"has to be {what}", fix=f"write {what}")
        for attribute, (right, what) in expected.items()
        if not right
    ]


def _are_items(items: Any) -> bool:
    if not isinstance(items, dict) or items.get("type") not in _TYPES:
        return False
    return _are_items(items["items"]) if "items" in items else items["type"] != "array"


def _has_other_keys(value: Any) -> bool:
    if isinstance(value, dict):
        return any(isinstance(key, NotText) or _has_other_keys(item) for key, item in value.items())
    return isinstance(value, list) and any(map(_has_other_keys, value))


def _merge_and_check(project: Project, stack: str, config: dict[str, Any], given: set[str]) -> list[Problem]:
    """`mergeConfig` and `validateStackConfigValues` of config.go."""
    problems = []
    for key, declared in sorted(project.declarations.items()):
        own = key.startswith(f"{project.name}:")
        preset = key not in config and declared.preset is not None
        if key not in config:
            if preset:
                config[key] = declared.preset
            elif own:
                problems.append(_missing(project, stack, key, declared))
                continue
        if key not in config or declared.type is None:
            continue
        value = config[key]
        if declared.secret and not _holds_secure(value) and key not in given:
            problems.append(
                Problem(
                    key=key,
                    reason="is declared secret but stands in clear",
                    fix=f"pulumi config set --secret --stack {stack} {_short(key, project.name)}",
                )
            )
            continue
        # The default fits; it was checked with the project's file.
        if preset or _fits(declared.type, declared.items, _as_typed(declared, value, from_argument=key in given)):
            continue
        problems.append(
            Problem(
                key=key,
                value=None if declared.secret or _is_secure(value) else _shown(value),
                reason=f"must be of type '{declared.shown_type}'"
                + (", and what is encrypted as a whole is text" if _is_secure(value) else ""),
                fix="encrypt the texts in it, each by its path: pulumi config set --secret --path"
                if _is_secure(value)
                else _type_fix(declared),
            )
        )
    return problems


def _missing(project: Project, stack: str, key: str, declared: Declaration) -> Problem:
    name = _short(key, project.name)
    how = f"pulumi config set {'--secret ' if declared.secret else ''}--stack {stack} {name}"
    kind = f" ({declared.shown_type})" if declared.type else ""
    return Problem(
        key=key,
        reason=f"is missing: {project.file} requires it{kind} and gives no default",
        fix=f"{how}, or for this run only -c {name}=VALUE",
    )


def _type_fix(declared: Declaration) -> str:
    example = {
        "string": 'text, in quotes where it looks like a number: "1"',
        "integer": "a whole number: 3",
        "boolean": "true or false",
        "object": "keys with values: {name: value}",
    }
    return "write " + example.get(declared.type or "", "a list: [a, b]")


def _as_typed(declared: Declaration, value: Any, *, from_argument: bool) -> Any:
    """A value given as `-c KEY=JSON` for a structured key is checked as what its text says."""
    if from_argument and isinstance(value, str) and declared.type in {"array", "object"}:
        try:
            return json.loads(value)
        except ValueError:
            return value
    # In a stack file a lone number or boolean is text once it is configuration.
    return text_of(value) if not isinstance(value, (list, dict)) else value


def _fits(type_name: Any, items: Any, value: Any) -> bool:  # noqa: PLR0911 - one type a line
    """`ValidateConfigValue` of project.go; what is encrypted is text, and nobody here knows which."""
    if _is_secure(value):
        return type_name in {"string", "integer", "boolean"}
    if type_name == "string":
        return isinstance(value, str)
    if type_name == "integer":
        if isinstance(value, str):
            return re.fullmatch(r"[+-]?0*[0-9]{1,19}", value) is not None and int(value) in INT64
        return value.is_integer() if isinstance(value, float) else type(value) is int and value in INT64
    if type_name == "boolean":
        return isinstance(value, bool) or value in ("true", "false")
    if type_name == "object":
        return isinstance(value, dict)
    if not isinstance(value, list) or not isinstance(items, Mapping):
        return False
    return all(_fits(items.get("type"), items.get("items"), item) for item in value)


def _shown_type(type_name: str, items: Any) -> str:
    if isinstance(items, Mapping):
        return f"array<{_shown_type(str(items.get('type')), items.get('items'))}>"
    return type_name


def _apply(override: Override, config: dict[str, Any], project: Project) -> str:
    """Set one value as `Map.Set` of map.go does, and return the full key that it belongs to."""
    if not override.is_path:
        key = _full_key(override.key, project.name)
        config[key] = override.value
        return key
    first = re.split(r"[.\[]", override.key, maxsplit=1)[0]
    namespaced = _full_key(first, project.name) if first else project.name + ":"
    namespace = namespaced.partition(":")[0]
    path = parse_path(namespaced.partition(":")[2] + override.key[len(first) :])
    if not path or not isinstance(path[0], str) or not path[0]:
        raise PathError("a path has to begin with a name")
    key = f"{namespace}:{path[0]}"
    if len(path) == 1:
        config[key] = override.value
    else:
        config[key] = set_path(config.get(key), path[1:], override.value)
    return key


def _keys_of(block: Mapping[str, Any], project_name: str) -> tuple[dict[str, str], list[Problem]]:
    """The keys of a `config:` block by full key, and what is wrong with them."""
    problems: list[Problem] = []
    written: dict[str, list[str]] = {}
    for key in block:
        try:
            written.setdefault(_full_key(key, project_name), []).append(key)
        except PathError as error:
            problems.append(Problem(key=key, reason=str(error), fix=f"write `{project_name}:name: value`"))
    for full_key, spellings in written.items():
        if len(spellings) > 1:
            reason = f"is written as {' and as '.join(spellings)}, of which the engine takes one by chance"
            problems.append(Problem(key=full_key, reason=reason, fix="leave one of them"))
    return {full_key: spellings[0] for full_key, spellings in written.items()}, problems


def _is_plain_path(name: str) -> bool:
    try:
        return parse_path(name) == [name]
    except PathError:
        return False


def _full_key(key: str, project_name: str) -> str:
    if isinstance(key, NotText):
        raise PathError("is no text")
    parts = key.split(":")
    if len(parts) == 1:
        return f"{project_name}:{key}"
    if len(parts) == 3 and parts[1] == "config":
        return f"{parts[0]}:{parts[2]}"
    if len(parts) == 2:
        return key
    raise PathError("is not of the form namespace:name")


def _close_to(word: str, known: Iterable[str]) -> list[str]:
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

    return get_close_matches(word, list(known), n=1)


def _short(key: str, project_name: str) -> str:
    return key.removeprefix(f"{project_name}:")


def _is_secure(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"secure"} and isinstance(value["secure"], str)


def _holds_secure(value: Any) -> bool:
    if isinstance(value, dict):
        return _is_secure(value) or any(_holds_secure(item) for item in value.values())
    return isinstance(value, list) and any(_holds_secure(item) for item in value)


def _replace_secure(value: Any, label: str, declared: Declaration, stand_ins: dict[str, str]) -> Any:
    """Put stand-ins for what is encrypted, and note those that are text by where they stand."""
    if _is_secure(value):
        # Another ciphertext is another secret, which a comparison of two revisions has to see.
        digest = hashlib.sha256(value["secure"].encode()).hexdigest()[:10]
        stand_in = _STAND_INS.get(declared.type or "", f"[secret {label} {digest}]")
        stand_ins[label] = stand_in if isinstance(stand_in, str) else ""
        return stand_in
    nested = replace(declared, type=None)
    if isinstance(value, dict):
        return {key: _replace_secure(item, f"{label}.{key}", nested, stand_ins) for key, item in value.items()}
    if isinstance(value, list):
        return [_replace_secure(item, f"{label}[{index}]", nested, stand_ins) for index, item in enumerate(value)]
    return value


def _leaves(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _handed_over(value: Any, *, in_project: bool = False, nested: bool = False) -> Any:
    """A value as it is once the engine has stored it: all but a scalar of a stack file as JSON, read again."""
    if isinstance(value, Timestamp):
        return value.in_project if in_project else value.in_stack
    if type(value) is int and value not in INT64 and (in_project or nested):
        return float(value)
    if isinstance(value, dict):
        return {key: _handed_over(item, in_project=in_project, nested=True) for key, item in value.items()}
    if isinstance(value, list):
        return [_handed_over(item, in_project=in_project, nested=True) for item in value]
    return value


def text_of(value: Any) -> str:
    """A configuration value as the program gets it: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json_text(value)


def _shown(value: Any) -> str:
    shown = text_of(_handed_over(value))
    return shown if len(shown) <= 60 else shown[:57] + "..."

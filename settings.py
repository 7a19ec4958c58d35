"""The only reader of the stack's configuration: typed, whole, and refused with every problem at once."""

import difflib
import json
import os
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin

import pulumi
import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

import versions
from catalog.architectures import Architecture, from_hugging_face
from planning.given import Given
from planning.plan import Plan, plan
from planning.refusal import Problem, Refusal
from planning.schema import WHAT_CAN_BE_READ, Capacity, Stack, TokenSource

NAMESPACE = "llmserve"
TOKEN_KEY = f"{NAMESPACE}:huggingFaceToken"
COST_KEY = f"{NAMESPACE}:costOf"
GOOGLE_KEYS = {"project": "gcp:project", "region": "gcp:region"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What a stack declares, and in which file. `hugging_face_token` is set only where the stack itself holds it."""

    file: str
    stack: Stack
    """With problems only as much of it as could be read: asking for the rest raises NotRead."""
    architectures: Mapping[str, Architecture | None]
    """From the `config.json` files that models name, by the path as written; None where it could not be read."""
    secret_keys: frozenset[str]
    """Configuration keys whose values must not be shown."""
    hugging_face_token: pulumi.Output[str] | None
    today: date
    """The day on which the stack is read, by which support ends."""
    problems: tuple[Problem, ...]
    """What could not be read, for the plan to refuse together with what it finds itself."""

    def given(self) -> Given:
        """What planning judges: the settings, and what an engine runs where a model names no image of its own."""
        return Given(
            stack=self.stack,
            images=versions.ENGINE_IMAGES,
            architectures=self.architectures,
            secret_keys=self.secret_keys,
            parts=versions.PARTS,
            today=self.today,
        )

    def plan(self) -> Plan:
        """Decide all that can be decided without the cloud. Raises Refusal with everything that is wrong."""
        return plan(self.given(), file=self.file, found=self.problems)


@dataclass(frozen=True, kw_only=True, slots=True)
class CostSettings:
    """What a stack declares that makes nothing and tells what another one costs."""

    file: str
    cost_of: str
    """The other stack's name."""
    capacity: Capacity
    """What is compared with the other stack's own."""


def _key_of(field: str) -> str:
    return GOOGLE_KEYS.get(field) or f"{NAMESPACE}:{Stack.model_fields[field].alias}"


KEYS = {_key_of(field): field for field in Stack.model_fields}
"""Every configuration key of a platform but the token's, with its field."""


def load_cost() -> CostSettings | None:
    """Read the settings of a stack with `costOf`; None for a platform's. Raises Refusal with all that is wrong."""
    config: Mapping[str, str] = pulumi.runtime.get_config_env()
    secret_keys = set(pulumi.runtime.get_config_secret_keys_env())
    stack, name = pulumi.get_stack(), config.get(COST_KEY, "")
    if not name:
        return None
    problems = _unread_keys(config)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name) or name == stack:
        problems.append(
            Problem(key=COST_KEY, value=name, reason="is no other stack", fix="the name of a stack with models")
        )
    capacity_key = f"{NAMESPACE}:capacity"
    if config.get(capacity_key) not in list(Capacity):
        problems.append(
            Problem(
                key=capacity_key,
                value=config.get(capacity_key),
                reason="is not one of the allowed values",
                fix=f"one of {', '.join(Capacity)}",
            )
        )
    preset = yaml.safe_load((Path(__file__).parent / "Pulumi.yaml").read_text(encoding="utf-8"))["config"]
    for key in sorted(config.keys() & {*KEYS, TOKEN_KEY}):
        default = preset.get(key.removeprefix(f"{NAMESPACE}:"), {}).get("default")
        if key != capacity_key and config[key] not in (default, json.dumps(default, separators=(",", ":"))):
            problems.append(
                Problem(
                    key=key,
                    value="[secret]" if key in secret_keys | {TOKEN_KEY} else textwrap.shorten(config[key], 60),
                    reason=f"is not read by a stack with {COST_KEY}, which has no platform of its own",
                    fix=f"take it out, or set it in Pulumi.{name}.yaml",
                )
            )
    file = f"Pulumi.{stack}.yaml"
    if problems:
        raise Refusal(file, problems)
    return CostSettings(file=file, cost_of=name, capacity=Capacity(config[capacity_key]))


def load() -> Settings:
    """Read this stack's settings, with all that is wrong with them.

    Problems are keys that nobody reads, missing keys, wrong types, values out of range, files that are no config.json.
    """
    config: Mapping[str, str] = pulumi.runtime.get_config_env()
    secret_keys = set(pulumi.runtime.get_config_secret_keys_env())
    problems = _unread_keys(config)
    if config.get(COST_KEY):
        reason = "says that this stack makes nothing: it has no platform to work with"
        fix = f"name the stack {config[COST_KEY]} instead"
        problems.append(Problem(key=COST_KEY, value=config[COST_KEY], reason=reason, fix=fix))
    values: dict[str, Any] = {}
    for key, field in KEYS.items():
        if key in config:
            try:
                values[Stack.model_fields[field].alias or field] = _decode(field, config[key])
            except (ValueError, RecursionError):
                wanted = Stack.model_fields[field].annotation
                problems.append(
                    Problem(
                        key=key,
                        reason=f"is not {_name_of(wanted)}",
                        fix=f"write {_name_of(wanted)}",
                        value="[secret]" if key in secret_keys else config[key],
                    )
                )
    broken = {problem.key for problem in problems}
    try:
        stack = Stack.model_validate(values)
    except ValidationError as error:
        found = [_explain(detail, secret_keys) for detail in error.errors(include_url=False)]
        # Of a variable both name and value may be wrong: of one key one thing is said.
        once = {problem.key: problem for problem in reversed(found)}
        problems += [problem for problem in found if problem.key not in broken and once[problem.key] is problem]
        stack = Stack.model_validate(values, context=WHAT_CAN_BE_READ)
    problems += _token_problems(config, secret_keys)
    architectures, unread = _architectures(values.get("models"))
    from_config = config.get(f"{NAMESPACE}:huggingFaceTokenFrom") == TokenSource.CONFIG and TOKEN_KEY in config
    return Settings(
        file=f"Pulumi.{pulumi.get_stack()}.yaml",
        stack=stack,
        architectures=architectures,
        secret_keys=frozenset(secret_keys),
        hugging_face_token=pulumi.Config(NAMESPACE).require_secret("huggingFaceToken") if from_config else None,
        today=_today(),
        problems=(*problems, *unread),
    )


def _today() -> date:
    """Today, or the day that SOURCE_DATE_EPOCH names, so that a result can be had again.

    https://reproducible-builds.org/specs/source-date-epoch/
    """
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    return (datetime.now(UTC) if seconds is None else datetime.fromtimestamp(int(seconds), UTC)).date()


def _architectures(models: object) -> tuple[dict[str, Architecture | None], list[Problem]]:
    """Read the files that models name as their architecture: each a Hugging Face `config.json`."""
    found: dict[str, Architecture | None] = {}
    problems = []
    for index, model in enumerate(models if isinstance(models, list) else []):
        path = model.get("architecture") if isinstance(model, dict) else None
        if not isinstance(path, str) or not path.endswith(".json") or path in found:
            continue
        found[path] = None
        try:
            content = json.loads((Path(__file__).parent / path).read_text(encoding="utf-8"))
            found[path] = from_hugging_face(content, name=path)
        except (OSError, ValueError, RecursionError) as error:
            reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
            fix = "the path, from the project's folder, of the config.json in the model's repository"
            problems.append(
                Problem(key=f"{NAMESPACE}:models[{index}].architecture", reason=reason, fix=fix, value=path)
            )
    return found, problems


def _unread_keys(config: Mapping[str, str]) -> list[Problem]:
    """Find the keys that look set and do nothing: Pulumi accepts a misspelt key in silence."""
    known = [*KEYS, TOKEN_KEY, COST_KEY]
    return [
        Problem(key=key, reason="is not a setting: nothing reads it", fix=_choose(key, known))
        for key in sorted(config)
        if key not in known and not key.startswith("pulumi:")
    ]


def _token_problems(config: Mapping[str, str], secret_keys: set[str]) -> list[Problem]:
    source, given = config.get(f"{NAMESPACE}:huggingFaceTokenFrom"), TOKEN_KEY in config
    if given and TOKEN_KEY not in secret_keys:
        reason = "is in clear, and a stack file is committed"
        return [
            Problem(
                key=TOKEN_KEY,
                reason=reason,
                fix="revoke that token, then pulumi config set --secret huggingFaceToken",
            )
        ]
    if source == TokenSource.CONFIG and not given:
        reason = f"is missing, and {NAMESPACE}:huggingFaceTokenFrom is {TokenSource.CONFIG}"
        return [Problem(key=TOKEN_KEY, reason=reason, fix="pulumi config set --secret huggingFaceToken")]
    if given and source != TokenSource.CONFIG:
        reason = f"is set, but {NAMESPACE}:huggingFaceTokenFrom is {source}: nothing reads it"
        return [Problem(key=TOKEN_KEY, reason=reason, fix="pulumi config rm huggingFaceToken")]
    return []


def _decode(field: str, text: str) -> Any:
    """Undo what Pulumi does to a value that is not a string: it hands it over as JSON."""
    annotation = Stack.model_fields[field].annotation
    is_text = (isinstance(annotation, type) and issubclass(annotation, str)) or (
        get_origin(annotation) is Literal and isinstance(get_args(annotation)[0], str)
    )
    return text if is_text else json.loads(text)


def _name_of(annotation: object) -> str:
    if get_origin(annotation) is tuple:
        return "a list"
    if get_origin(annotation) is dict or _models_in(annotation):
        return "an object"
    return {bool: "true or false", int: "a whole number"}.get(cast(type, annotation), "a whole number")


def _explain(detail: ErrorDetails, secret_keys: set[str]) -> Problem:
    location = detail["loc"]
    first = str(location[0])
    field = next(name for name, info in Stack.model_fields.items() if first in (info.alias, name))
    # Of a key that is wrong pydantic says so beside its name.
    path = [part for part in location[1:] if part != "[key]"]
    key = _key_of(field) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    value = None
    if detail["type"] not in ("missing", "extra_forbidden") and not isinstance(
        detail["input"], dict | list | BaseModel
    ):
        value = "[secret]" if _key_of(field) in secret_keys else json.dumps(detail["input"], ensure_ascii=False)
    match detail["type"]:
        case "missing":
            command = f"pulumi config set {key.removeprefix(NAMESPACE + ':')} VALUE" if len(location) == 1 else "add it"
            return Problem(key=key, reason="is required and missing", fix=command)
        case "extra_forbidden":
            allowed = sorted(_fields_at(location[:-1]))
            return Problem(
                key=key, reason="is not a setting: nothing reads it", fix=_choose(str(location[-1]), allowed)
            )
        case "enum" | "literal_error":
            return Problem(
                key=key,
                reason="is not one of the allowed values",
                fix=f"one of {detail['ctx']['expected']}",
                value=value,
            )
        case "string_pattern_mismatch":
            return Problem(
                key=key,
                reason="has the wrong form",
                fix=f"it must match {detail['ctx']['pattern']}",
                value=value,
            )
        case "value_error":
            error = detail["ctx"]["error"]
            return Problem(key=key, reason=str(error), fix=getattr(error, "fix", "correct the value"), value=value)
        case _:
            return Problem(
                key=key,
                reason=detail["msg"][0].lower() + detail["msg"][1:],
                fix="correct the value",
                value=value,
            )


def _fields_at(location: Sequence[int | str]) -> list[str]:
    """Name the keys that the object at this place may have."""
    model: type[BaseModel] = Stack
    for part in location:
        if isinstance(part, int):
            continue
        field = next(info for name, info in model.model_fields.items() if part in (info.alias, name))
        model = next(found for found in _models_in(field.annotation))
    return [info.alias or name for name, info in model.model_fields.items()]


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _models_in(argument)]


def _choose(wrong: str, allowed: Sequence[str]) -> str:
    near = difflib.get_close_matches(wrong, allowed, n=1)
    return f"did you mean {near[0]}?" if near else f"one of {', '.join(allowed)}"

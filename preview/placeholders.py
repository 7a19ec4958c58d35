"""What a provider would add to a resource, as far as the installed SDK's own classes tell.

`BeforeCreation` is honest: what is not known stays unknown. `Placeholders` adds a readable stand-in,
`⟦Cluster/prod.endpoint⟧`, for every property that is computed later, so that `apply` bodies run and manifests
render.
"""

from __future__ import annotations

import enum
import hashlib
import importlib
import sys
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from pulumi import _types
from pulumi.runtime import rpc

from preview.values import SECRET_SIGNATURE, SIGNATURE_KEY, UNKNOWN_SENTINEL

_DEEPEST: Final = 5
_HELM_RELEASE: Final = "kubernetes:helm.sh/v3:Release"


class BeforeCreation:
    """Knows what is known before a resource exists: what the program gave, and the names that providers choose.

    Where the program gave part of an object, the rest of it is unknown: the provider may add to it. Kubernetes
    adds nothing to an object that was not asked for before it exists, so there what is absent stays absent.
    """

    def __init__(self, *, project: str, stack: str) -> None:
        """Take what the names that providers choose depend on, so that they are the same in every run."""
        self._seed = f"{project}/{stack}"

    def properties(self, token: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """Return the properties that the provider adds to, in wire form."""
        package = token.partition(":")[0]
        added: dict[str, Any] = {}
        if package != "kubernetes":
            label = f"{token.rpartition(':')[2]}/{name}"
            types = outputs_of(token) if any(isinstance(value, (dict, list)) for value in given.values()) else {}
            for key, value in given.items():
                if key in types and isinstance(value, (dict, list)):
                    added[key] = self._complete(value, types[key], f"{label}.{key}")
        return added

    def name(self, token: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """Return the property with the name that the provider chooses, where the program leaves it the choice."""
        package = token.partition(":")[0]
        if package == "kubernetes" and token != _HELM_RELEASE:
            return self._kubernetes_name(token, name, given)
        if package in {"kubernetes", "gcp"} and "name" not in given and "name" in inputs_of(token):
            return {"name": f"{name}-{self._suffix(token, name, 8 if package == 'kubernetes' else 7)}"}
        return {}

    def resource_id(self, _token: str, _name: str) -> str:
        """Return nothing: an id exists when the resource does."""
        return ""

    def _absent(self, _declared: Any, _label: str) -> Any:
        """Stand in for a field that the program did not give."""
        return UNKNOWN_SENTINEL

    def _complete(self, value: Any, declared: Any, label: str) -> Any:
        declared = _types.unwrap_optional_type(declared)
        if isinstance(value, list):
            arguments = typing.get_args(declared)
            inner = arguments[0] if arguments else None
            return [self._complete(item, inner, f"{label}[{index}]") for index, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        if SIGNATURE_KEY in value:
            if value[SIGNATURE_KEY] != SECRET_SIGNATURE:
                return value
            return {**value, "value": self._complete(value["value"], declared, label)}
        if not _is_output_type(declared):
            return value
        complete = dict(value)
        for key, inner in fields_of(declared).items():
            filled = (
                self._complete(value[key], inner, f"{label}.{key}")
                if key in value
                else self._absent(inner, f"{label}.{key}")
            )
            if filled is not None:
                complete[key] = filled
        return complete

    def _kubernetes_name(self, token: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
        metadata = given.get("metadata", {})
        kind = token.rpartition(":")[2]
        is_object = token.count(":") == 2 and "/" in token and not kind.endswith(("List", "Patch"))
        if not is_object or token.startswith(("kubernetes:yaml", "kubernetes:helm", "kubernetes:kustomize")):
            return {}
        if not isinstance(metadata, dict) or {"name", "generateName", SIGNATURE_KEY} & metadata.keys():
            return {}
        return {"metadata": {**metadata, "name": f"{name}-{self._suffix(token, name, 8)}"}}

    def _suffix(self, token: str, name: str, length: int) -> str:
        return hashlib.sha256(f"{self._seed}/{token}/{name}".encode()).hexdigest()[:length]


class Placeholders(BeforeCreation):
    """Knows a stand-in for every computed property.

    Numbers and booleans have no readable stand-in: they stay unknown, or with `everything` become 0 and False, as a
    simulated update needs it.
    """

    def __init__(self, *, project: str, stack: str, everything: bool) -> None:
        """Take the names' seed, and whether numbers and booleans get a stand-in too."""
        super().__init__(project=project, stack=stack)
        self._everything = everything

    def properties(self, token: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """Return the properties that the provider adds to, and a stand-in for each that it computes."""
        added = super().properties(token, name, given)
        label = f"{token.rpartition(':')[2]}/{name}"
        for key, declared in outputs_of(token).items():
            if key not in given and key not in added and key not in {"id", "urn"}:
                value = self._stand_in(declared, f"{label}.{key}", 0)
                if value is not None:
                    added[key] = value
        return added

    def resource_id(self, token: str, name: str) -> str:
        """Return a stand-in for the id."""
        return f"⟦{token.rpartition(':')[2]}/{name}.id⟧"

    def _absent(self, declared: Any, label: str) -> Any:
        return self._stand_in(declared, label, 0)

    def _stand_in(self, declared: Any, label: str, depth: int) -> Any:  # noqa: PLR0911 - one type a line
        declared = _types.unwrap_optional_type(declared)
        origin = typing.get_origin(declared)
        if declared is str or (isinstance(declared, type) and issubclass(declared, enum.Enum)):
            return f"⟦{label}⟧"
        if _is_output_type(declared):
            return self._object(declared, label, depth)
        if _is_sequence(origin):
            arguments = typing.get_args(declared)
            item = self._stand_in(arguments[0], f"{label}[0]", depth + 1) if arguments else None
            return [] if item is None else [item]
        if _is_mapping(origin):
            return {}
        if declared in {int, float}:
            return 0 if self._everything else None
        if declared is bool:
            return False if self._everything else None
        return f"⟦{label}⟧" if self._everything else None

    def _object(self, declared: Any, label: str, depth: int) -> dict[str, Any] | None:
        if depth >= _DEEPEST:
            return None
        fields = {key: self._stand_in(inner, f"{label}.{key}", depth + 1) for key, inner in fields_of(declared).items()}
        return {key: value for key, value in fields.items() if value is not None}


def _is_output_type(declared: Any) -> bool:
    return isinstance(declared, type) and _types.is_output_type(declared)


def _is_sequence(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Sequence)


def _is_mapping(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)


@cache
def fields_of(declared: type) -> Mapping[str, Any]:
    """Names and types of an SDK output type's fields."""
    return _types.output_type_types(declared)


@cache
def inputs_of(token: str) -> frozenset[str]:
    """Property names that a resource takes, from the `Args` class beside it; empty where the SDK is not
    installed.
    """
    found = _class_of(token)
    if found is None:
        return frozenset()
    arguments = getattr(sys.modules[found.__module__], f"{found.__name__}Args", None)
    return frozenset(_types.input_type_py_to_pulumi_names(arguments).values()) if arguments else frozenset()


@cache
def outputs_of(token: str) -> Mapping[str, Any]:
    """Property names and types that a resource has once it exists; empty where the SDK is not installed."""
    found = _class_of(token)
    return _types.resource_types(found) if found is not None else {}


def _class_of(token: str) -> type | None:
    """The SDK's class of a type token, by the table that the SDK itself uses to rebuild references."""
    key = ":".join(token.split(":")[:2])
    for module in rpc._RESOURCE_MODULES.get(key, ()):  # there is no public way from a token to its class
        information = getattr(module, "mod_info", {})
        class_name = information.get("classes", {}).get(token)
        if class_name is not None:
            found = getattr(importlib.import_module(information["fqn"]), class_name, None)
            return found if isinstance(found, type) else None
    return None

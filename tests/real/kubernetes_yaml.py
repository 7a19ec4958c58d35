"""YAML as Kubernetes' own tools read it: `=` and dates are texts."""

from typing import Any, Final

import yaml

_BASE: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_BASE):  # type: ignore[misc]
    """The safe loader, without the two readings of YAML 1.1 that Go's has not."""


for _tag in ("value", "timestamp"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", yaml.SafeLoader.construct_yaml_str)


def load_all(text: str) -> list[dict[str, Any]]:
    """Read every document that is an object."""
    return [found for found in yaml.load_all(text, Loader=_Loader) if isinstance(found, dict)]

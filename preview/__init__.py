"""An offline preview of a Pulumi Python program: the real program through the real SDK, without engine, plugin
or credential.

`record` runs one stack and returns a `Snapshot`; `python -m preview` is the command line.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preview.errors import InvalidFile, PreviewError, ProgramFailed, Refused
    from preview.run import record
    from preview.snapshot import Diagnostic, Invoke, Resource, Snapshot
    from preview.values import UNKNOWN, Asset, ResourceReference, Secret, Unknown

__all__ = [
    "UNKNOWN",
    "Asset",
    "Diagnostic",
    "InvalidFile",
    "Invoke",
    "PreviewError",
    "ProgramFailed",
    "Refused",
    "Resource",
    "ResourceReference",
    "Secret",
    "Snapshot",
    "Unknown",
    "record",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the command line forks before it needs any of them."""
    import importlib  # noqa: PLC0415 - the command line forks before it needs it

    if name in __all__:
        for module in ("errors", "snapshot", "values", "run"):
            found = importlib.import_module(f"preview.{module}")
            if hasattr(found, name):
                return getattr(found, name)
    raise AttributeError(f"module 'preview' has no attribute {name!r}")

"""Which SDK modules a program will use, and loading them ahead of it.

A program's own modules are only read as text, never imported. Packages are loaded the way programs do, by
attribute access (`pulumi_gcp.container.Cluster`): importing `pulumi_gcp.container.cluster` first would leave the
package's lazy module broken for the program. A mistake here costs time, never correctness: the program imports
whatever is missing by itself.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Final

_IMPORT: Final = re.compile(
    r"^[ \t]*(?:from[ \t]+([.\w]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]+)|import[ \t]+([^\n#]+))", re.MULTILINE
)

Imports = list[tuple[str, list[tuple[str, str]]]]
"""(module, [(name, alias)]) of each import statement; for `import a.b as c` the names are [("", "c")]."""


def preload_for(root: Path, program: Path) -> None:
    """Load what a program and the modules it imports will need from installed packages."""
    for source, imports in _sources(root, program):
        _preload_source(source, imports, root)


def _sources(root: Path, program: Path) -> Iterator[tuple[str, Imports]]:
    """The text and imports of a program and of every module of its project that it imports, at any depth."""
    base = program.parent
    waiting, seen = [program], {program}
    while waiting:
        file = waiting.pop()
        source = file.read_text(encoding="utf-8", errors="replace")
        imports = list(_imports(source))
        yield source, imports
        for module, names in imports:
            for dotted in (module, *(f"{module}.{name}" for name, _ in names)):
                if dotted.startswith("."):
                    level = len(dotted) - len(dotted.lstrip("."))
                    start = file.parents[level - 1]
                else:
                    start = base
                for found in _module_files(start, dotted.strip(".")):
                    if found not in seen and root in found.parents:
                        seen.add(found)
                        waiting.append(found)


def _module_files(base: Path, dotted: str) -> Iterator[Path]:
    place = base
    for part in filter(None, dotted.split(".")):
        place /= part
        if (place / "__init__.py").is_file():
            yield place / "__init__.py"
        elif place.with_suffix(".py").is_file():
            yield place.with_suffix(".py")


def _imports(source: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    for match in _IMPORT.finditer(source):
        module, names, modules = match.groups()
        if module:
            listed = re.sub(r"#[^\n]*", "", names).strip("() \n\t").replace("\n", " ")
            yield module, [_named(part) for part in listed.split(",") if part.strip()]
        else:
            for part in modules.split(","):
                dotted, alias = _named(part)
                yield dotted, [("", alias)]


def _named(part: str) -> tuple[str, str]:
    words = part.split()
    if not words:
        return "", ""
    return (words[0], words[2]) if len(words) == 3 and words[1] == "as" else (words[0], words[0])


def _preload_source(source: str, imports: Imports, root: Path) -> None:
    names: dict[str, object] = {}
    for module, imported in imports:
        package = import_package(module, imported, root)
        if package is None:
            continue
        for name, alias in imported:
            if not name and "." not in module:
                names[alias] = package
            elif name:
                # `from pulumi_gcp import container`: the name is an attribute of what stands before it.
                names[alias] = _follow(package, [*module.split(".")[1:], name])
    if not names:
        return
    roots = "|".join(re.escape(name) for name in names if name.isidentifier())
    if not roots:
        return
    for chain in set(re.findall(rf"(?<![\w.])(?:{roots})(?:\.\w+)+", source)):
        first, *rest = chain.split(".")
        _follow(names[first], rest)


def import_package(module: str, imported: list[tuple[str, str]], root: Path) -> ModuleType | None:
    """Import the installed package that a dotted name begins with; None for a project's own, or one that is
    absent.
    """
    top = module.partition(".")[0]
    if not top or top in sys.stdlib_module_names or (root / top).is_dir() or (root / f"{top}.py").is_file():
        return None
    if top.startswith("pulumi_") and "." in module:
        # The program imports a submodule by itself, in an order that matters to the SDK's lazy modules.
        return None
    try:
        package = importlib.import_module(top)
        if "." in module:
            importlib.import_module(module)
        if not top.startswith("pulumi"):
            for name, _ in imported:
                with suppress(ModuleNotFoundError):
                    importlib.import_module(f"{module}.{name}")
    except Exception:  # noqa: BLE001 - the program meets the same error, and there it is reported
        return None
    return package


def _follow(start: object, attributes: list[str]) -> object:
    """Walk attributes as long as they lead through modules, and let the SDK learn the types of a class at the end.

    It learns them from annotations, once a process, which takes a third of the time of a run.
    """
    value = start
    for attribute in attributes:
        if not isinstance(value, ModuleType):
            break
        value = getattr(value, attribute, None)
    if isinstance(value, type) and value.__module__.startswith("pulumi"):
        _learn_types(value)
    return value


def _learn_types(found: type) -> None:
    """Learn the types of a resource and its arguments, or of an argument and of what it becomes as an output."""
    from pulumi import _types  # noqa: PLC0415 - a parent with one program to run loads no SDK

    module = sys.modules[found.__module__]
    outputs = sys.modules.get(f"{found.__module__.rpartition('.')[0]}.outputs")
    related = [
        found,
        *(getattr(module, f"{found.__name__}{ending}", None) for ending in ("Args", "InitArgs")),
        getattr(outputs, found.__name__.removesuffix("Args"), None),
    ]
    with suppress(Exception):
        for kind in related:
            if not isinstance(kind, type):
                continue
            if _types.is_input_type(kind):
                _types.input_type_types(kind)
            elif _types.is_output_type(kind):
                _types.output_type_types(kind)
            else:
                _types.resource_types(kind)

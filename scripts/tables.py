"""`make tables`: the tables in docs/ that follow from the code, each between two marks, written anew.

A test holds every page against what this would write.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from scripts import cost_tables, memory_table, simulator_tables

DOCS: Final = Path(__file__).parent.parent / "docs"
TABLES: Final[Mapping[str, Mapping[str, Callable[[], str]]]] = {
    "cost.md": {"brief": cost_tables.brief, "one": cost_tables.one, "three": cost_tables.three},
    "memory.md": {"memory": memory_table.table},
    "simulator.md": {
        "batching": simulator_tables.batching,
        "lengths": simulator_tables.lengths,
        "bills": simulator_tables.bills_table,
        "starts": simulator_tables.starts,
    },
}


def marks(name: str) -> tuple[str, str]:
    """Give the lines before and after a table."""
    return f"<!-- begin: {name}, by `make tables` -->", f"<!-- end: {name} -->"


def rewritten(page: str, name: str, table: str) -> str:
    """Put a table between its two marks. Raises ValueError where they are missing."""
    opening, closing = marks(name)
    before, begin, rest = page.partition(opening)
    _, end, after = rest.partition(closing)
    if not begin or not end:
        raise ValueError(f"no two marks: {opening} {closing}")
    return f"{before}{opening}\n{table}\n{closing}{after}"


def whole(page: str, text: str) -> str:
    """Write all tables of a page anew."""
    for name, make in TABLES[page].items():
        text = rewritten(text, name, make())
    return text


def main(arguments: Sequence[str]) -> None:
    """Write the pages."""
    argparse.ArgumentParser(prog="tables", description=(__doc__ or "").splitlines()[0]).parse_args(arguments)
    for name in TABLES:
        path = DOCS / name
        path.write_text(whole(name, path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

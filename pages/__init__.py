"""HTML pages with pictures, in one file each: no network, no script, readable on paper."""

import io
from collections.abc import Callable, Iterable
from html import escape
from typing import Final

from matplotlib import rc_context
from matplotlib.figure import Figure

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #222 }
h2 { margin-top: 2.5rem } svg { width: 100%; height: auto }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #ddd }
th { font-weight: 600; white-space: nowrap }
td.by { color: #555 }
table.wide { font-size: .8rem }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
@media print {
  body { margin: 0; max-width: none; font-size: 10pt }
  h2 { break-before: page }
  h2:first-of-type { break-before: auto }
}
"""


def whole(name: str, sections: Iterable[str]) -> str:
    """Put sections, which are HTML, under a title, which is text."""
    title = escape(name)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n'
        f"<body><h1>{title}</h1>\n" + "\n".join(sections) + "\n</body></html>\n"
    )


def table(written: Iterable[tuple[str, ...]]) -> str:
    """Write rows of a name, a value and where it is from."""
    lines = []
    for name, value, *by in written:
        source = "".join(f'<td class="by">{escape(text)}</td>' for text in by)
        lines.append(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td>{source}</tr>")
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def drawn(draw: Callable[[Figure], None], *, height: float) -> str:
    """Draw a figure of so many inches as SVG; the same figure gives the same bytes."""
    with rc_context(
        {
            "svg.hashsalt": "llmserve",
            "svg.fonttype": "none",
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    ):
        figure = Figure(figsize=(10, height), layout="constrained")
        draw(figure)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None})
    return written.getvalue()[written.getvalue().index("<svg") :]

"""Texts of others inside Markdown and HTML, so that they stay texts: nothing formats, links, or mentions anybody."""

import html


def escape(text: str) -> str:
    """Keep a text from being Markdown or HTML."""
    told = "".join(f"\\{one}" if one in "\\`*_{}[]()#+!|~>" else one for one in printable(text).replace("\n", " "))
    return html.escape(told, quote=False).replace("@", "&#64;").replace("://", ":&#8203;//")


def code(text: str) -> str:
    """Write a text as code in a line, whatever is in it."""
    told = printable(text).replace("`", "'").replace("|", "\\|").replace("\n", " ")
    # In code they would be harmless, were it not for tables and blocks of HTML around it.
    told = told.replace("<", "(").replace(">", ")")
    return f"`{told or ' '}`"


def printable(text: str) -> str:
    """Take out what is no text: control characters, and marks that turn the direction of writing."""
    return "".join(one for one in text if one == "\n" or (one.isprintable() and one not in "\u202a\u202b\u202d\u202e"))


def cut(text: str, longest: int) -> str:
    """Shorten a text, and show that it was."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"

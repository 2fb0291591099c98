"""Small pieces of HTML. Whatever comes from files or options is escaped here."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; headings are text, cells are HTML. Nothing without rows."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<div class='wide'><table><tr>{head}</tr>{body}</table></div>"


def items(texts: Sequence[str], kind: str) -> str:
    """A box with a list of sentences; nothing without any."""
    lines = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<div class='{kind}'><ul>{lines}</ul></div>" if lines else ""


def terms(pairs: Sequence[tuple[str, str]]) -> str:
    """A list of terms and their explanations; nothing without any."""
    lines = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in pairs)
    return f"<dl>{lines}</dl>" if lines else ""


def with_note(value: str, note: str, strong: bool = False) -> str:
    """A cell: a value, and below it a note in small letters."""
    value = f"<b>{escape(value)}</b>" if strong else escape(value)
    return f"{value}<br><small>{escape(note)}</small>"


def folded(summary: str, content: str, unfolded: bool) -> str:
    """Content that opens by a click on a line of text."""
    word = " open" if unfolded else ""
    return f"<details{word}><summary>{escape(summary)}</summary>{content}</details>"


def picture(title: str, path: Path) -> str:
    """A PNG file, inside the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f"<img alt='{escape(title)}' src='data:image/png;base64,{data}'>"

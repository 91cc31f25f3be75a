"""What a notebook shows of a model: an HTML table without a script, and a diagram for front ends that draw Mermaid."""

from __future__ import annotations

from collections.abc import Collection
from html import escape
from typing import Final

from ..domain.difference import in_order, one_line
from ..domain.transition import Transition
from . import mermaid_text

MOST_ROWS: Final = 500
"""The longest table; a longer one is cut, with a note."""
MERMAID_TYPE: Final = "text/vnd.mermaid"
_MOST_DRAWN: Final = 100


def table(title: str, transitions: Collection[Transition]) -> str:
    """Return an HTML table of transitions, under a title that folds and unfolds it."""
    listed = in_order(transitions)
    rows = "".join(
        f"<tr><td>{_cell(source)}</td><td>{_cell(None if source is None else action)}</td><td>{_cell(target)}</td></tr>"
        for source, action, target in listed[:MOST_ROWS]
    )
    more = len(listed) - MOST_ROWS
    rest = f'<tr><td colspan="3">… and {more} more</td></tr>' if more > 0 else ""
    head = "<thead><tr><th>source</th><th>action</th><th>target</th></tr></thead>"
    return f"<details open><summary>{escape(title)}</summary><table>{head}<tbody>{rows}{rest}</tbody></table></details>"


def bundle(plain: str, title: str, transitions: Collection[Transition]) -> dict[str, str]:
    """Return MIME type → content: text, HTML and, for a small model, the Mermaid diagram."""
    found = {"text/plain": plain, "text/html": table(title, transitions)}
    if len(transitions) <= _MOST_DRAWN:
        found[MERMAID_TYPE] = mermaid_text.write(transitions)
    return found


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, in the plural unless the number is 1."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _cell(name: str | None) -> str:
    return "<i>start</i>" if name is None else escape(one_line(name))

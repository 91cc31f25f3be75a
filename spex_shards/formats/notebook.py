"""What a notebook shows of a system: a drawing and a table in HTML without a script, SVG, and Mermaid."""

from __future__ import annotations

from collections.abc import Collection
from html import escape
from typing import Final

from ..domain.difference import in_order, one_line
from ..domain.transition import Transition
from ..drawing.picture import picture
from . import mermaid_text
from .marks import NONE, WORDS, Marks

MOST_ROWS: Final = 500
"""The longest table; a longer one is cut, with a note."""
MOST_DRAWN: Final = 200
"""The most transitions that are drawn; more are a table alone."""
MERMAID_TYPE: Final = "text/vnd.mermaid"
SVG_TYPE: Final = "image/svg+xml"


def html(title: str, transitions: Collection[Transition], marks: Marks = NONE, text: str = "") -> str:
    """Return a drawing, where the system is small enough, and a table that unfolds.

    Args:
        title: The title of the table.
        transitions: The system's transitions.
        marks: The transitions that are marked; what is missing is shown as well.
        text: What stands above, as plain text; its first line is emphasised.
    """
    whole = {*transitions, *marks}
    first, *others = map(escape, text.splitlines() or [""])
    above = f"<p>{'<br>'.join([f'<b>{first}</b>', *others])}</p>" if text else ""
    drawn = picture(title, whole, marks) if len(whole) <= MOST_DRAWN else ""
    return f"{above}{drawn}{_table(title, whole, marks, folded=bool(drawn))}"


def bundle(
    plain: str, title: str, transitions: Collection[Transition], marks: Marks = NONE, text: str = ""
) -> dict[str, str]:
    """Return MIME type → content: text, HTML and, for a small system, SVG and the Mermaid diagram."""
    found = {"text/plain": plain, "text/html": html(title, transitions, marks, text)}
    whole = {*transitions, *marks}
    if len(whole) <= MOST_DRAWN:
        found[SVG_TYPE] = picture(title, whole, marks)
        found[MERMAID_TYPE] = mermaid_text.write(transitions, marks)
    return found


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, in the plural unless the number is 1."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _table(title: str, transitions: Collection[Transition], marks: Marks, *, folded: bool) -> str:
    listed = in_order(transitions)
    rows = "".join(
        f"<tr><td>{_cell(t.source)}</td><td>{_cell(None if t.source is None else t.action)}</td>"
        f"<td>{_cell(t.target)}</td>{f'<td>{_word(t, marks)}</td>' if marks else ''}</tr>"
        for t in listed[:MOST_ROWS]
    )
    more = len(listed) - MOST_ROWS
    rest = f'<tr><td colspan="3">… and {more} more</td></tr>' if more > 0 else ""
    heads = ("source", "action", "target", *(("what it is",) if marks else ()))
    head = f"<thead><tr>{''.join(f'<th>{name}</th>' for name in heads)}</tr></thead>"
    fold = "" if folded else " open"
    return (
        f"<details{fold}><summary>{escape(title)}</summary><table>{head}<tbody>{rows}{rest}</tbody></table></details>"
    )


def _word(transition: Transition, marks: Marks) -> str:
    return WORDS[marks[transition]] if transition in marks else ""


def _cell(name: str | None) -> str:
    return "<i>start</i>" if name is None else escape(one_line(name))

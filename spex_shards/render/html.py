"""The report: one HTML file that contains everything and fetches nothing.

Its frame (`page`) has styles, script and a content security policy. Every text from a model is escaped. The steps are
JSON in which ``<`` is escaped, so that no tag can end the script element.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Final

from ..domain.difference import one_line
from .drawing import Shown, drawn
from .page import framed
from .view import View, headline

_SIDES: Final = {"spec": "Specification", "impl": "Model"}
_KINDS: Final = {"shown": "seen", "missing": "not seen", "extra": "deviating", "plain": ""}
_ARROWS: Final = "".join(
    f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="{size}" markerHeight="{size}" '
    f'orient="auto-start-reverse" markerUnits="userSpaceOnUse">'
    f'<path d="M0 0L10 5L0 10z" style="fill:var({colour})"/></marker>'
    for name, colour, size in (("arrow", "--line", 11), ("arrow-bad", "--bad", 15))
)
_DEFS: Final = f'<svg class="hidden" aria-hidden="true" focusable="false"><defs>{_ARROWS}</defs></svg>'
_SEARCH: Final = """<div><label for="search">Search</label>
<input id="search" type="search" autocomplete="off" spellcheck="false">
<span id="found" role="status"></span></div>"""
_KEYS: Final = """<kbd>/</kbd> search, <kbd>Enter</kbd> next hit · <kbd>n</kbd> <kbd>p</kbd> next and previous step ·
<kbd>t</kbd> light or dark · in a drawing: arrows, <kbd>+</kbd> <kbd>-</kbd> <kbd>0</kbd>, wheel, drag;
a click on a state marks all that are equivalent to it"""


def report(views: Sequence[View], title: str) -> str:
    """Return the report as HTML.

    Args:
        views: The views of the models; at least one.
        title: The page's title.
    """
    shown = "\n".join(_view(view, hidden=number > 0) for number, view in enumerate(views))
    return framed(
        title,
        controls=f"{_choice(views)}\n{_SEARCH}",
        body=f'{_DEFS}\n<p id="said" class="hidden" aria-live="polite"></p>\n{shown}',
        footer=_KEYS,
        styles=("report.css",),
        script="report.js",
    )


def _choice(views: Sequence[View]) -> str:
    if len(views) == 1:
        return ""
    options = "".join(
        f'<option value="{number}">{escape(view.model.specification)}</option>' for number, view in enumerate(views)
    )
    return f'<div><label for="model">Model</label> <select id="model" autocomplete="off">{options}</select></div>'


def _view(view: View, *, hidden: bool) -> str:
    name = view.model.specification
    verdict = "" if view.result is None else view.result.verdict.value
    coverage = "" if view.result is None else f"<small>{escape(str(view.coverage))}</small>"
    steps = [{key: step[key] for key in ("text", "light", "states")} for step in view.steps]
    data = json.dumps(steps).replace("<", "\\u003c")
    sides = "\n".join(_side(view, side) for side in _SIDES if side in view.sides)
    return f"""<section class="view"{" hidden" if hidden else ""} aria-label="{escape(name)}">
<h2>{escape(name)}</h2>
<p class="verdict {verdict}">{escape(headline(view))}{coverage}</p>
{_steps(view)}
{_legend(view)}
<div class="sides">
{sides}
</div>
{_deviations(view)}
{_tables(view)}
<script class="data" type="application/json">{data}</script>
</section>"""


def _side(view: View, side: str) -> str:
    shown = view.sides[side]
    states = {state for one in shown for state in (one.transition.source, one.transition.target) if state is not None}
    size = f"{len(states)} states, {sum(one.transition.source is not None for one in shown)} transitions"
    name = escape(view.model.specification)
    label = f"{_SIDES[side]} of {view.model.specification}: {size}; the table below has them all"
    drawing = drawn(label, shown, view.classes[side], view.hues)
    return f"""<figure class="side" data-side="{side}">
<div class="bar"><h3>{_SIDES[side]}</h3>
<button class="out" type="button" aria-label="Zoom out: {_SIDES[side]}">&minus;</button>
<button class="in" type="button" aria-label="Zoom in: {_SIDES[side]}">+</button>
<button class="fit" type="button" aria-label="Show all: {_SIDES[side]}">all</button></div>
<div class="canvas" tabindex="0" role="group" aria-label="Drawing: {_SIDES[side]} of {name}">
{drawing}
</div></figure>"""


def _legend(view: View) -> str:
    def line(kind: str, text: str) -> str:
        path = '<path d="M1 7H30"/>'
        return f'<li><svg viewBox="0 0 36 14" aria-hidden="true"><g class="edge {kind}">{path}</g></svg>{text}</li>'

    items = ["<li>≡ and colour: equivalent states, on both sides</li>"]
    if view.result is not None:
        items += [line("missing", "specified, not seen"), line("extra", "deviating: seen, not specified")]
    return f'<ul class="legend">{"".join(items)}</ul>'


def _steps(view: View) -> str:
    if not view.steps:
        return ""
    items = "".join(
        f'<li><button class="step" type="button">{_broken(step["text"])}</button></li>' for step in view.steps
    )
    return f"""<div class="steps"><h3>Why: step by step</h3>
<button class="turn" type="button">Previous step</button> <button class="turn" type="button">Next step</button>
<ol>{items}</ol>{_formula(view)}</div>"""


def _broken(text: str) -> str:
    return "<br>".join(map(escape, text.splitlines()))


def _formula(view: View) -> str:
    """Return the formula, folded away because only experts need it."""
    explanation = None if view.result is None else view.result.explanation
    if explanation is None or explanation.formula is None:
        return ""
    side = {"impl": "the model", "spec": "the specification"}[explanation.side]
    return (
        "<details><summary>The shortest experiment that tells the two apart, as a formula</summary>"
        f"<p>Holds in {side} only: <code>{escape(str(explanation.formula))}</code></p></details>"
    )


def _deviations(view: View) -> str:
    if view.deviations is None:
        return ""
    if not view.deviations:
        return "<h3>Deviations of instances</h3><p>No instance in the data directory deviates.</p>"
    rows = []
    for one in view.deviations:
        transition = one.transition
        times = [t.strftime("%Y-%m-%d %H:%M:%S UTC") if t is not None else "" for t in (one.first_seen, one.last_seen)]
        more = one.made_by - len(one.instances)
        named = ", ".join(one.instances) + (f" and {more} more" if more > 0 else "")
        cells = [
            "start" if transition.source is None else one_line(transition.source), one_line(transition.action),
            one_line(transition.target), one.verdict or "not judged", "yes" if one.accepted else "no",
            str(one.count), *times, named,
        ]  # fmt: skip
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    heads = ("Source", "Action", "Target", "Verdict", "Accepted", "Count", "First seen", "Last seen", "Instances")
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    return f"""<div class="tables" tabindex="0" role="group" aria-label="Table of deviations"><table class="deviations">
<caption>Deviations of instances</caption><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>"""


def _tables(view: View) -> str:
    tables = "".join(_table(_SIDES[side], view.sides[side]) for side in _SIDES if side in view.sides)
    return f"<details><summary>All transitions as tables</summary>{tables}</details>"


def _table(side: str, shown: Sequence[Shown]) -> str:
    rows = "".join(
        f'<tr class="{one.kind}"><td>{escape(_name(one.transition.source))}</td>'
        f"<td>{escape(one_line(one.transition.action) if one.transition.source is not None else '')}</td>"
        f"<td>{escape(_name(one.transition.target))}</td><td>{_KINDS[one.kind]}</td></tr>"
        for one in shown
    )
    head = "".join(f'<th scope="col">{text}</th>' for text in ("Source", "Action", "Target", "What it is"))
    return f"<table><caption>{side}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _name(state: str | None) -> str:
    return "start" if state is None else one_line(state)

"""The report: one HTML file that contains everything and fetches nothing.

Its frame (`page`) has styles, script and a content security policy. Every text from a model is escaped. The steps are
JSON in which ``<`` is escaped, so that no tag can end the script element.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Final

from ..checking.conformance import Result
from ..checking.relations import RelationResult
from ..domain.difference import one_line
from ..drawing.share import shares
from ..drawing.svg import Shown, Style, drawn, is_followed
from .page import framed
from .view import View, headline

_SIDES: Final = {"spec": "Specification", "impl": "Model"}
_KINDS: Final = {"shown": "seen", "missing": "not seen", "extra": "deviating", "plain": ""}
_SEARCH: Final = """<div><label for="search">Search</label>
<input id="search" type="search" autocomplete="off" spellcheck="false">
<span id="found" role="status"></span></div>"""
_KEYS: Final = """<kbd>/</kbd> search, <kbd>Enter</kbd> next hit · <kbd>n</kbd> <kbd>p</kbd> next and previous step ·
<kbd>t</kbd> light or dark · in a drawing: arrows, <kbd>+</kbd> <kbd>-</kbd> <kbd>0</kbd>, wheel, drag;
a click on a state, or <kbd>s</kbd> and <kbd>Shift</kbd> <kbd>s</kbd>, marks its own steps and the states that are
equivalent to it, <kbd>Esc</kbd> none"""


def report(views: Sequence[View], title: str) -> str:
    """Return the report as HTML.

    Args:
        views: The views of the models; at least one.
        title: The page's title.
    """
    shown = "\n".join(section(view, hidden=number > 0, alone=len(views) == 1) for number, view in enumerate(views))
    return framed(
        title,
        controls=f"{_choice(views)}\n{_SEARCH}",
        body=f'<p id="said" class="hidden" aria-live="polite"></p>\n{shown}',
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


def section(view: View, *, hidden: bool = False, alone: bool = True) -> str:
    """Return the part of the report about one model, for `report.js`.

    Args:
        view: The view of the model.
        hidden: Whether it is not shown at first.
        alone: Whether it is the only one of the page; then the page says which model it is.
    """
    name = view.model.specification
    verdict = "" if view.result is None else view.result.verdict.value
    coverage = f"<small>{escape(str(view.coverage))}</small>" if isinstance(view.result, Result) else ""
    steps = [{key: step[key] for key in ("text", "light", "states")} for step in view.steps]
    data = json.dumps(steps).replace("<", "\\u003c")
    sides = "\n".join(_side(view, side) for side in _SIDES if side in view.sides)
    return f"""<section class="view"{" hidden" if hidden else ""} aria-label="{escape(name)}">
<div class="opening">
<h2{' class="hidden"' if alone else ""}>{escape(name)}</h2>
<p class="verdict {verdict}">{escape(headline(view))}{coverage}</p>
{_legend(view)}
<div class="stage{" explained" if view.steps else ""}">
{_steps(view)}
<div class="sides">
{sides}
</div>
</div>
</div>
{_properties(view)}
{_deviations(view)}
{_tables(view)}
<script class="data" type="application/json">{data}</script>
</section>"""


def _side(view: View, side: str) -> str:
    shown = view.sides[side]
    size = _size(shown)
    name = escape(view.model.specification)
    style = Style(
        view.classes[side], view.tints, max((one.count or 0 for one in shown), default=0),
        named=side == "spec" or not is_followed(one.transition for one in shown),
    )  # fmt: skip
    listed = shares(shown)
    drawings = "\n".join(
        drawn(
            f"{_SIDES[side]} of {view.model.specification}: {_size(kept)}; the table below has them all", kept, style,
            f' data-share="{percent}" data-kept="{_steps_of(kept)} of {_steps_of(shown)} steps"'
            + " hidden" * (percent < 100),
        )
        for percent, kept in listed
    )  # fmt: skip
    lacks = sum(one.kind == "missing" for one in shown)
    note = f"{lacks} of {_steps_of(shown)} not seen (dashed)" if lacks else size if view.result is None else ""
    if lacks and isinstance(view.result, RelationResult):
        note = f"{lacks} not seen where the model stops (dashed)"
    return f"""<figure class="side" data-side="{side}">
<div class="bar"><h3>{_SIDES[side]}</h3><small>{note}</small>{_slider(listed)}
<button class="out" type="button" aria-label="Zoom out: {_SIDES[side]}">&minus;</button>
<button class="in" type="button" aria-label="Zoom in: {_SIDES[side]}">+</button>
<button class="fit" type="button" aria-label="Show all: {_SIDES[side]}">all</button></div>
<div class="canvas" tabindex="0" role="group" aria-label="Drawing: {_SIDES[side]} of {name}">
{drawings}
</div></figure>"""


def _size(shown: Sequence[Shown]) -> str:
    states = {state for one in shown for state in (one.transition.source, one.transition.target) if state is not None}
    return f"{len(states)} states, {_steps_of(shown)} transitions"


def _steps_of(shown: Sequence[Shown]) -> int:
    return sum(one.transition.source is not None for one in shown)


def _slider(listed: Sequence[tuple[int, Sequence[Shown]]]) -> str:
    if len(listed) == 1:
        return ""
    last = len(listed) - 1
    return (
        f'<label class="most">Most frequent steps <input class="share" type="range" min="0" max="{last}" step="1" '
        f'value="{last}" autocomplete="off"></label><output class="kept"></output>'
    )


def _legend(view: View) -> str:
    def line(kind: str, text: str) -> str:
        path = '<path d="M1 7H30"/><path class="head" d="M35 7L27 3V11Z"/>'
        return f'<li><svg viewBox="0 0 36 14" aria-hidden="true"><g class="edge {kind}">{path}</g></svg>{text}</li>'

    items = []
    if view.result is not None:
        kinds = [one.kind for shown in view.sides.values() for one in shown]
        items += [line("extra", f"deviating: {kinds.count('extra')}")] if "extra" in kinds else []
        items += [line("missing", f"specified, not seen: {kinds.count('missing')}")] if "missing" in kinds else []
    items += ["<li>≡, number and tint: equivalent states</li>"] if view.tints else []
    if view.frequencies is not None:
        of = f"of {view.frequencies.instances:,}".replace(",", "\u202f")
        items.append(f"<li>width and number of a line: instances that took the step, {of}</li>")
    if is_followed(one.transition for one in view.sides["impl"]):
        items.append("<li>in the model each step is called as the state that it leads to</li>")
    return f'<ul class="legend">{"".join(items)}</ul>' if items else ""


def _steps(view: View) -> str:
    if not view.steps:
        return ""
    items = "".join(
        f'<li><button class="step" type="button">{_broken(step["text"])}</button></li>' for step in view.steps
    )
    return f"""<div class="steps"><h3>The cause, step by step</h3>
<div class="turns"><button class="turn" type="button">Previous step</button>
<button class="turn" type="button">Next step</button></div>
<ol tabindex="0" aria-label="Steps of the explanation">{items}</ol>{_formula(view)}</div>"""


def _broken(text: str) -> str:
    first, *others = map(escape, text.splitlines() or [""])
    return first if not others else "<br>".join([f"<strong>{first}</strong>", *others])


def _formula(view: View) -> str:
    """Return the formula, folded away because only experts need it."""
    if view.result is None:
        return ""
    if isinstance(view.result, Result):
        explanation = view.result.explanation
        formula = None if explanation is None else explanation.formula
        side = "the specification" if explanation is not None and explanation.side == "spec" else "the model"
        what = "The shortest experiment that tells the two apart"
    else:
        why = view.result.counterexample
        formula, side = None if why is None else why.formula, "the model"
        what = "What the model can do and the specification cannot"
    if formula is None:
        return ""
    return (
        f"<details><summary>{what}, as a formula</summary>"
        f"<p>Holds in {side} only: <code>{escape(str(formula))}</code></p></details>"
    )


def _properties(view: View) -> str:
    """Return the properties of runs that were decided for the model."""
    decided = view.result.properties if isinstance(view.result, Result) else ()
    if not decided:
        return ""
    rows = "".join(
        f"<tr><td>{escape(str(one.property))}</td><td>{escape(one.verdict.value)}</td>"
        f"<td>{'' if one.holds else escape(one.text.removeprefix(f'{one.property}: '))}</td></tr>"
        for one in decided
    )
    holding = sum(one.holds for one in decided)
    return f"""<details{"" if holding == len(decided) else " open"}>
<summary>Properties of runs: {holding} of {len(decided)} hold</summary>
<div class="tables" tabindex="0" role="group" aria-label="Table of properties"><table>
<caption>Properties of runs</caption><thead><tr><th scope="col">Property</th><th scope="col">Verdict</th>
<th scope="col">Why</th></tr></thead><tbody>{rows}</tbody></table></div></details>"""


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
    counted = any(one.count is not None for one in shown)
    rows = "".join(
        f'<tr class="{one.kind}"><td>{escape(_name(one.transition.source))}</td>'
        f"<td>{escape(one_line(one.transition.action) if one.transition.source is not None else '')}</td>"
        f"<td>{escape(_name(one.transition.target))}</td>{f'<td>{one.count}</td>' if counted else ''}"
        f"<td>{_KINDS[one.kind]}</td></tr>"
        for one in shown
    )
    heads = ("Source", "Action", "Target", *(("Instances",) if counted else ()), "What it is")
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    return f"<table><caption>{side}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _name(state: str | None) -> str:
    return "start" if state is None else one_line(state)

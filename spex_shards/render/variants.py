"""The page of an event log: where its cases part, and its variants by frequency, each as a line of steps.

The line of a variant is its alignment: steps that are missing and steps that are too much stand where they belong. The
page can be read without its script, which only hides what is rare or allowed.
"""

from __future__ import annotations

from html import escape
from typing import Final

from ..checking.alignment import MoveKind
from ..checking.runs import Parting
from ..domain.difference import one_line
from ..event_log import Conformance, PartingGroup, Variant
from .page import framed

MOST_VARIANTS: Final = 500
"""So many variants are on the page."""
MOST_PARTINGS: Final = 50
"""So many places where cases part are on the page."""
_MOST_OPEN: Final = 5
"""So many of them stand above the variants; the others are folded away."""
_MOST_ALLOWED: Final = 12
_MOST_EDITS: Final = 4
_MOST_NAMED: Final = 2

_CONTROLS: Final = """<div><label for="share">Variants of the most frequent
<output id="percent" for="share">100</output> % of cases</label>
<input id="share" type="range" min="0" max="100" value="100" autocomplete="off"></div>
<div><input id="parted" type="checkbox" autocomplete="off"> <label for="parted">Only those not allowed</label></div>"""
_LEGEND: Final = """<ul class="legend"><li><span class="step">step</span> as specified</li>
<li><span class="step missing">step</span> missing: specified, not observed</li>
<li><span class="step surplus">step</span> too much: observed, not specified</li>
<li><span class="step parted">step</span> the first step that is not allowed</li></ul>"""


def page(found: Conformance, title: str) -> str:
    """Return the page as HTML.

    Args:
        found: What was found in the log; at least one case.
        title: The page's title.
    """
    shown = found.variants[:MOST_VARIANTS]
    body = "\n".join([_summary(found), _partings(found, shown), _variants(found, shown)])
    footer = "<kbd>t</kbd> light or dark"
    return framed(
        title, controls=_CONTROLS, body=body, footer=footer, styles=("report.css", "variants.css"), script="variants.js"
    )


def _summary(found: Conformance) -> str:
    verdict = "equivalent" if found.conforms else "violation"
    fitting = sum(variant.allowed for variant in found.variants)
    complete = "" if found.complete else ", which need not be complete"
    run = f"{'a complete' if found.complete else 'a'} run of the specification{complete}"
    return f"""<p class="verdict {verdict}">{found.allowed:,} of {_counted(found.cases, "case")}
({escape(percent(found.allowed, found.cases))}), in {fitting:,} of {_counted(len(found.variants), "variant")},
allowed by {_text(found.specification)}
<small>A case is allowed if its steps are {run}.</small></p>
<dl class="figures">
<div><dt>Fitness, mean of cases</dt><dd>{figure(found.trace_fitness)}</dd></div>
<div><dt>Fitness, whole log</dt><dd>{figure(found.log_fitness)}</dd></div>
<div><dt>Precision</dt><dd>{figure(found.precision.ratio)}</dd></div>
</dl>"""


def _partings(found: Conformance, shown: tuple[Variant, ...]) -> str:
    if not found.partings:
        return ""
    places = {name: number for number, variant in enumerate(shown, 1) for name in variant.cases[:1]}
    rows = [_parting(group, found, places) for group in found.partings[:MOST_PARTINGS]]
    first, others = "".join(rows[:_MOST_OPEN]), "".join(rows[_MOST_OPEN:])
    more = len(found.partings) - MOST_PARTINGS
    rest = f"<p>{_counted(more, 'more place')}, with fewer cases each, left out.</p>" if more > 0 else ""
    folded = f"<details><summary>{_counted(len(rows) - _MOST_OPEN, 'more place')}</summary>{{}}{rest}</details>"
    names = ("Cases", "Step that is not allowed", "In the specified state", "Specified there", "For example")
    head = "".join(f'<th scope="col">{text}</th>' for text in names)

    def table(label: str, body: str) -> str:
        return f"""<div class="tables" tabindex="0" role="group" aria-label="{label}"><table class="partings">
<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"""

    below = folded.format(table("More places", others)) if others else ""
    return f"<h2>Where cases part from the specification</h2>\n{table('Places', first)}{below}"


def _parting(group: PartingGroup, found: Conformance, places: dict[str, int]) -> str:
    action = "ends too early" if group.action is None else f'<span class="step parted">{_text(group.action)}</span>'
    place = f"after step {group.at}" if group.action is None else f"step {group.at + 1}"
    example = f"case {_text(group.example)}, {place}"
    if group.example in places:
        example = f'<a href="#v{places[group.example]}">{example}</a>'
    states = " or ".join(_text(state) for state in group.possible[:_MOST_ALLOWED])
    return (
        f"<tr><td>{_count(group.cases, found)}</td><td>{action}</td><td>{states}</td>"
        f"<td>{_allowed(group) or 'nothing more'}</td><td>{example}</td></tr>"
    )


def _allowed(group: PartingGroup) -> str:
    actions = list(dict.fromkeys(step.action for step in group.allowed))
    more = f" and {len(actions) - _MOST_ALLOWED} more" if len(actions) > _MOST_ALLOWED else ""
    return ", ".join(map(_text, actions[:_MOST_ALLOWED])) + more


def _variants(found: Conformance, shown: tuple[Variant, ...]) -> str:
    items, before = [], 0
    for number, variant in enumerate(shown, 1):
        items.append(_variant(number, variant, found, 100 * before / found.cases))
        before += len(variant.cases)
    left = len(found.variants) - len(shown)
    rest = f"<p>{_counted(left, 'more variant')} with {_counted(found.cases - before, 'case')} left out.</p>"
    return f"""<h2>Variants by frequency</h2>
{_LEGEND}
<p id="count" role="status"></p>
<ol class="variants">
{"".join(items)}</ol>{rest if left else ""}"""


def _variant(number: int, variant: Variant, found: Conformance, before: float) -> str:
    kind = "good" if variant.allowed else "bad"
    return f"""<li id="v{number}" class="variant {kind}" data-before="{before:.4f}">
<div class="size">{_count(len(variant.cases), found)}<small>{_cases(variant)}</small></div>
<div class="what">{_line(variant)}{_why(variant)}</div></li>
"""


def _count(cases: int, found: Conformance) -> str:
    share = 100 * cases / found.cases
    return (
        f'<span class="cases"><b>{cases:,}</b> {escape(percent(cases, found.cases))}</span>'
        f'<span class="meter" aria-hidden="true"><i style="width:{max(share, 0.5):.2f}%"></i></span>'
    )


def percent(part: int, whole: int) -> str:
    """Return a share as text, rounded down, so that only what is whole is called so, and only nothing 0 %."""
    tenths = 1000 * part // whole
    return f"{tenths / 10:g} %" if tenths or not part else "< 0.1 %"


def figure(value: float) -> str:
    """Return a figure from 0 to 1 with four digits, rounded down, so that only what is whole is called 1."""
    return "1" if value == 1 else f"{int(value * 10_000) / 10_000:.4f}"


def _cases(variant: Variant) -> str:
    more = len(variant.cases) - _MOST_NAMED
    named = ", ".join(_text(case) for case in variant.cases[:_MOST_NAMED])
    return f"{'case' if len(variant.cases) == 1 else 'cases'} {named}" + (f" and {more:,} more" if more > 0 else "")


def _line(variant: Variant) -> str:
    items, seen, parting = [], 0, variant.parting
    for move in variant.alignment.moves:
        if move.kind is MoveKind.SILENT:
            continue
        classes, said = ["step"], ""
        if move.kind is not MoveKind.SAME:
            classes.append(move.kind.value)
            said = "missing: " if move.kind is MoveKind.MISSING else "too much: "
        if move.kind is not MoveKind.MISSING:
            if parting is not None and parting.at == seen:
                classes.append("parted")
                said = f"not allowed, {said}" if said else "not allowed: "
            seen += 1
        hidden = f'<span class="hidden">{said}</span>' if said else ""
        items.append(f'<li class="{" ".join(classes)}">{hidden}{_text(move.action)}</li>')
    if not items:
        return '<p class="line">no step</p>'
    return f'<ol class="line">{"".join(items)}</ol>'


def _why(variant: Variant) -> str:
    parting = variant.parting
    if parting is None:
        return ""
    states = " or ".join(_text(state) for state in parting.possible[:_MOST_ALLOWED])
    if isinstance(parting, Parting):
        text = f"Step {parting.at + 1} (<b>{_text(parting.action)}</b>) is not allowed in {states}."
    else:
        text = f"It ends too early, in {states}."
    moves = variant.alignment.moves
    edits = [f"add {_text(move.action)}" for move in moves if move.kind is MoveKind.MISSING]
    edits += [f"drop {_text(move.action)}" for move in moves if move.kind is MoveKind.SURPLUS]
    more = f" and {len(edits) - _MOST_EDITS} more" if len(edits) > _MOST_EDITS else ""
    edited = f"{_counted(len(edits), 'edit')}: {', '.join(edits[:_MOST_EDITS])}{more}"
    return f'<p class="why">{text} Nearest run: {edited}. Fitness {variant.fitness:.2f}.</p>'


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _text(name: str) -> str:
    return escape(one_line(name))

"""One side of the report as SVG: states are boxes, and all transitions between two states share one line."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from ..domain.difference import in_order, one_line
from ..domain.transition import INTERNAL, Transition
from .layout import Point, Size, place

TAU: Final = "τ"
LONGEST_NAME: Final = 28
"""The longest name in a drawing; a longer one is cut there, and complete in the tooltip and the table."""
_CHARACTER: Final = 7.4
_LINE: Final = 16.0
_HEIGHT: Final = 42.0
_MARGIN: Final = 30.0
_START: Final = "\0start"
_BUFFER: Final = 34.0

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Shown:
    """A transition with its number in the report and its kind: "shown", "missing", "extra" or "plain"."""

    number: int
    transition: Transition
    kind: str


def drawn(title: str, shown: Sequence[Shown], classes: dict[str, int], hues: dict[int, int]) -> str:
    """Return the SVG of one system.

    Args:
        title: The text that a screen reader reads out.
        shown: The system's transitions, including initialisations.
        classes: State → equivalence class, for the states that have one.
        hues: Class → colour, for the classes that have one.
    """
    groups: dict[Pair, list[Shown]] = {}
    for one in shown:
        source = _START if one.transition.source is None else one.transition.source
        groups.setdefault((source, one.transition.target), []).append(one)
    order = _in_reach([one.transition for one in shown])
    loops = {pair[0]: _label_size(group) for pair, group in groups.items() if pair[0] == pair[1]}
    sizes: dict[Hashable, Size] = {state: _size(state, loops) for state in order}
    if any(pair[0] == _START for pair in groups):
        sizes = {_START: (14.0, 14.0), **sizes}
    labels: dict[tuple[Hashable, Hashable], Size] = {pair: _label_size(group) for pair, group in groups.items()}
    placed = place(sizes, labels)
    parts = [
        _edge(group, placed.edges[pair], placed.labels[pair]) for pair, group in groups.items() if pair[0] != pair[1]
    ]
    parts += [_loop(groups[state, state], placed.nodes[state], _box(state)) for state in loops]
    parts += [_node(state, placed.nodes[state], classes.get(state), hues) for state in order]
    if _START in placed.nodes:
        x, y = placed.nodes[_START]
        parts.append(f'<circle class="start" cx="{x:.1f}" cy="{y:.1f}" r="7"/>')
    width, height = placed.size[0] + 2 * _MARGIN, placed.size[1] + 2 * _MARGIN
    box = f"{-_MARGIN:.1f} {-_MARGIN:.1f} {width:.1f} {height:.1f}"
    body = "\n".join(parts)
    return f'<svg role="img" aria-label="{escape(title)}" viewBox="{box}" data-box="{box}">\n{body}\n</svg>'


def short(name: str) -> str:
    """Return a name, cut to the length that fits into a drawing."""
    text = TAU if name == INTERNAL else one_line(name)
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"


def _in_reach(transitions: Iterable[Transition]) -> list[str]:
    """Return all states, breadth first from the initial ones, with unreachable states last."""
    listed = in_order(transitions)
    outgoing: dict[str, list[str]] = {}
    for source, _, target in listed:
        if source is not None:
            outgoing.setdefault(source, []).append(target)
    order = dict.fromkeys(t.target for t in listed if t.source is None)
    queue = list(order)
    for state in queue:  # the list grows while the loop runs
        fresh = [target for target in dict.fromkeys(outgoing.get(state, ())) if target not in order]
        order.update(dict.fromkeys(fresh))
        queue += fresh
    return [*order, *dict.fromkeys(s for t in listed for s in (t.source, t.target) if s is not None and s not in order)]


def _box(state: str) -> Size:
    return max(54.0, len(short(state)) * _CHARACTER + 24), _HEIGHT


def _size(state: str, loops: dict[str, Size]) -> Size:
    width, height = _box(state)
    if state not in loops:
        return width, height
    # A loop and its label stand at the right. The same room is added at the left, so that the node stays centred.
    beside = loops[state]
    return width + 2 * (_BUFFER + beside[0]), max(height, beside[1])


def _label_size(group: Sequence[Shown]) -> Size:
    texts = [short(one.transition.action) for one in group if one.transition.source is not None]
    return max((len(text) for text in texts), default=0) * _CHARACTER + 8, len(texts) * _LINE


def _node(state: str, at: Point, number: int | None, hues: dict[int, int]) -> str:
    width, height = _box(state)
    x, y = at[0] - width / 2, at[1] - height / 2
    known = number is not None and number in hues
    style = f' style="--hue:{hues[number]}"' if known and number is not None else ""
    klass = f' data-class="{number}"' if number is not None else ""
    badge = f'<text class="badge" x="{at[0]:.1f}" y="{y + height - 7:.1f}">≡ {number}</text>' if known else ""
    text_y = at[1] - 2 if known else at[1] + 5
    label = f'<text x="{at[0]:.1f}" y="{text_y:.1f}">{escape(short(state))}</text>'
    return (
        f'<g class="state{" same" if known else ""}" data-state="{escape(state)}"{klass}{style}>'
        f"<title>{escape(one_line(state))}</title>"
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="9"/>{label}{badge}</g>'
    )


def _edge(group: Sequence[Shown], points: Sequence[Point], label: Point) -> str:
    return _group(group, _curve(points), label, "middle")


def _loop(group: Sequence[Shown], at: Point, box: Size) -> str:
    x, y = at[0] + box[0] / 2, at[1]
    path = f"M{x:.1f} {y - 9:.1f}C{x + 36:.1f} {y - 20:.1f} {x + 36:.1f} {y + 20:.1f} {x:.1f} {y + 9:.1f}"
    return _group(group, path, (x + _BUFFER, y), "start")


def _group(group: Sequence[Shown], path: str, label: Point, anchor: str) -> str:
    kinds = {one.kind for one in group}
    kind = next((k for k in ("extra", "shown", "plain", "missing") if k in kinds), "plain")
    numbers = " ".join(str(one.number) for one in group)
    lines = [one for one in group if one.transition.source is not None]
    top = label[1] - len(lines) * _LINE / 2 + 12
    texts = "".join(
        f'<text class="action {one.kind}" data-number="{one.number}" x="{label[0]:.1f}" y="{top + n * _LINE:.1f}" '
        f'text-anchor="{anchor}"><title>{escape(one_line(one.transition.action))}</title>'
        f"{escape(short(one.transition.action))}</text>"
        for n, one in enumerate(lines)
    )
    return f'<g class="edge {kind}" data-numbers="{numbers}"><path d="{path}"/>{texts}</g>'


def _curve(points: Sequence[Point]) -> str:
    """Return a smooth path through all points, vertical at each point."""
    (x, y), *rest = points
    path = [f"M{x:.1f} {y:.1f}"]
    for next_x, next_y in rest:
        middle = (y + next_y) / 2
        path.append(f"C{x:.1f} {middle:.1f} {next_x:.1f} {middle:.1f} {next_x:.1f} {next_y:.1f}")
        x, y = next_x, next_y
    return "".join(path)

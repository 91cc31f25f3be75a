"""A system as SVG: states are boxes, and all transitions from one state to another share one line."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import sqrt
from typing import Final

from ..domain.difference import in_order, one_line
from ..domain.transition import INTERNAL, Transition
from .layout import LOOP, Pair, Point, Size, place

TAU: Final = "τ"
LONGEST_NAME: Final = 32
"""The longest name in a drawing; a longer one is cut there, and complete in the tooltip and the table."""
THINNEST: Final = 1.5
THICKEST: Final = 7.0
BLAMED: Final = 3.0
"""The least width of a line that deviates."""
_CHARACTER: Final = 7.4
_LINE: Final = 16.0
_HEIGHT: Final = 34.0
_WITH_BADGE: Final = 42.0
_MARGIN: Final = 16.0
_START: Final = "\0start"
_DOT: Final = 14.0
_STRAIGHT: Final = 0.5
"""A line that goes aside by less goes straight on."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A transition in a drawing.

    Attributes:
        number: Its number in the report.
        transition: It.
        kind: "shown", "missing", "extra" or "plain".
        count: How many instances took it; None: unknown.
    """

    number: int
    transition: Transition
    kind: str
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Style:
    """How a drawing shows what is the same for all of it.

    Attributes:
        classes: State → equivalence class, for the states that have one.
        tints: Class → tint, from 0, for the classes that have one.
        most: The count of the thickest line; 0: lines are equally thick.
        named: Whether actions are written; not where each is called as the state that it leads to, as in a log.
    """

    classes: Mapping[str, int]
    tints: Mapping[int, int]
    most: int = 0
    named: bool = True


PLAIN: Final = Style({}, {})


def is_followed(transitions: Iterable[Transition]) -> bool:
    """Return whether each action is called as the state that it leads to: the names say the same twice."""
    steps = [t for t in transitions if t.source is not None]
    return bool(steps) and all(t.action == t.target for t in steps)


def drawn(title: str, shown: Sequence[Shown], style: Style = PLAIN, attributes: str = "") -> str:
    """Return the SVG of one system.

    Args:
        title: The text that a screen reader reads out.
        shown: The system's transitions, including initialisations.
        style: What is the same for the whole drawing.
        attributes: More attributes of the element, escaped.
    """
    groups: dict[Pair, list[Shown]] = {}
    for one in shown:
        source = _START if one.transition.source is None else one.transition.source
        groups.setdefault((source, one.transition.target), []).append(one)
    order = _in_reach([one.transition for one in shown])
    sizes: dict[Hashable, Size] = {state: _box(state, style) for state in order}
    if any(pair[0] == _START for pair in groups):
        sizes = {_START: (_DOT, _DOT), **sizes}
    labels: dict[Pair, Size] = {pair: _label_size(group, style) for pair, group in groups.items()}
    weights = {pair: float(_count(group) or 0) for pair, group in groups.items()} if style.most else None
    stub = max(_head(_width(group, style)) for group in groups.values()) if groups else 0.0
    placed = place(sizes, labels, weights, gap=stub + 8)
    parts = []
    for pair, group in sorted(groups.items(), key=lambda item: _count(item[1]) or 0):
        at = placed.labels[pair]
        if pair[0] == pair[1]:
            path = _loop(placed.nodes[pair[0]], sizes[pair[0]], _width(group, style))
        else:
            path = _curve(placed.edges[pair], _head(_width(group, style)), stub)
        parts.append(_edge(group, path, at, style))
    parts += [_node(state, placed.nodes[state], sizes[state], style) for state in order]
    if _START in placed.nodes:
        x, y = placed.nodes[_START]
        parts.append(f'<circle class="start" cx="{x:.1f}" cy="{y:.1f}" r="{_DOT / 2:.0f}"/>')
    width, height = placed.size[0] + 2 * _MARGIN, placed.size[1] + 2 * _MARGIN
    box = f"{-_MARGIN:.1f} {-_MARGIN:.1f} {width:.1f} {height:.1f}"
    body = "\n".join(parts)
    return f'<svg role="img" aria-label="{escape(title)}" viewBox="{box}" data-box="{box}"{attributes}>\n{body}\n</svg>'


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


def _box(state: str, style: Style) -> Size:
    height = _WITH_BADGE if style.classes.get(state) in style.tints else _HEIGHT
    return max(54.0, len(short(state)) * _CHARACTER + 24), height


def _count(group: Sequence[Shown]) -> int | None:
    counts = [one.count for one in group if one.count is not None]
    return sum(counts) if counts else None


def _text(one: Shown, style: Style) -> tuple[str, str]:
    """Return a transition's label: the action where it is written, and the number."""
    number = "" if one.count is None else f"{one.count:,}".replace(",", "\u202f")
    return short(one.transition.action) if style.named and one.transition.source is not None else "", number


def _lines(group: Sequence[Shown], style: Style) -> list[tuple[Shown, str, str]]:
    return [(one, *text) for one in group if any(text := _text(one, style))]


def _label_size(group: Sequence[Shown], style: Style) -> Size:
    lines = _lines(group, style)
    longest = max((len(f"{action} {number}".strip()) for _, action, number in lines), default=0)
    return (longest * _CHARACTER + 6 if longest else 0.0), len(lines) * _LINE


def _width(group: Sequence[Shown], style: Style) -> float:
    least = BLAMED if any(one.kind == "extra" for one in group) else THINNEST
    if not style.most:
        return least
    return max(least, THINNEST + (THICKEST - THINNEST) * sqrt(min(1.0, (_count(group) or 0) / style.most)))


def _head(width: float) -> float:
    """Return the length of the arrow's head at a line of that width."""
    return 8.0 + 1.6 * width


def _node(state: str, at: Point, size: Size, style: Style) -> str:
    (width, height), number = size, style.classes.get(state)
    x, y = at[0] - width / 2, at[1] - height / 2
    known = number is not None and number in style.tints
    tint = f" tint-{style.tints[number]}" if known and number is not None else ""
    klass = f' data-class="{number}"' if number is not None else ""
    badge = f'<text class="badge" x="{at[0]:.1f}" y="{y + height - 7:.1f}">≡ {number}</text>' if known else ""
    text_y = at[1] - 2 if known else at[1] + 5
    label = f'<text x="{at[0]:.1f}" y="{text_y:.1f}">{escape(short(state))}</text>'
    return (
        f'<g class="state{" same" if known else ""}{tint}" data-state="{escape(state)}"{klass}>'
        f"<title>{escape(one_line(state))}</title>"
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="9"/>{label}{badge}</g>'
    )


def _edge(group: Sequence[Shown], path: tuple[str, str], label: Point, style: Style) -> str:
    kinds = {one.kind for one in group}
    kind = next((k for k in ("extra", "shown", "plain", "missing") if k in kinds), "plain")
    numbers = " ".join(str(one.number) for one in group)
    width = f' stroke-width="{_width(group, style):.1f}"'
    ends = f'data-target="{escape(group[0].transition.target)}"'
    if group[0].transition.source is not None:
        ends = f'data-source="{escape(group[0].transition.source)}" {ends}'
    lines = _lines(group, style)
    top = label[1] - len(lines) * _LINE / 2 + 12
    texts = "".join(
        f'<text class="action {one.kind}" data-number="{one.number}" x="{label[0]:.1f}" y="{top + n * _LINE:.1f}" '
        f'data-action="{escape(one_line(one.transition.action))}">'
        f"<title>{escape(_title(one))}</title>{escape(action)}{_number(action, number)}</text>"
        for n, (one, action, number) in enumerate(lines)
    )
    line, head = path
    return (
        f'<g class="edge {kind}" data-numbers="{numbers}" {ends}><path d="{line}"{width}/>'
        f'<path class="head" d="{head}"/>{texts}</g>'
    )


def _title(one: Shown) -> str:
    source, action, target = one.transition
    step = f"starts in {one_line(target)}" if source is None else f"{one_line(source)} --[{one_line(action)}]-> "
    whole = step if source is None else step + one_line(target)
    return whole if one.count is None else f"{whole}: {one.count} instances"


def _number(action: str, number: str) -> str:
    return f'<tspan class="count">{" " if action else ""}{number}</tspan>' if number else ""


def _loop(at: Point, size: Size, width: float) -> tuple[str, str]:
    x, y, head = at[0] + size[0] / 2, at[1], _head(width)
    out = x + LOOP - 2
    line = f"M{x:.1f} {y - 9:.1f}C{out:.1f} {y - 22:.1f} {out:.1f} {y + 22:.1f} {x + head - 2:.1f} {y + 10:.1f}"
    return line, _arrow((x, y + 7), (-1.0, -0.3), head)


def _curve(points: Sequence[Point], head: float, stub: float) -> tuple[str, str]:
    """Return a smooth path through all points, vertical at each point, and the arrow's head at its end.

    At both ends a piece of the path is straight, equally long for all edges: so edges side by side do not cross.
    """
    if len(points) == 3:
        return _bow(points, head)
    end, before = points[-1], points[-2]
    down = 1.0 if end[1] > before[1] else -1.0
    (x, y), *rest = points
    path = [f"M{x:.1f} {y:.1f}"]
    y += down * stub
    for next_x, next_y in [*rest[:-1], (end[0], end[1] - down * stub)]:
        middle = (y + next_y) / 2
        if abs(x - next_x) >= _STRAIGHT:
            path.append(f"V{y:.1f}C{x:.1f} {middle:.1f} {next_x:.1f} {middle:.1f} {next_x:.1f} {next_y:.1f}")
            x = next_x
        y = next_y
    path.append(f"V{y:.1f}")
    path.append(f"V{end[1] - down * (head - 1):.1f}")
    return "".join(path), _arrow(end, (0.0, down), head)


def _bow(points: Sequence[Point], head: float) -> tuple[str, str]:
    """Return a path between two states of one rank, through a point below both."""
    (x, y), (middle, low), (end, end_y) = points
    reach = (x + middle) / 2
    path = (
        f"M{x:.1f} {y:.1f}C{x:.1f} {low:.1f} {reach:.1f} {low:.1f} {middle:.1f} {low:.1f}"
        f"S{end:.1f} {low:.1f} {end:.1f} {end_y + head - 1:.1f}"
    )
    return path, _arrow((end, end_y), (0.0, -1.0), head)


def _arrow(tip: Point, way: Point, length: float) -> str:
    """Return a triangle whose tip is at a point, and that points in a direction."""
    (x, y), (dx, dy), half = tip, way, length * 0.42
    back = (x - dx * length, y - dy * length)
    one, other = (back[0] - dy * half, back[1] + dx * half), (back[0] + dy * half, back[1] - dx * half)
    return f"M{x:.1f} {y:.1f}L{one[0]:.1f} {one[1]:.1f}L{other[0]:.1f} {other[1]:.1f}Z"

"""A drawing that stands alone: SVG with its own styles, for notebooks and files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from ..domain.difference import in_order
from ..domain.transition import Transition
from .svg import Shown, Style, drawn, is_followed

_UNFIT: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML document may contain."""
_STYLE: Final = """
.spex { font: 13px "DejaVu Sans", system-ui, sans-serif; }
.spex { --ink: #1b1f24; --paper: #fff; --line: #6b7684; --bad: #b3201b; }
@media (prefers-color-scheme: dark) { .spex { --ink: #eef1f5; --paper: #14171b; --line: #93a0b0; --bad: #ff9a94; } }
.spex .paper, .spex .state rect { fill: var(--paper); } .spex .state rect { stroke: var(--line); stroke-width: 1.4; }
.spex text { fill: var(--ink); text-anchor: middle; } .spex .start { fill: var(--ink); }
.spex .edge path { fill: none; stroke: var(--line); } .spex .edge path.head { fill: var(--line); stroke: none; }
.spex text.action { paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; }
.spex .missing path:not(.head) { stroke-dasharray: 6 5; } .spex text.missing { font-style: italic; }
.spex .extra path { stroke: var(--bad); } .spex .extra path.head { fill: var(--bad); }
.spex text.extra { fill: var(--bad); font-weight: bold; }
"""


def picture(title: str, transitions: Iterable[Transition], kinds: Mapping[Transition, str]) -> str:
    """Return an SVG document of a system.

    Args:
        title: What a screen reader reads out.
        transitions: The system's transitions.
        kinds: The transitions that are not plain: "extra" or "missing".
    """
    listed = in_order(set(transitions))
    shown = [Shown(number, t, kinds.get(t, "plain")) for number, t in enumerate(listed)]
    svg = drawn(title, shown, Style({}, {}, named=not is_followed(listed)))
    box = svg.partition('viewBox="')[2].partition('"')[0]
    x, y, width, height = box.split()
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="spex" width="{float(width):.0f}" height="{float(height):.0f}" '
        'style="max-width:100%;height:auto" '
    )
    paper = f'<rect class="paper" x="{x}" y="{y}" width="{width}" height="{height}"/>'
    svg = _UNFIT.sub("\N{REPLACEMENT CHARACTER}", svg)
    return svg.replace("<svg ", head, 1).replace(">\n", f">\n<style>{_STYLE}</style>\n{paper}\n", 1)

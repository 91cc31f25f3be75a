"""Models as Mermaid state diagrams, which JupyterLab and many Markdown viewers draw."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..domain.difference import in_order
from ..domain.transition import INTERNAL, Transition

TAU: Final = "τ"
"""The label of the internal action."""


def write(transitions: Iterable[Transition]) -> str:
    """Return a model as a diagram's text; equal sets of transitions have equal texts.

    Initialisations are arrows from the start mark. States get short identifiers, with their names as descriptions.
    Every character of a name that is not a letter or digit is written as an entity, so that no name can be read as
    syntax.
    """
    listed = in_order(set(transitions))
    names: dict[str, str] = {}
    for source, _, target in listed:
        for state in (source, target):
            if state is not None:
                names.setdefault(state, f"s{len(names)}")
    lines = ["stateDiagram-v2", "    direction LR"]
    lines += [f"    {number} : {_escaped(state)}" for state, number in names.items()]
    for source, action, target in listed:
        if source is None:
            lines.append(f"    [*] --> {names[target]}")
        else:
            label = TAU if action == INTERNAL else _escaped(action)
            lines.append(f"    {names[source]} --> {names[target]} : {label}")
    return "\n".join([*lines, ""])


def _escaped(name: str) -> str:
    if not name.strip():
        return "#quot;" + "#nbsp;" * len(name) + "#quot;"
    # Mermaid reads "direction LR" as a statement anywhere in a line: so a space in such a name is escaped too.
    plain = "_." if "direction" in name.lower() else " _."
    return "".join(c if c.isalnum() or c in plain else f"#{ord(c)};" for c in name)

"""Models as Mermaid state diagrams, which JupyterLab and many Markdown viewers draw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from ..domain.difference import in_order
from ..domain.transition import INTERNAL, Transition
from .marks import NONE, WORDS, Mark, Marks, only_by
from .mermaid_reader import TAU, MermaidReader

_BORDERS: Final = {Mark.DEVIATING: "stroke:#b3201b,stroke-width:3px", Mark.MISSING: "stroke-dasharray:6 5"}


def write(transitions: Iterable[Transition], marks: Marks = NONE) -> str:
    """Return a model as a diagram's text; equal sets of transitions have equal texts.

    What is marked says so at its label, since Mermaid cannot draw such lines in another way; a state that only marked
    transitions lead to has a border like theirs.

    Initialisations are arrows from the start mark. States get short identifiers, with their names as descriptions.
    Every character of a name that is not a letter or digit is written as an entity, so that no name can be read as
    syntax.
    """
    whole = {*transitions, *marks}
    listed = in_order(whole)
    names: dict[str, str] = {}
    for source, _, target in listed:
        for state in (source, target):
            if state is not None:
                names.setdefault(state, f"s{len(names)}")
    lines = ["stateDiagram-v2", "    direction LR"]
    lines += [f"    {number} : {_escaped(state)}" for state, number in names.items()]
    for transition in listed:
        source, action, target = transition
        # By their names, which no character of a state's or an action's name is written with.
        word = f"#lpar;{WORDS[marks[transition]]}#rpar;" if transition in marks else ""
        if source is None:
            lines.append(f"    [*] --> {names[target]}{f' : {word}' if word else ''}")
        else:
            label = TAU if action == INTERNAL else _escaped(action)
            lines.append(f"    {names[source]} --> {names[target]} : {label}{f' {word}' if word else ''}")
    return "\n".join([*lines, *_classes(names, only_by(marks, whole)), ""])


def parse(text: str) -> list[Transition]:
    """Return the transitions of a diagram in the order of the text, the initialisation first.

    What `write` writes is read back; marks are left out, and marked arrows count. Of diagrams by hand, this is read:
    arrows with labels, names and descriptions of states, ``[*]`` as start and end, comments, notes and styles.

    Raises:
        DeserialisationFailed: The text is malformed, or has states within states, forks, joins or choices. The message
            names the line (from 1) and the rule; context: `line`.
    """
    return MermaidReader(text).transitions()


def _classes(names: Mapping[str, str], marked: Mapping[str, Mark]) -> Iterator[str]:
    for mark in Mark:
        states = sorted((names[state] for state in marked if marked[state] is mark), key=lambda name: int(name[1:]))
        if states:
            yield f"    classDef {mark.name.lower()} {_BORDERS[mark]}"
            yield f"    class {','.join(states)} {mark.name.lower()}"


def _escaped(name: str) -> str:
    if not name.strip():
        return "#quot;" + "".join("#nbsp;" if c == " " else f"#{ord(c)};" for c in name) + "#quot;"
    # Mermaid reads "direction LR" as a statement anywhere in a line: so a space in such a name is escaped too.
    plain = "_." if "direction" in name.lower() or name != name.strip() or "  " in name else " _."
    if name == TAU:
        return f"#{ord(name)};"  # the letter itself is the label of the internal action
    return "".join(c if c.isalnum() or c in plain else f"#{ord(c)};" for c in name)

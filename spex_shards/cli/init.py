"""The command ``init``: writes a commented first specification."""

from __future__ import annotations

import re
from collections.abc import Iterable
from keyword import iskeyword
from pathlib import Path
from typing import Annotated, Final

import typer

from ..domain.difference import in_order
from ..domain.impl_model import ImplModel
from ..domain.transition import INTERNAL, Transition
from .formats import Case, Outcome, Report, ReportFormat
from .output import command
from .sources import STDOUT, FormatOption, read_source, write_target

_EXAMPLE: Final = (
    Transition("new", "pay", "paid"),
    Transition("paid", "ship", "shipped"),
    Transition("paid", "cancel", "cancelled"),
)
_HEAD: Final = '''"""What {title} must do, as a specification.

Report what happens where it happens, for example with a decorator:

    @{cls}.observes({action}, to={state}, identifier="order_id")
    def handle(order_id): ...

or with a call: spex_shards.transition(identifier, {action}, {state}).
Let the tests teach the model (each test has instances of its own), and check it:

    $ pytest --spex=update
    $ spex-shards check --specification {module}:{cls}
"""

import spex_shards as spex


class {cls}(spex.Specification):
    """{doc}"""

'''
_TAIL: Final = """
    # More that can be said:
    # transition_timeout = 30       # seconds: the longest time between two steps of one instance
    # judge = "run"                 # judge each step by these transitions alone, while the program runs
    # prunable_states = spex.TERMINAL
    # prune_timeout = 3600          # forget an instance that has rested so long in such a state
"""


def init_specification(
    model: Annotated[
        str | None,
        typer.Option("--from-model", metavar="FILE", help="A learned model, whose transitions are written down."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The name of the class, such as Order. Default: that of the model, or Order.")
    ] = None,
    target: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="The file to write, or - for stdout.")
    ] = "specification.py",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
    form: FormatOption = ReportFormat.TEXT,
) -> None:
    """Write a first specification with comments: an example to be changed, or what a learned model shows.

    Exits with 0, or with 2 when the file exists already or the model cannot be read.
    """
    with command(form, "init") as output:
        if target != STDOUT and Path(target).exists() and not force:
            output.fail(f"{target} exists already: give another file by --output, or overwrite it by --force")
        source = None if model is None else read_source(model)
        cls = _class_name(name, source)
        text = specification_text(cls, source, "specification" if target == STDOUT else Path(target).stem)
        if write_target(output, target, text):
            steps = len(_EXAMPLE if source is None else [t for t in source.transitions if t.source is not None])
            summary = f"{target}: {cls}, {steps} transitions; check that they are what you want"
            plain = {"file": target, "class": cls, "transitions": steps}
            case = Case(name=cls, outcome=Outcome.PASSED, summary=summary)
            output.report(Report(command="init", cases=(case,), plain=plain))


def specification_text(cls: str, model: ImplModel | None, module: str) -> str:
    """Return the text of a module with a specification.

    Args:
        cls: The name of the class.
        model: The model that it describes; None: an example.
        module: The module's name, for the comments.

    Raises:
        ValueError: The model has no transitions.
    """
    if model is None:
        return _text(cls, module, _EXAMPLE, "An example: replace the states and actions by yours.", [])
    listed = in_order(set(model.transitions))
    starts = [step.target for step in listed if step.source is None]
    steps = [step for step in listed if step.source is not None]
    if not steps:
        raise ValueError(f"the model of {model.specification} has no transitions")
    doc = f"What instances of {_word(model.specification)} were seen to do: remove what must not happen."
    options = [f"name = {_double(model.specification)}  # so that the learned model belongs to this class"]
    if len(starts) > 1:
        options.append(f"# Instances began in {', '.join(map(ascii, starts))}; a specification has one initial state.")
    first = starts[0] if starts else str(steps[0].source)
    if not any(first in (step.source, step.target) for step in steps):
        first = str(steps[0].source)
    ordered = _from(first, steps)
    if ordered[0].source != first:
        options.append(f"initial_state = {_double(first)}")
    return _text(cls, module, ordered, doc, options)


def _text(cls: str, module: str, steps: Iterable[Transition], doc: str, options: list[str]) -> str:
    listed = list(steps)
    head = _HEAD.format(
        title=f"{cls}s" if cls[-1] != "s" else cls, cls=cls, module=module, doc=doc,
        action=_shown(listed[0].action, "ACTION"), state=_shown(listed[0].target, "STATE"),
    )  # fmt: skip
    lines = [f"    {option}" for option in options]
    lines += ["    # Each entry: in this state, this action leads to that state. The first one is the initial state."]
    lines += ["    transitions = ["]
    for source, action, target in listed:
        written = "spex.INTERNAL" if action == INTERNAL else _double(action)
        lines.append(f"        ({_double(str(source))}, {written}, {_double(target)}),")
    return head + "\n".join([*lines, "    ]", ""]) + _TAIL


def _from(first: str, steps: list[Transition]) -> list[Transition]:
    """Return the transitions in the order in which they can be reached from a state."""
    outgoing: dict[str, list[Transition]] = {}
    for step in steps:
        outgoing.setdefault(str(step.source), []).append(step)
    seen = {first: None}
    for state in (queue := [first]):  # the list grows while the loop runs
        for step in outgoing.get(state, ()):
            if step.target not in seen:
                seen[step.target] = None
                queue.append(step.target)
    ordered = [step for state in seen for step in outgoing.get(state, ())]
    return [*ordered, *(step for step in steps if step.source not in seen)]


def _class_name(name: str | None, model: ImplModel | None) -> str:
    if name is not None:
        if not name.isidentifier() or iskeyword(name):
            raise ValueError(f"--name must be the name of a class, such as Order, got: {name!r}")
        return name
    if model is None:
        return "Order"
    words = re.findall(r"\w+", model.specification.rpartition(".")[2])
    found = "".join(word[0].upper() + word[1:] for word in words)
    return found if found.isidentifier() and not iskeyword(found) else "Learned"


def _double(name: str) -> str:
    """Return a Python literal in double quotes, as formatters write it, if the name needs no escapes."""
    plain = name.isprintable() and not set(name) & {'"', "\\"}
    return f'"{name}"' if plain else ascii(name)


def _shown(name: str, instead: str) -> str:
    return f'"{name}"' if name.replace(" ", "").replace("_", "").isalnum() and name.isprintable() else instead


def _word(name: str) -> str:
    return "".join(c if c.isprintable() and c not in '"\\' else "?" for c in name)

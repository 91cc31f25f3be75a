"""States, transitions and runs in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from ..domain.difference import one_line
from ..domain.difference import shown as _shown
from ..domain.transition import INTERNAL, State, Transition
from .unseen import Unseen

MOST_SHOWN: Final = 8
"""How many steps of a run, and how many actions of a state, a text shows at most."""
_MOST_LISTED: Final = 5
"""How many unseen transitions a text lists at most; the explanation contains all."""


def not_seen(missing: Sequence[Transition], unseen: Sequence[Unseen]) -> str:
    """Return a line that lists what was not observed; empty if nothing is missing.

    Args:
        missing: Transitions of the specification.
        unseen: Unseen actions of the model's states; used only if `missing` is empty.
    """
    texts = list(map(shown, missing)) or [
        f"{'a silent step' if one.action == INTERNAL else one_line(one.action)} in {named(one.state)}" for one in unseen
    ]
    if not texts:
        return ""
    more = f"; and {len(texts) - _MOST_LISTED:,} more" if len(texts) > _MOST_LISTED else ""
    return f"Not seen yet: {'; '.join(texts[:_MOST_LISTED])}{more}."


def shown(step: Transition) -> str:
    """Return a transition as one line of text; its states may be numbers."""
    source: Any = step.source if step.source is None else str(step.source)
    return _shown(Transition(source, step.action, str(step.target)))


def named(state: State) -> str:
    """Return a state's name in a form that fits into one line."""
    return one_line(str(state))


def chain(steps: Sequence[Transition]) -> str:
    """Return a run as text, without the middle of a long one."""
    if len(steps) <= MOST_SHOWN:
        return _chained(steps)
    half = MOST_SHOWN // 2
    return f"{_chained(steps[:half])} ... {len(steps) - 2 * half:,} more steps ... {_chained(steps[-half:])}"


def _chained(steps: Sequence[Transition]) -> str:
    parts = (
        f" {'silently' if action == INTERNAL else f'--{one_line(action)}'}--> {named(target)}"
        for _, action, target in steps
    )
    first: Any = steps[0].source
    return named(first) + "".join(parts)


def listed(names: Iterable[State], word: str = "and") -> str:
    """Return names as text, each once: "a, b and c"; of many names, only the first ones and the number of others."""
    texts = list(dict.fromkeys(named(name) for name in names))
    if len(texts) > MOST_SHOWN:
        texts = [*texts[: MOST_SHOWN - 1], f"{len(texts) - MOST_SHOWN + 1:,} others"]
    return f"{', '.join(texts[:-1])} {word} {texts[-1]}" if len(texts) > 1 else "".join(texts)


def capital(text: str) -> str:
    """Return a text with a capital letter at its start."""
    return text[:1].upper() + text[1:]

"""Decides by search whether a tiny history of appends and reads is linearisable: slow, and plainly right."""

from __future__ import annotations

from collections.abc import Sequence

from tests.programs.histories.history import START, Outcome, Read, Write


def linearisable(writes: Sequence[Write], reads: Sequence[Read], final: Sequence[str]) -> bool:
    """Return whether all operations have an order that respects their times, and ends with the history `final`.

    Each order is tried. Writes whose outcome is unknown may have been carried out or not; refused ones were not.
    """
    operations: list[Write | Read] = [*(w for w in writes if w.outcome is not Outcome.REFUSED), *reads]
    return _search(operations, (START,), tuple(final))


def _search(left: list[Write | Read], history: tuple[str, ...], final: tuple[str, ...]) -> bool:
    must = [one for one in left if isinstance(one, Read) or one.outcome is Outcome.ACKNOWLEDGED]
    if not must and history == final:
        return True
    for number, one in enumerate(left):
        # An operation may be the next one if no other that must still come had ended before it began.
        if any(other.completed < one.invoked for other in must):
            continue
        rest = left[:number] + left[number + 1 :]
        if isinstance(one, Write):
            if _search(rest, (*history, one.label), final):
                return True
        elif history[-len(one.labels) :] == one.labels and _search(rest, history, final):
            return True
    return False

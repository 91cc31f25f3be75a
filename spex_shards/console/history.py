"""An instance's history, found by what somebody has typed as its identifier."""

from __future__ import annotations

import ast
import threading
import warnings
from collections.abc import Iterator
from typing import Any, Final

from ..domain.instance import Deviation, Instance
from ..domain.transition import INITIALISATION, Transition
from ..errors import InstanceNotFound, show
from ..manager import InstanceManager

LONGEST: Final = 1000
"""The most characters of an identifier that may be typed."""
MOST_SHOWN: Final = 200
"""The newest entries of a history that are shown."""
_one_at_a_time = threading.Lock()


def found(manager: InstanceManager, typed: str) -> Instance | None:
    """Return the instance whose identifier was typed, as a Python literal or as the plain text; None: there is none.

    Raises:
        ValueError: It is empty, or longer than `LONGEST`.
        SpexError: A shard cannot answer.
    """
    if not typed or len(typed) > LONGEST:
        raise ValueError(f"an identifier must have 1 to {LONGEST} characters here, got: {len(typed)}")
    for identifier in _meant(typed):
        try:
            return manager.get_instance(identifier, history_limit=MOST_SHOWN)
        except (InstanceNotFound, ValueError, TypeError):  # or it is a literal that no identifier can be, as a set
            continue
    return None


def _meant(typed: str) -> Iterator[Any]:
    try:
        with _one_at_a_time, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as of "\d"
            value = ast.literal_eval(typed.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        value = typed
    yield value
    if value != typed:
        yield typed


def plain_of(instance: Instance, deviations: tuple[Deviation, ...]) -> dict[str, Any]:
    """Return an instance as plain values for JSON, with its newest entries, and which of them deviate."""
    deviating = {one.transition for one in deviations if one.specification == instance.specification_name}
    steps = []
    before: str | None = None
    for number, (action, target, at) in enumerate(instance.history):
        known = number > 0 or action == INITIALISATION
        steps.append({
            "action": "start" if action == INITIALISATION else action,
            "state": target,
            "time": at.isoformat(timespec="milliseconds"),
            "deviates": known and Transition(before, action, target) in deviating,
        })  # fmt: skip
        before = target
    return {
        "specification": instance.specification_name,
        "identifier": show(instance.identifier),
        "state": instance.current_state,
        "meta": None if instance.meta is None else show(instance.meta),
        "steps": steps,
        "cut": bool(instance.history) and instance.history[0].action != INITIALISATION,
    }

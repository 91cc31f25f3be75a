"""What is reported when an observed function, or a tracked block, ends with an exception."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from . import receiving
from .names import as_name

if TYPE_CHECKING:
    from .specification import Specification

logger = logging.getLogger("spex_shards")

_RULE: Final = (
    "on_error must be a state, or a mapping from exception classes to a state or to a pair (action, state)"
)  # fmt: skip


class OnError:
    """The transitions that exceptions stand for.

    Args:
        given: None; a state, which any `Exception` leads to by `action`; or a mapping from exception classes to a
            state, or to an action and a state. The first class in it that fits counts.
        action: The action where none is given.

    Raises:
        TypeError: `given` is something else.
        ValueError: There is no action.
    """

    __slots__ = ("_entries",)

    def __init__(self, given: Any, action: str | None) -> None:
        if given is None:
            self._entries: list[tuple[type[BaseException], str, str]] = []
        elif isinstance(given, Mapping):
            self._entries = [(_class(kind), *_step(value, action)) for kind, value in given.items()]
        else:
            self._entries = [(Exception, *_step(given, action))]

    def __bool__(self) -> bool:
        return bool(self._entries)

    def report(self, cls: type[Specification], identifier: Any, error: BaseException, *, waits: bool) -> None:
        """Report the transition that an exception stands for, if there is one.

        An error of the report is logged and not raised, in all modes: the application's exception must go on unchanged.
        """
        for kind, action, state in self._entries:
            if isinstance(error, kind):
                try:
                    receiving.receiver.step(cls, identifier, action, state, waits=waits)
                except Exception as failure:
                    logger.error("%s, observed while %s went on: %s", cls.name, type(error).__name__, failure)
                return


def _class(kind: Any) -> type[BaseException]:
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        raise TypeError(f"{_RULE}, got the key: {kind!r}")
    return kind


def _step(value: Any, action: str | None) -> tuple[str, str]:
    given = (action, value)
    if isinstance(value, tuple) and len(value) == 2:
        given = value
    state = as_name(given[1])
    if state is None:
        raise TypeError(f"{_RULE}, got: {value!r}")
    if given[0] is None:
        raise ValueError(
            f"on_error must give an action with each state, since there is no other action, got: {value!r}"
        )
    name = as_name(given[0])
    if name is None:
        raise TypeError(f"{_RULE}, got: {value!r}")
    return name, state

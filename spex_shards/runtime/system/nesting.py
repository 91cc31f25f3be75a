"""Counts how deep calls are nested in a thread, so that data cannot exhaust the stack."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class TooDeep(ValueError):
    """Calls are nested more deeply than is allowed."""


class Nesting(threading.local):
    """The calls of `run` that are nested in the present thread.

    A counter would count a call for ever that an exception out of a signal handler has cut off before it was counted
    down. So when the counter exceeds the limit, the calls on the stack are counted. This module is not compiled,
    because compiled functions are not on the stack.

    Args:
        most: How deep calls may be nested.

    Attributes:
        depth: How deep they are nested now; too much after a call was cut off, until that is noticed.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.depth = 0

    def run(self, work: Callable[..., _Result], *arguments: Any) -> _Result:
        """Return the result of ``work(*arguments)``.

        Raises:
            TooDeep: This call would be nested too deeply; `work` was not called.
        """
        if self.depth >= self._most:
            self.depth = self._on_stack() - 1
            if self.depth >= self._most:
                raise TooDeep(f"nested more than {self._most} times")
        self.depth += 1
        try:
            return work(*arguments)
        finally:
            self.depth -= 1

    def _on_stack(self) -> int:
        frame: FrameType | None = sys._getframe(1)
        count = 0
        while frame is not None:
            count += frame.f_code is Nesting.run.__code__ and frame.f_locals.get("self") is self
            frame = frame.f_back
        return count

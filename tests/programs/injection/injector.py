"""Runs an action at one chosen line of the library, in the calling thread, as a signal handler would."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import spex_shards

_PACKAGE = str(Path(spex_shards.__file__).parent)


class Injector:
    """Counts the lines of the library that a call passes, and acts at one of them.

    Args:
        place: The number of the line, from 1; 0: no line.
        action: Called there; an exception that it raises comes out of that line.
        opcodes: Whether places are single instructions of the interpreter instead of lines.
    """

    def __init__(self, place: int, action: Callable[[], Any], *, opcodes: bool = False) -> None:
        self._place = place
        self._action = action
        self._opcodes = opcodes
        self.passed = 0
        self.where = ""

    @property
    def reached(self) -> bool:
        """Whether the call passed that place."""
        return 0 < self._place <= self.passed

    def run(self, function: Callable[[], Any]) -> Any:
        """Call a function; return its result."""
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            return function()
        finally:
            sys.settrace(before)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_PACKAGE):
            return None
        if self._opcodes:
            frame.f_trace_opcodes = True
        if event == ("opcode" if self._opcodes else "line"):
            self.passed += 1
            if self.passed == self._place:
                self.where = f"{frame.f_code.co_filename.removeprefix(_PACKAGE)}:{frame.f_lineno}"
                sys.settrace(None)
                self._action()
        return self._trace

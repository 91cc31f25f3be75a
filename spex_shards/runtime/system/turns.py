"""Turns: one thread at a time is inside, and whoever comes can tell whether that thread will ever come out.

A lock answers one question, whether somebody has it. That is not enough in other people's processes. A signal handler
or a finaliser may call a manager while the same thread is in the middle of another call: waiting for the lock would
be waiting for itself. An exception out of a signal handler may end a call between any two steps, also just before it
gives the lock back. And a thread may be held up in the middle for long, by a handler that runs on top of it.

So a turn is a lock, and beside it the answer to "is its holder on its way out?", which is read off the threads' stacks:
nothing has to be noted when a turn is taken, so that there is no moment at which the note is missing.

# Guarantees:
#
# * `take` and `give` are single calls into C: no signal handler runs in the middle of either.
# * Whoever finds a turn taken by one that does not come out must not use what it guards: it makes another in its place.
#   So what a turn guards has to be something that can be left behind, at any moment.
"""

from __future__ import annotations

import sys
import sysconfig
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, TypeVar

_PACKAGE: Final = str(Path(__file__).resolve().parents[2]) + "/"
_MSGPACK: Final = "/site-packages/msgpack/__init__.py"
_STANDARD: Final = sysconfig.get_paths()["stdlib"] + "/"
_MOMENT: Final = 0.002
_on_purpose: set[CodeType] = set()
_Function = TypeVar("_Function", bound=Callable[..., Any])


class Inside:
    """The methods in which a thread is inside, by their code."""

    def __init__(self) -> None:
        self._codes: set[CodeType] = set()

    def __call__(self, method: _Function) -> _Function:
        """Mark a method of what the turn guards: whoever is in it has the turn."""
        self._codes.add(method.__code__)
        return method

    def holds(self, frame: FrameType, guarded: object) -> bool:
        """Return whether a frame is one of a marked method of `guarded`."""
        return frame.f_code in self._codes and frame.f_locals.get("self") is guarded

    def anywhere(self, guarded: object) -> bool:
        """Return whether any thread is in a marked method of `guarded`."""
        return any(self.holds(frame, guarded) for top in sys._current_frames().values() for frame in _stack(top))


@cache
def _is_ours(file: str) -> bool:
    """Return whether code of a file is this package's, or of what this package calls: no handler of signals is."""
    if file.startswith((_PACKAGE, "<frozen ", "msgpack/")) or file.endswith(_MSGPACK):
        return True
    return file.startswith(_STANDARD) and "site-packages" not in file and "dist-packages" not in file


def calls_user_code(function: _Function) -> _Function:
    """Mark a function that calls code of the application on purpose: what runs in it does not interrupt anything."""
    _on_purpose.add(function.__code__)
    return function


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def times_running(function: Callable[..., Any]) -> int:
    """Return in how many calls of `function` this thread is, where a count of them may have been cut off."""
    code = function.__code__
    return sum(frame.f_code is code for frame in _stack(sys._getframe(1)))


class Turn:
    """The right to be inside `guarded`, for one thread at a time.

    Args:
        guarded: What it is a turn for; its marked methods are called by holders only.
        inside: Its marked methods.

    Attributes:
        take: Takes the turn if it is free, and returns whether; never waits.
        give: Gives it back.
        is_taken: Returns whether anybody has it.
    """

    __slots__ = ("_guarded", "_inside", "_lock", "give", "is_taken", "take")

    def __init__(self, guarded: object, inside: Inside) -> None:
        self._guarded = weakref.ref(guarded)  # it has this turn: without a cycle it goes as soon as nobody uses it
        self._inside = inside
        self._lock = threading.Lock()
        self.take: Callable[[], bool] = partial(self._lock.acquire, False)
        self.give: Callable[[], None] = self._lock.release
        self.is_taken: Callable[[], bool] = self._lock.locked

    def wait(self, seconds: float) -> bool:
        """Wait for the turn for a while; return whether it is taken now."""
        return self._lock.acquire(timeout=max(0.0, seconds))

    def is_mine(self) -> bool:
        """Return whether this very thread is inside, in a call that this one interrupts."""
        return self._find(sys._getframe(1)) is not None

    def is_stuck(self) -> bool:
        """Return whether its holder may not come out: it is not inside any more, or something runs on top of it.

        What runs on top may be short, too. Then what is left behind was left behind for nothing, and no harm is done.
        Looks twice, a moment apart: a holder that comes in or goes out is outside its marked methods for that long.
        """
        if not self._looks_stuck():
            return False
        time.sleep(_MOMENT)
        return self.is_taken() and self._looks_stuck()

    def _looks_stuck(self) -> bool:
        mine = threading.get_ident()
        for thread, frame in sys._current_frames().items():
            foreign = self._find(frame)
            if foreign is not None:
                return foreign or thread == mine
        return True

    def _find(self, top: FrameType) -> bool | None:
        """Return whether the holder's frame is interrupted by code from outside this package; None: it is not there."""
        foreign = False
        guarded = self._guarded()
        for frame in _stack(top):
            if self._inside.holds(frame, guarded):
                return foreign
            if frame.f_code in _on_purpose:
                foreign = False
            elif not _is_ours(frame.f_code.co_filename):
                foreign = True
        return None


def interruption(error: BaseException) -> BaseException | None:
    """Return the error with which a signal handler has interrupted this package, if that is how `error` came about.

    To be asked where the error is caught. A signal handler is a function of the application, which stands in the
    traceback of what it raises; where that was taken for another error, it stands in that one's context.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        if _has_interrupted(current):
            return current
        seen.add(id(current))
        current = current.__context__
    return None


def _has_interrupted(error: BaseException) -> bool:
    # It was caught, or passed through, here: what the application was handling when it called begins in its own code.
    trace = error.__traceback__
    if trace is None or not trace.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        return False
    if isinstance(error, KeyboardInterrupt):
        return True
    while trace is not None:
        code = trace.tb_frame.f_code
        if code in _on_purpose:
            return False
        if not _is_ours(code.co_filename):
            return True
        trace = trace.tb_next
    return False

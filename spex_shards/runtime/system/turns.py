"""Turns: locks for one thread at a time that can tell whether their holder will ever release them.

A lock says only whether somebody holds it. That is not enough in a process that belongs to an application. A signal
handler or a finaliser may call a manager while the same thread is in the middle of another call: if it waited for the
lock, it would wait for itself. An exception out of a signal handler may end a call between any two steps, also just
before it releases the lock. And a handler that runs on top of a thread may hold that thread up for a long time.

So a turn is a lock, plus an answer to the question "is its holder on its way out?". The answer comes from the stacks of
all threads. Nothing is recorded when a turn is taken, so there is no moment at which such a record could be missing.

# Guarantees:
#
# * `take` and `give` are single calls into C: no signal handler can run in the middle of either.
# * A thread that finds a turn held by a thread that is stuck must not use what the turn guards. It makes a replacement.
#   So whatever a turn guards must be something that can be abandoned at any moment.
"""

from __future__ import annotations

import re
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
_COMPILED: Final = "spex_shards/"
"""How the files of compiled modules are called in tracebacks."""
_LIBRARIES: Final = re.compile(r"(?:.*/(?:site|dist)-packages/)?(?:msgpack|psycopg|psycopg_binary|psycopg_c)/")
"""The files of libraries that are called while a turn is held. Those that Cython compiled have relative paths."""
_STANDARD: Final = sysconfig.get_paths()["stdlib"] + "/"
_MOMENT: Final = 0.002
_REST: Final = 50
"""After a look at the stacks of all threads, for how many times its processor time nobody looks again."""
_on_purpose: dict[int, CodeType] = {}
_Function = TypeVar("_Function", bound=Callable[..., Any])


class Inside:
    """Marks the methods that only the holder of a turn runs, and finds them on stacks.

    Code is found by its `id`: the hash of a code object is computed from all its constants, each time.
    """

    def __init__(self) -> None:
        self._codes: dict[int, CodeType] = {}

    def __call__(self, method: _Function) -> _Function:
        """Mark a method of the guarded class: a thread that runs it holds the turn."""
        self._codes[id(method.__code__)] = method.__code__
        return method

    def holds(self, frame: FrameType, guarded: object) -> bool:
        """Return whether `frame` runs a marked method of the object `guarded`."""
        return id(frame.f_code) in self._codes and frame.f_locals.get("self") is guarded

    def on_stack(self, frame: FrameType | None, guarded: object) -> bool:
        """Return whether a frame or one of its callers runs a marked method of the object `guarded`."""
        codes = self._codes
        while frame is not None:
            if id(frame.f_code) in codes and frame.f_locals.get("self") is guarded:
                return True
            frame = frame.f_back
        return False

    def anywhere(self, guarded: object) -> bool:
        """Return whether any thread runs a marked method of the object `guarded`."""
        return any(self.on_stack(top, guarded) for top in sys._current_frames().values())


@cache
def _is_ours(file: str) -> bool:
    """Return whether a file belongs to this package or a library that it calls; a signal handler never does."""
    if file.startswith((_PACKAGE, _COMPILED, "<frozen ")) or _LIBRARIES.match(file):
        return True
    return file.startswith(_STANDARD) and "site-packages" not in file and "dist-packages" not in file


def calls_user_code(function: _Function) -> _Function:
    """Mark a function that calls the application's code on purpose: that code does not count as an interruption."""
    _on_purpose[id(function.__code__)] = function.__code__
    return function


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def times_running(function: Callable[..., Any]) -> int:
    """Return how many calls of `function` are on this thread's stack.

    Unlike a counter, this stays right when an exception cuts a call off.
    """
    code = function.__code__
    return sum(frame.f_code is code for frame in _stack(sys._getframe(1)))


class Turn:
    """The right to use the object `guarded`, for one thread at a time.

    Args:
        guarded: The object that the turn protects; only the holder calls its marked methods.
        inside: The marked methods.

    Attributes:
        take: Takes the turn if it is free, and returns whether it did; never waits.
        give: Releases the turn.
        is_taken: Returns whether any thread holds the turn.
    """

    __slots__ = ("_guarded", "_inside", "_lock", "_rests_until", "give", "is_taken", "take")

    def __init__(self, guarded: object, inside: Inside) -> None:
        self._guarded = weakref.ref(guarded)  # `guarded` refers to this turn: no cycle, so that it is freed at once
        self._inside = inside
        self._lock = threading.Lock()
        self._rests_until = 0.0
        self.take: Callable[[], bool] = partial(self._lock.acquire, False)
        self.give: Callable[[], None] = self._lock.release
        self.is_taken: Callable[[], bool] = self._lock.locked

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds` for the turn; return whether this thread holds it now."""
        return self._lock.acquire(timeout=max(0.0, seconds))

    def is_mine(self) -> bool:
        """Return whether this very thread holds the turn, in a call that the current one interrupts."""
        return self._inside.on_stack(sys._getframe(1), self._guarded())

    def is_stuck(self) -> bool:
        """Return whether the holder may never release the turn.

        That is so if no thread runs a marked method any more (an exception cut the holder off), or if other code runs
        on top of it. Such code may be short-lived; then the guarded object is abandoned for nothing, which does no
        harm. This looks twice, 2 ms apart: a holder is outside its marked methods just after taking the turn and just
        before releasing it.

        A look costs as much as there are threads, and all of them may wait for this turn. So after a look that has
        found nothing, the answer is False for a while, whoever asks; a holder that is stuck is still so after that.
        """
        if time.monotonic() < self._rests_until:
            return False
        begun = time.thread_time()
        if not self._looks_stuck():
            self._rests_until = time.monotonic() + _REST * (time.thread_time() - begun)
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
        """Return whether foreign code interrupts the holder's frame on this stack; None: the holder is not on it."""
        foreign = False
        guarded = self._guarded()
        for frame in _stack(top):
            if self._inside.holds(frame, guarded):
                return foreign
            if id(frame.f_code) in _on_purpose:
                foreign = False
            elif not _is_ours(frame.f_code.co_filename):
                foreign = True
        return None


def interruption(error: BaseException) -> BaseException | None:
    """Return the exception by which a signal handler interrupted this package and which led to `error`, or None.

    Call it where `error` is caught. A signal handler is a function of the application, so it appears in the traceback
    of the exception that it raises. If that exception was handled as another error in between, it is in the context of
    that error.
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
    # The traceback must begin in this package. An exception that the application was already handling when it called
    # begins in the application's own code.
    trace = error.__traceback__
    if trace is None or not trace.tb_frame.f_code.co_filename.startswith((_PACKAGE, _COMPILED)):
        return False
    if isinstance(error, KeyboardInterrupt):
        return True
    while trace is not None:
        code = trace.tb_frame.f_code
        if id(code) in _on_purpose:
            return False
        if not _is_ours(code.co_filename):
            return True
        trace = trace.tb_next
    return False

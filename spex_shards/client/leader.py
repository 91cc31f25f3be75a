"""The right to read the replies of a channel: one thread has it at a time."""

from __future__ import annotations

import threading


class Leadership:
    """A lock that knows its thread, so that whoever may have it when an exception comes can let it go.

    An exception out of a signal may come between any two steps of the main thread, also right after the lock was
    taken; no flag of our own could tell in time.

    Attributes:
        lock: For who waits for it: the courier, when it installs new pipes.
        held: Whether a thread leads, as far as can be seen from another.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.held = False

    def take(self) -> bool:
        """Take it, if no other thread has it."""
        if not self.lock.acquire(blocking=False):
            return False
        self.held = True
        return True

    def let_go(self) -> bool:
        """Let go of it, if this thread has it; return whether it had."""
        mine = False
        while self.lock._is_owned():  # type: ignore[attr-defined]  # as threading.Condition asks
            mine, self.held = True, False
            self.lock.release()
        return mine

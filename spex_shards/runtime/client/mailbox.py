"""Keeps the messages that handlers send to the application, until they are taken or given to `on_message`."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from ...log_fields import about
from ..system.threads import Helper
from ..system.waits import capped

MOST_WAITING: Final = 10_000
logger = logging.getLogger("spex_shards")


class Mailbox:
    """Messages in the order in which they arrived.

    At most 10,000 messages wait. Beyond that the oldest are dropped, and counted by shard in `dropped`.

    Args:
        on_message: Called with each message on one daemon thread; None: `messages` returns them.

    Attributes:
        tell: Called, on any thread, after a message was added or the mailbox was closed; None: nothing is.
    """

    tell: Callable[[], object] | None = None

    def __init__(self, on_message: Callable[[Any], None] | None) -> None:
        self._on_message = on_message
        self.forget()

    def forget(self) -> None:
        """Start empty; also in a forked child, where messages, thread and lock belong to the parent."""
        self._waiting: deque[tuple[int, Any]] = deque()
        self._arrived = threading.Condition()
        self._thread: Helper | None = None
        self._closed = False
        self.dropped: Counter[int] = Counter()

    def start(self) -> None:
        """Start the thread that calls `on_message`, if there is one; called before the first message.

        Raises:
            RuntimeError: The system gives no thread.
        """
        if self._on_message is not None and self._thread is None:
            thread = Helper(self._deliver, "spex-shards-messages")
            thread.start()
            self._thread = thread

    def put(self, shard: int, message: Any) -> None:
        """Add a message of a shard; never blocks for long."""
        with self._arrived:
            if len(self._waiting) >= MOST_WAITING:
                self.dropped[self._waiting.popleft()[0]] += 1
            self._waiting.append((shard, message))
            self._arrived.notify()
        if self.tell is not None:
            self.tell()

    def messages(self, timeout: float = 0) -> Iterator[Any]:
        """Yield the messages that have arrived, and wait up to `timeout` seconds for each further one."""
        while True:
            deadline = time.monotonic() + timeout
            with self._arrived:
                while not self._waiting:
                    remaining = deadline - time.monotonic()
                    if remaining <= 0 or self._closed:
                        return
                    self._arrived.wait(capped(remaining))
                _, message = self._waiting.popleft()
            yield message

    def close(self, timeout: float | None = None) -> None:
        """Deliver the messages that have arrived, and end the thread.

        Args:
            timeout: Seconds that `on_message` gets for them; the rest is dropped, with a warning in the log.
        """
        with self._arrived:
            self._closed = True
            self._arrived.notify_all()
            thread = self._thread
        if self.tell is not None:
            self.tell()
        if thread is None or thread is threading.current_thread():
            return
        if not thread.wait(timeout):
            with self._arrived:
                left = len(self._waiting)
                self.dropped.update(shard for shard, _ in self._waiting)
                self._waiting.clear()
            text = "on_message was still at work when its manager closed; %d messages are dropped"
            logger.warning(text, left, extra=about("messages_dropped", count=left))

    def _deliver(self) -> None:
        while True:
            with self._arrived:
                while not self._waiting and not self._closed:
                    self._arrived.wait()
                if not self._waiting:
                    return
                _, message = self._waiting.popleft()
            try:
                if self._on_message is not None:
                    self._on_message(message)
            except Exception:
                logger.exception("on_message raised for %r", message, extra=about("on_message_failed"))

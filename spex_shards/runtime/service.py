"""The port between a shard and what runs on it: the calls that a service carries out, and what is due by itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from .protocol.operations import Operation
from .protocol.records import encode_value
from .store import Batch


class Call:
    """A call that a service carries out: who made it, and when.

    Attributes:
        pid: The process.
        thread: The thread (`threading.get_ident`).
        client_id: The client, a hex string that no other has.
        now: Microseconds since the epoch.
    """

    __slots__ = ("_messages", "client_id", "now", "pid", "thread")

    def __init__(self, pid: int, thread: int, client_id: str, messages: list[bytes], now: int = 0) -> None:
        self.pid = pid
        self.thread = thread
        self.client_id = client_id
        self.now = now
        self._messages = messages

    @property
    def is_here(self) -> bool:
        """Whether this process has made it."""
        return self.pid == os.getpid()

    def send(self, message: Any) -> None:
        """Send a message to the caller's process, where `on_message` or `messages` gives it out.

        It leaves when what the call did is kept, and only then.

        Args:
            message: Any value of identifiers' types, lists and dicts, or a `SpexError`.

        Raises:
            TypeError: A part of it cannot be sent.
        """
        self._messages.append(encode_value(message))

    def __repr__(self) -> str:
        return f"Caller(pid={self.pid}, thread={self.thread}, client_id={self.client_id!r})"


class Deferred(BaseException):
    """A call must wait for some work; it is to be rolled back, and carried out again when the work is done.

    No `Exception`: nothing that handles errors may handle it.

    Attributes:
        key: What the work is for: calls that raise it with the same key wait for the same work.
        work: Does it, in a process of its own; takes long, changes nothing, and returns a text.
    """

    def __init__(self, key: bytes, work: Callable[[], str]) -> None:
        super().__init__(key)
        self.key = key
        self.work = work


class Watch:
    """Told, and asked, about what a service does by itself and about long work. This one does nothing."""

    def timing(self, key: bytes) -> None:
        """What is due under this key is about to be done."""

    def clear(self) -> None:
        """Nothing is executed any more."""

    def bump(self) -> None:
        """Long work gets on."""

    def deaths(self, key: bytes) -> int:  # noqa: ARG002
        """Return how often the shard has died while what is due under this key was done."""
        return 0

    def refusal(self, key: bytes) -> str | None:  # noqa: ARG002
        """Return why what is due under this key is not to be done any more, or None."""
        return None


NOBODY = Watch()


class Service(Protocol):
    """What runs on a shard. It works in the shard's batch; whoever calls it keeps the batch, or rolls it back.

    What a call raises is rolled back, and reaches the caller: a `SpexError` as itself. A `SpexError` that is returned
    reaches the caller too, and what the call has done is kept.

    Attributes:
        operations: What it can be asked for, and who carries it out: called with the arguments, and `call`.
        held: Set by the shard: whether nothing is to be done just now that logs something and can wait.
        defers: Set by the shard: whether it takes `Deferred`; else long work is to be done at once.
    """

    operations: Mapping[Operation, Callable[..., Any]]
    held: bool
    defers: bool

    def declare(self, arguments: list[Any]) -> None:
        """Take what a client declares, ahead of its requests.

        Raises:
            ValueError: It is malformed.
            StoreError: It cannot be kept.
        """

    def done(self, key: bytes, result: str) -> None:
        """Take the result of deferred work."""

    def next_due(self) -> int | None:
        """Return when `tick` has something to do: a time in microseconds since the epoch (0: at once), or None."""

    def tick(self, now: int) -> None:
        """Do what is due, a bounded portion of it.

        Raises:
            StoreError: It could not be done.
        """

    def stats(self) -> dict[str, Any]:
        """Return its own counters."""


class Host(Protocol):
    """What all shards of a start have in common: made once, before them."""

    @property
    def warnings(self) -> Sequence[str]:
        """What there is to be said about it, for the owner's log."""

    def service(self, batch: Batch, watch: Watch, now: int) -> Service:
        """Return the service of one shard.

        Raises:
            StoreError: A row that must be read at the start is damaged.
        """


StoreReader = Callable[[Callable[[Batch], Any]], list[Any]]
"""Has something read, as a plain value, from the store of each shard that is there; what cannot be read is left out."""

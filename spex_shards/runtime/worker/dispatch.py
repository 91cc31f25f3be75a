"""Checks one request, lets the service carry it out, and makes its answer."""

from __future__ import annotations

import os
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any

from ...errors import RemoteTraceback, SpexError, StoreError, words
from ..call import Call
from ..protocol.answers import LOG, MESSAGE, Answer
from ..protocol.codec import pack
from ..protocol.operations import STATS, Operation
from ..protocol.records import error_plain
from ..protocol.requests import ProtocolError, Request
from ..service import Deferred
from ..shard import Shard
from ..system.user_code import report
from .logs import LogCapture
from .peers import Peer

Done = tuple[Peer, Request, Answer | None, bool]
"""An answered request: the client that sent it; the request; its answer (None: it succeeded, and there is nothing to
say); and whether the current batch carried it out (else an earlier one did, and the answer was remembered)."""


class Dispatcher:
    """Carries requests out on a service.

    Args:
        shard: The shard.
        capture: Collects log records.
        stats: Returns the worker's own counters.
        most_bytes: Most bytes of a request's arguments; None: only the size of a frame limits them.

    Attributes:
        declared: The declarations of the current batch; the worker clears it after the commit.
        requests: How often each operation was requested.
    """

    def __init__(
        self,
        shard: Shard,
        capture: LogCapture,
        stats: Callable[[], dict[str, Any]],
        most_bytes: int | None = None,
    ) -> None:
        self._shard = shard
        self._service, self._batch = shard.service, shard.batch
        self._operations: dict[Operation, Callable[..., Any]] = {**shard.service.operations, STATS: self._report}
        self._most_bytes = most_bytes
        self._capture = capture
        self._stats = stats
        self.declared: list[list[Any]] = []
        self.requests: Counter[str] = Counter()

    def declare(self, arguments: list[Any]) -> None:
        """Pass a client's declaration to the service.

        Raises:
            ProtocolError: The declaration is malformed.
            StoreError: It cannot be stored.
        """
        try:
            self._service.declare(arguments)
        except (ValueError, TypeError) as error:
            raise ProtocolError(str(error)) from None
        self.declared.append(arguments)

    def declare_again(self) -> None:
        """Repeat the declarations of a batch that failed, in the next one: their clients do not send them again."""
        mark = self._batch.mark()
        try:
            for arguments in self.declared:
                self._service.declare(arguments)
        except StoreError:
            self._batch.rollback(mark)

    def execute(self, peer: Peer, request: Request, now: int) -> Answer | None:
        """Carry out a request in the current batch; return its answer (None: it succeeded, with nothing to say).

        If the request fails, its changes are rolled back, and the answer holds the error.

        Raises:
            Deferred: The request needs deferred work first; its changes are rolled back.
        """
        operation = request.operation
        self.requests[operation.name] += 1
        messages: list[bytes] = []
        logs: list[Any] = []
        call = Call(peer.pid, request.thread, peer.client_hex, messages, now)
        mark = self._batch.mark()
        self._capture.target = logs
        try:
            operation.check(request.arguments)
            if self._most_bytes is not None:
                _check_size(request, self._most_bytes)
            value: Any = self._operations[operation](*request.arguments, call=call)
            ok = True
        except Deferred:
            self._batch.rollback(mark)
            self._capture.target = self._capture.outside
            raise
        except BaseException as error:  # an application's code may raise exceptions that are no `Exception`
            self._batch.rollback(mark)
            messages.clear()
            value, ok = _failure(request, error), False
        if value is None and ok and not messages and not logs:
            self._capture.target = self._capture.outside
            return None
        if isinstance(value, SpexError):
            value, ok = self._word(request, value, ok=ok)
        self._capture.target = self._capture.outside
        return self._answer(peer, request, ok, value, logs, messages)

    def _word(self, request: Request, error: SpexError, *, ok: bool) -> tuple[Any, bool]:
        # `ok`: the service carried the request out and returned the error as its value. After a `_nowait` request
        # nobody waits for that value, so the error is only logged.
        if request.nowait and ok:
            report(error)
            return None, True
        return error_plain(error), False

    def _answer(
        self, peer: Peer, request: Request, ok: bool, value: Any, logs: list[Any], messages: list[bytes]
    ) -> Answer:
        events = [peer.event(MESSAGE, message) for message in messages]
        if request.nowait:
            events += [peer.event(LOG, record) for record in logs]
            logs = []
        return Answer(request.number, ok, value, logs, events)

    def _report(self, *, call: Call) -> dict[str, Any]:  # noqa: ARG002 - each operation's function takes it
        own = {"requests": dict(self.requests), "store_size": self._shard.store.size()}
        return {**own, **self._service.stats(), **self._stats()}


def size_of(request: Request, answer: Answer | None) -> int:
    """Return the size in bytes of the answer to a query; 0 for operations that change something: theirs are small."""
    return 0 if answer is None or request.operation.changes else len(pack(answer.value))


def _check_size(request: Request, most: int) -> None:
    size = sum(len(value) for value in request.arguments if isinstance(value, (bytes, str)))
    if size > most:
        text = "must be at most an eighth of the memory that its process may have"
        raise StoreError(f"the request to a shard {text} ({most} bytes), got: {size} bytes")


def _failure(request: Request, error: BaseException) -> SpexError:
    if isinstance(error, SpexError):
        return error
    text = f"the shard could not carry out {request.operation.name}: {words(error)}"
    if isinstance(error, MemoryError):
        traceback.clear_frames(error.__traceback__)  # so that there is memory for the answer
        return StoreError(f"{text} (there is no memory for it); nothing of it was kept")
    failure = SpexError(text, shard_pid=os.getpid())
    failure.__cause__ = RemoteTraceback.of(error)
    return failure

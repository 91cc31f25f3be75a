"""One request, checked and carried out by the engine: from its arguments to its entry in a reply."""

from __future__ import annotations

import os
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from ...domain.instance import Deviation
from ...engine import CheckPending, Engine
from ...engine.handlers import Caller, report
from ...errors import RemoteTraceback, SpexError, StoreError, words
from ...messages.specifications import StoredSpecification
from ..protocol.codec import canonical, decode, identifier_of, pack
from ..protocol.records import encode_value, error_plain
from ..protocol.requests import MUTATING, Kind, ProtocolError, Request, check
from ..protocol.shipping import unship
from .logs import LogCapture
from .peers import LOG, MESSAGE, Peer

Entry = list[Any]
"""[number, ok, value or error, log records, events]; the events stay in the shard's memory of the answer."""
_Operation = Callable[["Dispatcher", Request, Caller, int], Any]


class Dispatcher:
    """Carries requests out on an engine.

    Args:
        engine: The shard's engine.
        capture: Where log records go.
        stats: Returns what the worker counts itself.
        most_bytes: Most bytes of a request's arguments; None: as many as a frame has.
    """

    def __init__(
        self,
        engine: Engine,
        capture: LogCapture,
        stats: Callable[[], dict[str, Any]],
        most_bytes: int | None = None,
    ) -> None:
        self._most_bytes = most_bytes
        self._engine = engine
        self._capture = capture
        self._stats = stats
        self.requests: Counter[Kind] = Counter()

    def register(self, arguments: list[Any]) -> None:
        """Take a specification.

        Raises:
            ProtocolError: It is malformed.
        """
        try:
            check(Kind.REGISTER, arguments)
            stored = StoredSpecification.of(arguments[0])
        except (ValueError, TypeError) as error:
            raise ProtocolError(f"a malformed specification: {error}") from None
        self._engine.register(stored, arguments[1])

    def execute(self, peer: Peer, request: Request, now: int) -> Entry | None:
        """Carry a request out in the current batch; return its entry, or None for plain success with nothing to say."""
        kind = request.kind
        self.requests[kind] += 1
        messages: list[bytes] = []
        logs: list[Any] = []
        caller = Caller(peer.pid, request.thread, peer.client_hex, messages)
        mark = self._engine.mark()
        self._capture.target = logs
        try:
            check(kind, request.arguments)
            if self._most_bytes is not None:
                _check_size(request, self._most_bytes)
            value = _OPERATIONS[kind](self, request, caller, now)
            ok = True
        except CheckPending:
            self._engine.rollback(mark)
            self._capture.target = self._capture.outside
            raise
        except BaseException as error:  # a user's code may raise what is no Exception
            self._engine.rollback(mark)
            messages.clear()
            value, ok = _failure(request, error), False
        if value is None and ok and not messages and not logs:
            self._capture.target = self._capture.outside
            return None
        if isinstance(value, SpexError):
            value, ok = self._word(request, value, ok=ok)
        self._capture.target = self._capture.outside
        return self._entry(peer, request, ok, value, logs, messages)

    def _word(self, request: Request, error: SpexError, *, ok: bool) -> tuple[Any, bool]:
        # `ok` here: it was carried out, and the error is the handler's word, which `_nowait` leaves to the handler.
        if request.nowait and ok:
            report(error)
            return None, True
        return error_plain(error), False

    def _entry(
        self, peer: Peer, request: Request, ok: bool, value: Any, logs: list[Any], messages: list[bytes]
    ) -> Entry:
        events = [peer.event(MESSAGE, message) for message in messages]
        if request.nowait:
            events += [peer.event(LOG, record) for record in logs]
            logs = []
        return [request.number, ok, value, logs, events]

    def _init(self, request: Request, caller: Caller, now: int) -> SpexError | None:
        name, identifier, meta, initial_state = request.arguments
        _check_values(identifier, meta)
        return self._engine.init_instance(name, identifier, meta, initial_state, now, caller)

    def _transition(self, request: Request, caller: Caller, now: int) -> SpexError | None:
        identifier, action, to_state = request.arguments
        return self._engine.transition(identifier, action, to_state, now, caller)

    def _mock(self, request: Request, _caller: Caller, now: int) -> None:
        name, identifier, meta, state = request.arguments
        _check_values(identifier, meta)
        self._engine.mock_instance(name, identifier, meta, state, now)

    def _delete(self, request: Request, _caller: Caller, _now: int) -> None:
        self._engine.delete_instance(*request.arguments)

    def _delete_where(self, request: Request, _caller: Caller, _now: int) -> int:
        return self._engine.delete_instances(unship(request.arguments[0]))

    def _get(self, request: Request, _caller: Caller, _now: int) -> list[Any]:
        return self._engine.get_instance(*request.arguments)

    def _history(self, request: Request, _caller: Caller, _now: int) -> list[Any] | None:
        return self._engine.history(*request.arguments)

    def _page(self, request: Request, _caller: Caller, _now: int) -> tuple[Any, ...]:
        return self._engine.page(*request.arguments)

    def _models(self, _request: Request, _caller: Caller, _now: int) -> list[Any]:
        return [
            [m.specification, [list(t) for t in m.transitions], m.learning_mode] for m in self._engine.impl_models()
        ]

    def _deviations(self, request: Request, _caller: Caller, _now: int) -> list[Any]:
        return [_deviation_plain(deviation) for deviation in self._engine.deviations(*request.arguments)]

    def _specification(self, request: Request, _caller: Caller, _now: int) -> list[Any] | None:
        stored = self._engine.knows(*request.arguments)
        return None if stored is None else stored.plain()

    def _report(self, _request: Request, _caller: Caller, _now: int) -> dict[str, Any]:
        return {
            "requests": {kind.name.lower(): count for kind, count in self.requests.items()},
            "deviations": self._engine.deviations_seen,
            "timeouts": self._engine.timeouts_seen,
            "store_size": self._engine.store_size(),
            **self._stats(),
        }


_OPERATIONS: Final[dict[Kind, _Operation]] = {
    Kind.INIT: Dispatcher._init,
    Kind.TRANSITION: Dispatcher._transition,
    Kind.MOCK: Dispatcher._mock,
    Kind.DELETE: Dispatcher._delete,
    Kind.DELETE_WHERE: Dispatcher._delete_where,
    Kind.GET: Dispatcher._get,
    Kind.HISTORY: Dispatcher._history,
    Kind.PAGE: Dispatcher._page,
    Kind.MODELS: Dispatcher._models,
    Kind.DEVIATIONS: Dispatcher._deviations,
    Kind.SPECIFICATION: Dispatcher._specification,
    Kind.STATS: Dispatcher._report,
}


def size_of(request: Request, entry: Entry | None) -> int:
    """Return the bytes that the answer to a question takes; 0 for what changes something, which has small answers."""
    return 0 if entry is None or request.kind in MUTATING else len(pack(entry[2]))


def _check_size(request: Request, most: int) -> None:
    size = sum(len(value) for value in request.arguments if isinstance(value, (bytes, str)))
    if size > most:
        text = "must be at most an eighth of the memory that its process may have"
        raise StoreError(f"the request to a shard {text} ({most} bytes), got: {size} bytes")


def _check_values(identifier: bytes, meta: bytes | None) -> None:
    # What is stored now is read for as long as the directory lives.
    if canonical(identifier_of(identifier)) != identifier:
        raise ValueError("the identifier is not in its canonical form")
    if meta is not None and type(decode(meta)) is not dict:
        raise ValueError("meta is no dict")


def _failure(request: Request, error: BaseException) -> SpexError:
    if isinstance(error, SpexError):
        return error
    text = f"the shard could not carry out {request.kind.name.lower()}: {words(error)}"
    if isinstance(error, MemoryError):
        traceback.clear_frames(error.__traceback__)  # so that there is memory for the answer
        return StoreError(f"{text} (there is no memory for it); nothing of it was kept")
    failure = SpexError(text, shard_pid=os.getpid())
    failure.__cause__ = RemoteTraceback("".join(traceback.format_exception(error)))
    return failure


def _deviation_plain(d: Deviation) -> list[Any]:
    times = encode_value(d.first_seen), encode_value(d.last_seen)
    return [d.specification, list(d.transition), d.verdict.value, d.accepted, d.count, *times]

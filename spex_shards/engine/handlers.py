"""Asking a specification's handler for its word, whatever the handler does."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..domain.specification import Specification, default_handler
from ..errors import HandlerError, RemoteTraceback, SpexError, show, words
from ..messages.specifications import HandlerReference
from ..runtime.protocol.records import encode_value
from ..runtime.protocol.shipping import unship
from ..runtime.system.turns import calls_user_code, times_running

Handler = Callable[[SpexError, Any], Any]
_running = threading.local()
logger = logging.getLogger("spex_shards")


class Caller:
    """Who made the call that a handler is asked about.

    Attributes:
        pid: The process.
        thread: The thread (`threading.get_ident`).
        client_id: The client, a hex string that no other has.
    """

    __slots__ = ("_messages", "client_id", "pid", "thread")

    def __init__(self, pid: int, thread: int, client_id: str, messages: list[bytes]) -> None:
        self.pid = pid
        self.thread = thread
        self.client_id = client_id
        self._messages = messages

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


def handler_running() -> bool:
    """Whether this thread is inside a handler just now."""
    if not getattr(_running, "depth", 0):
        return False
    # An exception out of a signal handler may have come between counting and calling: the stack knows better.
    _running.depth = times_running(in_handler)
    return bool(_running.depth)


@calls_user_code
def in_handler(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call user code of a handler or predicate; within it, calls of a manager raise `RuntimeError`."""
    _running.depth = getattr(_running, "depth", 0) + 1
    try:
        return function(*arguments)
    finally:
        _running.depth -= 1


def ask(handler: Handler, error: SpexError, caller: Caller | None) -> SpexError | None:
    """Return the handler's word: None accepts, an error goes to the caller.

    Anything else that comes out of the handler becomes a `HandlerError`.
    """
    try:
        word = in_handler(handler, error, caller)
    except SpexError as raised:
        return raised
    except BaseException as raised:
        if isinstance(raised, KeyboardInterrupt) and caller is not None and caller.pid == os.getpid():
            raise  # it is the application's own, who pressed Ctrl-C while the handler ran
        return _failure(f"the error handler raised {words(raised)}", error, "".join(traceback.format_exception(raised)))
    if word is None or isinstance(word, SpexError):
        return word
    if isinstance(word, BaseException):
        return _failure(f"the error handler returned {words(word)}", error, None)
    if asyncio.iscoroutine(word):
        word.close()
    return _failure(f"the error handler must return None or a SpexError, got: {show(word)}", error, None)


def report(word: SpexError | None) -> None:
    """Log a failure of a handler's that no caller is told of."""
    if isinstance(word, HandlerError):
        with suppress(Exception):  # a log filter of the user's may raise anything
            logger.error("%s", word, exc_info=word)


def default_word(error: SpexError, _caller: Caller | None) -> SpexError | None:
    """Give the word of the default handler."""
    return default_handler(error)


def unavailable(reference: HandlerReference, reason: str, remote: str | None = None) -> Handler:
    """Return a handler that answers everything with the `HandlerError` that it cannot be had."""

    def handler(error: SpexError, _caller: Caller | None) -> SpexError:
        path = f"{reference.module}:{reference.qualname}"
        return _failure(f"the error handler {path} cannot be used: {reason}", error, remote)

    return handler


def resolve(reference: HandlerReference, shipped: bytes | None) -> Handler:
    """Return the handler of a reference; one that cannot be had answers with `HandlerError`. May import user code."""
    if reference.kind == "default":
        return default_word
    try:
        if reference.kind == "shipped":
            found: Any = unship(shipped) if shipped is not None else None
        else:
            found = importlib.import_module(reference.module)
            for part in reference.qualname.split("."):
                found = getattr(found, part)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return unavailable(reference, words(error), "".join(traceback.format_exception(error)))
    if isinstance(found, type) and issubclass(found, Specification):
        return found.error_handler
    return found if callable(found) else unavailable(reference, "it is not there")


def _failure(text: str, about: SpexError, remote: str | None) -> HandlerError:
    failure = HandlerError(f"{text} (asked about: {about})", about=about.reason)
    if remote is not None:
        failure.__cause__ = RemoteTraceback(remote)
    return failure

"""Asking a specification's handler for its word, whatever the handler does."""

from __future__ import annotations

import asyncio
import importlib
import logging
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..domain.specification import Specification, default_handler
from ..errors import HandlerError, RemoteTraceback, SpexError, show, words
from ..messages.specifications import HandlerReference
from ..runtime.protocol.shipping import unship
from ..runtime.service import Call
from ..runtime.system.user_code import in_handler

Handler = Callable[[SpexError, Any], Any]
logger = logging.getLogger("spex_shards")


def ask(handler: Handler, error: SpexError, caller: Call | None) -> SpexError | None:
    """Return the handler's word: None accepts, an error goes to the caller.

    Anything else that comes out of the handler becomes a `HandlerError`.
    """
    try:
        word = in_handler(handler, error, caller)
    except SpexError as raised:
        return raised
    except BaseException as raised:
        if isinstance(raised, KeyboardInterrupt) and caller is not None and caller.is_here:
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


def default_word(error: SpexError, _caller: Call | None) -> SpexError | None:
    """Give the word of the default handler."""
    return default_handler(error)


def unavailable(reference: HandlerReference, reason: str, remote: str | None = None) -> Handler:
    """Return a handler that answers everything with the `HandlerError` that it cannot be had."""

    def handler(error: SpexError, _caller: Call | None) -> SpexError:
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

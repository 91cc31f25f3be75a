"""Calls the error handlers of specifications, and turns whatever they do into None or an error."""

from __future__ import annotations

import importlib
import inspect
import logging
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..domain.specification import Specification, default_handler
from ..errors import HandlerError, RemoteTraceback, SpexError, show, words
from ..log_fields import about_error
from ..messages.specifications import HandlerReference
from ..runtime.call import Call
from ..runtime.protocol.shipping import unship
from ..runtime.system.user_code import in_handler

Handler = Callable[[SpexError, Any], Any]
logger = logging.getLogger("spex_shards")


def ask(handler: Handler, error: SpexError, caller: Call | None) -> SpexError | None:
    """Call a handler and return its answer.

    Args:
        handler: The handler.
        error: The error that it is called with.
        caller: The call that led to the error; None: a timer did.

    Returns:
        None if the handler accepts the error. The `SpexError` that it returned or raised. A `HandlerError` if it
        returned or raised anything else.
    """
    try:
        word = in_handler(handler, error, caller)
    except SpexError as raised:
        return raised
    except BaseException as raised:
        if isinstance(raised, KeyboardInterrupt) and caller is not None and caller.is_here:
            raise  # the handler runs in the application's process, and its user pressed Ctrl-C
        return _failure(f"the error handler raised {words(raised)}", error, "".join(traceback.format_exception(raised)))
    if word is None or isinstance(word, SpexError):
        return word
    if isinstance(word, BaseException):
        return _failure(f"the error handler returned {words(word)}", error, None)
    if inspect.iscoroutine(word):
        word.close()
    return _failure(f"the error handler must return None or a SpexError, got: {show(word)}", error, None)


def report(word: SpexError | None) -> None:
    """Log a handler's failure that no caller gets; do nothing for another answer."""
    if isinstance(word, HandlerError):
        with suppress(Exception):  # a log filter of the application may raise anything
            logger.error("%s", word, exc_info=word, extra=about_error(word, "handler_failed"))


def default_word(error: SpexError, _caller: Call | None) -> SpexError | None:
    """Return the answer of the default handler."""
    return default_handler(error)


def unavailable(reference: HandlerReference, reason: str, remote: str | None = None) -> Handler:
    """Return a handler that answers each error with a `HandlerError`, which says why the real one cannot be used."""

    def handler(error: SpexError, _caller: Call | None) -> SpexError:
        path = f"{reference.module}:{reference.qualname}"
        return _failure(f"the error handler {path} cannot be used: {reason}", error, remote)

    return handler


def resolve(reference: HandlerReference, shipped: bytes | None) -> Handler:
    """Return the handler that a reference names; this may import the application's code.

    Args:
        reference: Names the handler.
        shipped: The bytes of a handler that a client has sent.

    Returns:
        The handler; or, if it cannot be loaded, one that answers each error with a `HandlerError`.
    """
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

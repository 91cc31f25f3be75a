"""Calls the application's code inside a shard, and records that it runs there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ...errors import HandlerError, SpexError
from ...log_fields import about_error
from .turns import calls_user_code, times_running


class _Running(threading.local):
    depth = 0  # of the class, because each call asks, and `getattr` with a default raises an error inside


_running = _Running()
logger = logging.getLogger("spex_shards")


def handler_running() -> bool:
    """Return whether this thread is running the application's code inside a shard."""
    if not _running.depth:
        return False
    # The counter may be wrong: a signal handler may have raised between counting and calling. The stack is right.
    _running.depth = times_running(in_handler)
    return bool(_running.depth)


@calls_user_code
def in_handler(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call the application's code; while it runs, calls to shards raise `RuntimeError`."""
    _running.depth += 1
    try:
        return function(*arguments)
    finally:
        _running.depth -= 1


def report(word: SpexError | None) -> None:
    """Log an error of the application's code that no caller receives; other values are ignored."""
    if isinstance(word, HandlerError):
        with suppress(Exception):  # a log filter of the application may raise anything
            logger.error("%s", word, exc_info=word, extra=about_error(word, "handler_failed"))

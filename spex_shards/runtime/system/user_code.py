"""Calling the application's code inside a shard, so that it can be told from what the application does outside."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ...errors import HandlerError, SpexError
from .turns import calls_user_code, times_running

_running = threading.local()
logger = logging.getLogger("spex_shards")


def handler_running() -> bool:
    """Whether this thread is inside the application's code in a shard just now."""
    if not getattr(_running, "depth", 0):
        return False
    # An exception out of a signal handler may have come between counting and calling: the stack knows better.
    _running.depth = times_running(in_handler)
    return bool(_running.depth)


@calls_user_code
def in_handler(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call the application's code; within it, calls to shards raise `RuntimeError`."""
    _running.depth = getattr(_running, "depth", 0) + 1
    try:
        return function(*arguments)
    finally:
        _running.depth -= 1


def report(word: SpexError | None) -> None:
    """Log a failure of the application's code that no caller is told of."""
    if isinstance(word, HandlerError):
        with suppress(Exception):  # a log filter of the user's may raise anything
            logger.error("%s", word, exc_info=word)

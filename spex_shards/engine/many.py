"""Many observations in one request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import SpexError
from ..messages import operations as ops
from ..runtime.call import Call
from ..runtime.protocol.records import error_plain
from ..runtime.system.turns import interruption
from .core import Engine


def observe_many(engine: Engine, observations: Sequence[Any], call: Call) -> list[list[Any]] | None:
    """Carry out observations one after the other, as if each were a request of its own.

    Args:
        engine: The engine.
        observations: Each is the number of an operation (`ops.IN_MANY`) and its arguments, not checked yet.
        call: The call.

    Returns:
        For each observation that failed: its place in the list, and the plain form of its error; None: none failed. As
        with single requests, nothing is kept of an observation if its error was raised, and all of it if its handler
        returned the error.
    """
    failed: list[list[Any]] = []
    batch, watch = engine.batch, engine.watch
    for place, (code, *arguments) in enumerate(observations):
        mark, sent = batch.mark(), call.mark()
        watch.bump()  # handlers may be slow, and the shard must not count as hung
        try:
            answer = _one(engine, code, arguments, call)
        except (SpexError, ValueError, TypeError) as error:
            if interruption(error) is not None:
                raise  # a signal handler of the application raised it: the state in memory is not known
            batch.rollback(mark)
            call.rollback(sent)
            answer = error if isinstance(error, SpexError) else SpexError(str(error))
        if answer is not None:
            failed.append([place, error_plain(answer)])
    return failed or None


def _one(engine: Engine, code: int, arguments: list[Any], call: Call) -> SpexError | None:
    ops.IN_MANY[code].check(arguments)
    if code == ops.TRANSITION.code:
        identifier, action, to_state = arguments
        return engine.transition(identifier, action, to_state, call.now, call)
    name, identifier, meta, initial_state = arguments
    return engine.init_instance(name, identifier, meta, initial_state, call.now, call)

"""A transition of an instance that is created first if it does not exist."""

from __future__ import annotations

from ..errors import IdentifierInUse, SpexError, show
from ..runtime.call import Call
from ..runtime.protocol import codec
from . import handlers
from .core import Engine


def step(
    engine: Engine,
    name: str,
    identifier: bytes,
    initial_state: str | None,
    action: str | None,
    to_state: str | None,
    call: Call,
) -> SpexError | None:
    """Record a transition as `Engine.transition` does, but create the instance first if it does not exist.

    Without an action and a state, the instance is created and nothing else. An instance of that identifier that belongs
    to another specification is an `IdentifierInUse`, about which the handler of `name` is asked.

    Returns:
        The handler's answer: the last one that is an error.

    Raises:
        ValueError, SpexError: As `Engine.init_instance` and `Engine.transition` do.
    """
    answer, owner = None, engine.owner(identifier)
    if owner is None:
        answer = engine.init_instance(name, identifier, None, initial_state, call.now, call)
        if engine.owner(identifier) is None:
            return answer
    elif owner != name:
        entry = engine.catalogue.get(name)
        handler = handlers.default_word if entry is None else entry.handler()
        return handlers.ask(handler, _taken(identifier, owner), call)
    if action is None or to_state is None:
        return answer
    later = engine.transition(identifier, action, to_state, call.now, call)
    return answer if later is None else later


def _taken(identifier: bytes, owner: str) -> IdentifierInUse:
    shown = codec.identifier_of(identifier)
    return IdentifierInUse(
        f"the identifier {show(shown)} belongs to an instance of {owner} already: one identifier, one specification",
        identifier=shown,
    )

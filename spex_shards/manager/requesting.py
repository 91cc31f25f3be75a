"""The part of a manager that makes requests of observations, with checked arguments."""

from __future__ import annotations

from typing import Any

from ..domain.specification import OWN_MODES
from ..domain.transition import INITIALISATION
from ..runtime.lifetime import Life
from ..runtime.protocol.codec import canonical
from ..runtime.system.user_code import handler_running
from ..runtime.transport import Transport
from .arguments import (
    action_name,
    initial_state_of,
    key_of,
    meta_of,
    specification_of,
    state_name,
    wrong_identifier,
)
from .observed import Observed

Prepared = tuple[Transport, bytes, tuple[Any, ...]]
"""The transport of a request, the canonical bytes of its identifier, and its arguments, all checked."""


class Requesting(Observed):
    """What the observing calls of a manager check before they send a request."""

    def request_of_transition(self, identifier: Any, action: Any, to_state: Any) -> Prepared | None:
        """Return the request of a transition; None: the mode wants it observed by itself."""
        if OWN_MODES or not self._is_plain:
            return None
        return self._transition_arguments(identifier, action, to_state)

    def request_of_init(self, specification: Any, identifier: Any, meta: Any, initial_state: Any) -> Prepared | None:
        """Return the request of an initialisation; None: the mode wants it observed by itself."""
        if OWN_MODES or not self._is_plain:
            return None
        return self._init_arguments(specification, identifier, meta, initial_state)

    def _mock_arguments(self, specification: Any, identifier: Any, state: Any, meta: Any) -> Prepared:
        cls = specification_of(specification)
        key = key_of(identifier)
        data = meta_of(meta)
        target = state_name(state)
        self.check_state(cls, target, "state")
        return self.transport_for(cls), key, (cls.name, key, data, target)

    def _init_arguments(self, specification: Any, identifier: Any, meta: Any, initial_state: Any) -> Prepared:
        cls = specification_of(specification)
        key = key_of(identifier)
        data = meta_of(meta)
        state = initial_state_of(cls, initial_state)
        if state is not None:
            self.check_state(cls, state, "initial_state")
        return self.transport_for(cls), key, (cls.name, key, data, state)

    def _transition_arguments(self, identifier: Any, action: Any, to_state: Any) -> Prepared:
        if type(action) is not str or action == INITIALISATION or not action.isascii():
            action = action_name(action)
        if type(to_state) is not str or not to_state.isascii():
            to_state = state_name(to_state)
        try:
            key = canonical(identifier)
        except (TypeError, ValueError) as error:
            raise wrong_identifier(error, identifier) from None
        if self._life is not Life.STARTED or handler_running():
            self._check()
        transport = self.transport
        assert transport is not None
        return transport, key, (key, action, to_state)

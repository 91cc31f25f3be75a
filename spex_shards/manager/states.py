"""Checks the states that users name, and says when nothing can be judged."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..domain.names import among
from ..domain.specification import Specification
from ..errors import SpexError
from ..log_fields import about

if TYPE_CHECKING:
    from .base import InstanceManager

logger = logging.getLogger("spex_shards")


class KnownStates:
    """The states that instances of each specification may be put into.

    Args:
        manager: The manager that puts them there.
    """

    def __init__(self, manager: InstanceManager) -> None:
        self._manager = manager
        self._states: dict[type[Specification], frozenset[str]] = {}

    def check(self, cls: type[Specification], state: str, what: str) -> None:
        """Refuse a state that neither the specification nor its model has.

        Any state is right in learning mode, or if the specification has no transitions: then its behaviour is still to
        be observed. The shards are asked for the model only if the specification does not have the state.

        Args:
            cls: The specification.
            state: The state.
            what: The argument's name, for the error.

        Raises:
            ValueError: There is no such state.
        """
        known = self._states.get(cls)
        if known is None:
            known = self._states[cls] = frozenset(cls.states)
        if not known or state in known or self._manager.options["learning_mode"] or self._may_be(cls, state):
            return
        states = among(cls.states, state)
        raise ValueError(f"{what} must be a state of {cls.name}, got: {state!r}; its states are {states}")

    def warn_of_none(self, cls: type[Specification]) -> None:
        """Log that nothing can be judged by a specification without transitions, unless its behaviour is learned."""
        manager = self._manager
        if not cls.transitions and manager.opens and not manager.options["learning_mode"]:
            logger.warning(
                "%s declares no transitions: nothing that its instances do is judged, it is only recorded in its "
                "model. Declare transitions; or, if its behaviour is to be learned, give the manager "
                "learning_mode=True",
                cls.name,
                extra=about("nothing_judged", specification=cls.name),
            )

    def _may_be(self, cls: type[Specification], state: str) -> bool:
        try:
            models = self._manager.all_impl_models()
        except SpexError:
            return True  # the call that follows has the error to report
        model = next((model for model in models if model.specification == cls.name), None)
        if model is not None and any(state in (t.source, t.target) for t in model.transitions):
            return True
        # A model that was made because there was none learns as well, so that alone allows nothing.
        return not self._manager.opens and (model is None or model.learning_mode)

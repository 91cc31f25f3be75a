"""Where observed functions, tracked blocks and adapters report to: the port between them and the managers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .specification import Specification


class Receiver(Protocol):
    """Receives what was observed. The façade's hands it to the default manager, whose mode says what may be raised."""

    def off(self, cls: type[Specification]) -> bool:
        """Return whether nothing is observed of this specification; then the other methods need not be called."""

    def init(self, cls: type[Specification], identifier: Any, state: str | None, *, waits: bool) -> None:
        """Report that an instance has come into being, in a state (None: the specification's initial state)."""

    def step(
        self, cls: type[Specification], identifier: Any, action: str | None, to_state: str | None,
        initial_state: str | None = None, *, waits: bool,
    ) -> None:  # fmt: skip
        """Report a transition; an instance that does not exist is created first. See `InstanceManager.step`."""

    def lost(self, cls: type[Specification], error: Exception) -> None:
        """Report that an observation failed by an error of the application's own, such as a bad identifier.

        It is raised where the mode is "enforce".
        """


class _Nowhere:
    """Stands for the receiver until the façade is imported."""

    def off(self, cls: type[Specification]) -> bool:  # noqa: ARG002 - the port's
        return True

    def init(self, *_: Any, **__: Any) -> None:
        """Do nothing."""

    def step(self, *_: Any, **__: Any) -> None:
        """Do nothing."""

    def lost(self, *_: Any) -> None:
        """Do nothing."""


receiver: Receiver = _Nowhere()
"""The receiver in use. Read it at each observation: it may be replaced."""


def install(new: Receiver) -> Receiver:
    """Make `new` the receiver; return the one before."""
    global receiver
    before, receiver = receiver, new
    return before

"""The part of a manager that knows modes, and what became of observations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..domain.specification import Specification
from ..errors import SpexError
from ..messages.specifications import declaration_arguments
from ..runtime.lifetime import Lifetime
from ..runtime.transport import Transport
from .ledger import Ledger, Losses
from .modes import Modes
from .observer import Observer
from .settings import mode_of_environment


class Observed(Lifetime):
    """A lifetime with modes; the base class of `InstanceManager`.

    Args:
        connect: Opens and returns the transport; called when the manager is started.
        options: The value of every option.

    Attributes:
        options: The value of every option.
        modes: Decides the mode of each observation.
        ledger: Counts what becomes of observations.
        observer: The observing calls of all modes but plain ``"enforce"``.
        notes_sightings: Whether the shards note what they see, for `spex_shards.manager.sightings`; set it before the
            start.
    """

    notes_sightings = False

    _is_plain = True
    """Whether the mode is "enforce" and all instances are observed: then calls need no observer."""

    def __init__(self, connect: Callable[[], Transport], options: dict[str, Any]) -> None:
        super().__init__(
            connect,
            data_dir=options["data_dir"],
            shutdown_timeout=options["shutdown_timeout"],
            on_message=options["on_message"],
        )
        self.options = options
        self.modes = Modes(options["mode"], mode_of_environment())
        self.ledger = Ledger(options["report_interval"])
        self.observer = Observer(self, self.modes, self.ledger, options["observe_timeout"], options["sample"])
        self._known: set[type[Specification]] = set()
        self.mode = options["mode"]

    @property
    def mode(self) -> str:
        """The mode of observations whose specification has none of its own; it can be changed at any time.

        While the environment variable ``SPEX_SHARDS_MODE`` is set, it decides, and an assignment has no effect.

        Raises:
            ValueError: The assigned value is no mode.
        """
        return self.modes.usual

    @mode.setter
    def mode(self, mode: str) -> None:
        self.modes.usual = mode
        self.observer.mode_changed()
        self._is_plain = self.mode == "enforce" and self.options["sample"] >= 1

    def step(
        self,
        specification: type[Specification],
        identifier: Any,
        action: str | None = None,
        to_state: str | None = None,
        initial_state: str | None = None,
        *,
        waits: bool = True,
    ) -> None:
        """Observe a transition of an instance, which is created first if it does not exist.

        Both are one request: another process cannot come in between, and there is no error if the instance exists.
        `Specification.observes`, `Specification.tracking` and the adapters report by this call.

        Args:
            specification: The specification of the instance.
            identifier: As in `init_instance`.
            action: The action; None: the instance is created, if it does not exist, and nothing else happens.
            to_state: The state that the action led to; None exactly if `action` is None.
            initial_state: The state in which the instance is created; by default the specification's initial state.
            waits: Whether the call waits as `transition` does, or not, as `transition_nowait`.

        Raises:
            SpexError: As `transition` or `transition_nowait`; `IdentifierInUse` if the identifier belongs to an
                instance of another specification.
        """
        self.observer.step(specification, identifier, action, to_state, initial_state, waits=waits)

    def losses(self) -> Losses:
        """Return what became of this process's observations in the modes ``"observe"`` and ``"warn"``; never blocks."""
        return self.ledger.losses({} if self.transport is None else self.transport.failed())

    def close(self) -> None:
        """Close the manager as `Lifetime.close` does; but only ``"enforce"`` raises the errors of observations."""
        super().close()
        self.ledger.report_if_due(closing=True)

    def transport_for(self, cls: type[Specification] | None, within: float | None = None) -> Transport:
        """Return the open transport, whose shards know the specification.

        Args:
            cls: The specification, or None if none is needed.
            within: The most seconds to wait; None: no limit.

        Raises:
            SpexError: The manager is not open, or the wait has ended.
        """
        transport = self._open
        if cls is not None and cls not in self._known:
            self._will_declare(cls)
            transport.declare(cls.name, declaration_arguments(cls, ships=transport.ships), within)
            # Only after the declaration: another thread that finds the class here sends its request at once.
            self._known.add(cls)
        return transport

    def check_state(self, cls: type[Specification], state: str, what: str) -> None:
        """Raise `ValueError` if neither the specification nor its model has a state; this may ask the shards."""
        raise NotImplementedError

    def _will_declare(self, cls: type[Specification]) -> None:
        """Note that a specification is used for the first time."""

    def _unapplied(self, errors: list[SpexError]) -> None:
        if self.mode == "enforce":
            super()._unapplied(errors)

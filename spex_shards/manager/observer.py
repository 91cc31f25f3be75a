"""The observing calls of a manager in all modes but plain ``"enforce"``: they may wait and raise less.

::

    call ─▶ check what comes from code (raises) ─▶ sample ─▶ offer to the transport ─┬─ answered: count
                                                                                     └─ an error: the mode decides

# Guarantees:
#
# * In the modes ``"off"``, ``"observe"`` and ``"warn"`` nothing is raised for what was observed, and for nothing that
#   happens to shards, disks and processes. What comes from the program's code is checked as in all modes: the types of
#   actions, states and specifications.
# * An exception that a signal handler raises in the middle of a call is the program's, and is raised in all modes.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from ..domain.specification import OWN_MODES, Specification
from ..errors import DeviationWarning, SpexError, TransitionError
from ..messages import operations as ops
from ..runtime.protocol.operations import Operation
from ..runtime.system.turns import interruption
from .arguments import initial_state_of, key_of, meta_of, specification_of, state_name, transition_names
from .ledger import Ledger
from .modes import Modes, sampler

_PACKAGE: Final = f"{Path(__file__).resolve().parents[1]}/"
_MOST_WARNED: Final = 10_000
"""No further deviations are warned of in one process: their states seem to come from data."""
_warned: set[tuple[str, ...]] = set()


class Observing(Protocol):
    """The part of a `Transport` that an observer uses; see there."""

    def call(self, key: bytes, operation: Operation, arguments: tuple[Any, ...]) -> Any:
        """Have an operation carried out, and wait for that."""

    def post(self, key: bytes, operation: Operation, arguments: tuple[Any, ...]) -> None:
        """Send an operation."""

    def offer(
        self, key: bytes, operation: Operation, arguments: tuple[Any, ...], within: float, *, waits: bool
    ) -> None:
        """Do either, for a bounded time."""


class Ready(Protocol):
    """What is behind an observer: a manager, or what stands for it until it is started."""

    def transport_for(self, cls: type[Specification] | None, within: float | None = None) -> Observing:
        """Return the transport, which knows `cls`, within so many seconds.

        Raises:
            SpexError: It is not open, or the wait has ended.
        """


class Checking(Ready, Protocol):
    """A manager, as an observer uses it."""

    def check_state(self, cls: type[Specification], state: str, what: str) -> None:
        """Raise `ValueError` if there is no such state."""


class Observer:
    """The observing calls of a manager.

    Each returns None, or the error that `returns` asks for. If not `waits`, it does not wait for the answer.

    Args:
        manager: The manager.
        modes: Decides the mode of each observation.
        ledger: Counts what becomes of observations.
        timeout: The most seconds that a call waits.
        share: The share of instances that are observed.

    Attributes:
        idle: Whether no call does anything.
        behind: The manager, or what keeps observations until it is started.
    """

    def __init__(self, manager: Checking, modes: Modes, ledger: Ledger, timeout: float, share: float) -> None:
        self.behind: Ready = manager
        self._manager = manager
        self._modes = modes
        self._ledger = ledger
        self._timeout = timeout
        self._is_sampled = sampler(share)
        self.mode_changed()

    def mode_changed(self) -> None:
        """Note that the manager's mode has changed."""
        self._off = self._modes.usual == "off"

    @property
    def idle(self) -> bool:
        """Whether no call does anything."""
        return self._off and self._modes.of_transitions() == "off"

    # ------------------------------------------------------------------ calls

    def transition(
        self, identifier: Any, action: Any, to_state: Any, *, waits: bool = True, returns: bool = False
    ) -> SpexError | None:
        """See `InstanceManager.transition`."""
        if self._off and (not OWN_MODES or self.idle):
            return None
        action, to_state = transition_names(action, to_state)
        modes = self._modes
        operation = ops.TRANSITION_IF_KNOWN if modes.some_are_off() else ops.TRANSITION
        return self._observe(
            operation, None, modes.of_transitions(), identifier, None, lambda key, _: (key, action, to_state),
            waits=waits, returns=returns,
        )  # fmt: skip

    def init_instance(
        self,
        specification: Any,
        identifier: Any,
        meta: Any = None,
        initial_state: Any = None,
        *,
        waits: bool = True,
        returns: bool = False,
    ) -> SpexError | None:
        """See `InstanceManager.init_instance`."""
        if self._off and not OWN_MODES:
            return None
        cls = specification_of(specification)
        mode = self._modes.of(cls)
        if mode == "off":
            return None
        state = initial_state_of(cls, initial_state)
        if mode == "enforce" and state is not None:
            self._manager.check_state(cls, state, "initial_state")
        return self._observe(
            ops.INIT, cls, mode, identifier, meta, lambda key, data: (cls.name, key, data, state),
            waits=waits, returns=returns,
        )  # fmt: skip

    def step(
        self, specification: Any, identifier: Any, action: Any, to_state: Any, initial_state: Any, *, waits: bool
    ) -> SpexError | None:
        """See `InstanceManager.step`."""
        if self._off and not OWN_MODES:
            return None
        cls = specification_of(specification)
        mode = self._modes.of(cls)
        if (action is None) != (to_state is None):
            raise ValueError(f"an action and a state go together, got: {action!r}, {to_state!r}")
        names = (None, None) if action is None else transition_names(action, to_state)
        state = initial_state_of(cls, initial_state)
        if mode == "off":
            return None
        return self._observe(
            ops.STEP, cls, mode, identifier, None, lambda key, _: (cls.name, key, state, *names), waits=waits
        )

    def lost(self, specification: type[Specification], error: Exception) -> None:
        """Count and log that something could not be observed by an error of the application's own.

        Raises:
            Exception: The error, where the mode is "enforce".
        """
        mode = self._modes.of(specification)
        if mode == "enforce":
            raise error
        if mode != "off":
            self._ledger.failure(error, ops.STEP.name, specification.name)

    def mock_instance(self, specification: Any, identifier: Any, state: Any, meta: Any = None) -> SpexError | None:
        """See `InstanceManager.mock_instance`."""
        if self._off and not OWN_MODES:
            return None
        cls = specification_of(specification)
        target, mode = state_name(state), self._modes.of(cls)
        if mode == "enforce":
            self._manager.check_state(cls, target, "state")
        if mode == "off":
            return None
        return self._observe(ops.MOCK, cls, mode, identifier, meta, lambda key, data: (cls.name, key, data, target))

    def delete_instance(self, identifier: Any) -> SpexError | None:
        """See `InstanceManager.delete_instance`."""
        mode = self._modes.of_transitions()
        if mode == "off":
            return None
        return self._observe(ops.DELETE, None, mode, identifier, None, lambda key, _: (key,))

    # ------------------------------------------------------------------ inside

    def _observe(
        self,
        operation: Operation,
        cls: type[Specification] | None,
        mode: str,
        identifier: Any,
        meta: Any,
        arrange: Callable[[bytes, bytes | None], tuple[Any, ...]],
        *,
        waits: bool = True,
        returns: bool = False,
    ) -> SpexError | None:
        raises = mode == "enforce"
        try:
            key = key_of(identifier)
            if self._is_sampled is not None and not self._is_sampled(key):
                return None
            arguments = arrange(key, None if meta is None else meta_of(meta))
            transport = self.behind.transport_for(cls, None if raises else self._timeout)
            if raises:
                (transport.call if waits else transport.post)(key, operation, arguments)
            else:
                transport.offer(key, operation, arguments, self._timeout, waits=waits)
        except SpexError as error:
            if interruption(error) is not None:
                raise  # a signal handler of the application raised it: it does not belong to this call
            return self._failed(error, mode, operation, identifier, returns=returns)
        except (TypeError, ValueError) as error:
            return self._malformed(error, operation, identifier, raises=raises, returns=returns)
        if not raises:
            self._count(waits=waits)
        return None

    def _malformed(
        self, error: Exception, operation: Operation, identifier: Any, *, raises: bool, returns: bool
    ) -> SpexError | None:
        """Handle that the identifier or meta cannot be kept."""
        if raises or interruption(error) is not None:
            raise error
        self._ledger.failure(error, operation.name, identifier)
        return SpexError(f"the observation cannot be kept: {error}") if returns else None

    def _count(self, *, waits: bool) -> None:
        ledger = self._ledger
        if waits:
            ledger.kept += 1
        else:
            ledger.posted += 1
        if ledger.unreported:
            ledger.report_if_due()

    def _failed(
        self, error: SpexError, mode: str, operation: Operation, identifier: Any, *, returns: bool
    ) -> SpexError | None:
        mode = self._modes.of_error(error) or mode
        if mode == "enforce":
            if returns:
                return error
            raise error
        if not isinstance(error, TransitionError):
            self._ledger.failure(error, operation.name, identifier)
        elif mode != "off":
            self._ledger.deviation()
            if mode == "warn" and not returns:
                _warn(error)
        return error if returns and mode != "off" else None


def _warn(error: TransitionError) -> None:
    """Warn of a deviation at the place of the application's call, unless this process was warned of it before."""
    cls = getattr(error.context.get("instance"), "specification_name", "")
    deviation = (cls, str(error.context.get("deviating_transition")), type(error).__name__)
    if deviation in _warned or len(_warned) >= _MOST_WARNED:
        return
    _warned.add(deviation)
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(f"{error.reason}: {error}", DeviationWarning, stacklevel=level)

"""Observes the machines of the library ``python-statemachine`` (3 or later), through its listeners.

::

    from spex_shards.adapters.statemachine import observe

    observe(TrafficLight)  # all machines of a class that are made from now on
    observe(machine)  # this machine

A step is reported when the machine has taken it: an event that is refused, and a step that the machine undoes because a
callback raised, are not reported.
"""

from __future__ import annotations

from typing import Any

from statemachine import StateChart
from statemachine.engines.async_ import AsyncEngine

from ..domain.transition import INTERNAL
from .reading import from_machine
from .statemachine_states import path_of
from .subject import Adapter, Source, Subject

_adapters: list[Adapter] = []
"""The adapters of this process; a listener that is pickled or copied finds its own by the number."""


def observe(machine: Any, specification: Source = None, *, identifier: Any = None, wait: bool | None = None) -> Any:
    """Observe a machine, or all machines of a class that are made from now on; return it.

    Args:
        machine: A machine, or a class of machines; it can be used as a decorator of the class.
        specification: The specification; a function of the machine that returns it, or None for a machine that is not
            observed; by default it is derived (`Specification.from_machine`).
        identifier: The identifier of the instance: the name of an attribute of the machine's model, or a function of
            the model. By default each machine is an instance of its own, under a random identifier.
        wait: Whether a step returns only when its report is stored. Default: True, but False for machines with
            asynchronous callbacks.

    Raises:
        TypeError: `machine` is no machine; `specification` or `identifier` does not fit.
        ValueError: No specification was given, and the machine has none: states are parallel, or remember a history.
    """
    is_class = isinstance(machine, type) and issubclass(machine, StateChart)
    if not (is_class or isinstance(machine, StateChart)):
        raise TypeError(f"only a machine of python-statemachine, or its class, can be observed, got: {machine!r}")
    if specification is None and machine.initial_state is not None:
        specification = from_machine(machine)
    adapter = Adapter(specification, identifier, wait=wait, derive=from_machine)
    _adapters.append(adapter)
    number = len(_adapters) - 1
    if is_class:
        machine._class_listeners = [*machine._class_listeners, _Maker(number)]
    else:
        machine.add_listener(Listener(number))
    return machine


class _Maker:
    """Makes the listener of a machine; the library calls it for each machine of a class."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __call__(self) -> Listener:
        return Listener(self._number)


class Listener:
    """Reports the steps of one machine; its methods are called by the library.

    Args:
        number: The number of the adapter in this process.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._subject: Subject | None = None
        self._begun = False
        self._exiting: object = None
        self._last: object = None
        self._untold: str | None = None

    def on_enter_state(self, event: Any, machine: Any) -> None:
        """Note the first state, and otherwise which event leads to another one."""
        if str(event) != "__initial__":
            self._untold = _action(event)
            return
        self._begin(machine)
        if self._subject is not None:
            self._subject.state = state_name(machine)  # the last of the states that are entered counts

    def on_exit_state(self, event_data: Any, machine: Any) -> None:
        """Note in which state the machine is before a step."""
        trigger = event_data.trigger_data
        if trigger is self._exiting:
            return
        self._exiting = trigger
        self._begin(machine)
        if self._subject is not None and not self._subject.off:
            state = state_name(machine)
            if self._untold is not None and state != self._subject.state:
                self._subject.did(self._untold, state)  # a callback raised after that step
            self._subject.was(state)
        self._untold = None

    def after_transition(self, event: Any, event_data: Any, machine: Any) -> None:
        """Report a step; of the transitions that parallel states take together, only the first."""
        trigger = event_data.trigger_data
        if trigger is self._last or str(event) == "__initial__":
            return
        self._last, self._untold = trigger, None
        self._begin(machine)
        if self._subject is not None and not self._subject.off:
            self._subject.did(_action(event), state_name(machine))

    def _begin(self, machine: Any) -> None:
        if self._begun:
            return
        self._begun = True
        adapter = _adapters[self._number] if self._number < len(_adapters) else None
        if adapter is not None:
            in_loop = isinstance(getattr(machine, "_engine", None), AsyncEngine)
            self._subject = adapter.subject(machine, machine.model, in_loop=in_loop)
            if self._subject is not None:
                self._subject.state = state_name(machine)

    def __reduce__(self) -> tuple[type[Listener], tuple[int]]:
        return Listener, (self._number,)


def _action(event: Any) -> str:
    return INTERNAL if event is None else str(event)


def state_name(machine: Any) -> str:
    """Return the name of a machine's state: of the innermost ones, with the states around them; parallel: ``a & b``."""
    # In order of their names: the library keeps them in the order in which they were entered.
    return " & ".join(sorted(path_of(state) for state in machine.configuration if state.is_atomic))

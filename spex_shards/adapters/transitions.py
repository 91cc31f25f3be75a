"""Observes the machines of the library ``transitions``: Machine, AsyncMachine, LockedMachine, HierarchicalMachine.

::

    from spex_shards.adapters.transitions import observe

    observe(machine)  # this machine, and all its models
    observe(Machine)  # all machines of a class

The first call wraps three methods of the library, once: `Transition.execute`, its asynchronous twin, and
`Machine.set_state`. So a step is reported at the moment at which the state changes, in the right order even if a
callback triggers the next event, and machines look, compare and pickle as before.

# Guarantees:
#
# * A step is reported if the state has changed, whether or not a later callback raises; and an internal transition if
#   it was carried out. An event that is refused is not reported.
# * The library's own results and exceptions stay what they are. Where the mode is "enforce", an error of a report is
#   raised when the transition is complete and has not raised itself.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from functools import wraps
from typing import Any

from transitions import core
from transitions.extensions import asyncio as asynchronous
from transitions.extensions import nesting

from .reading import from_machine
from .subject import Adapter, Source, Subject, Weakly, logger

_machines: Weakly[Adapter] = Weakly()
_classes: dict[type, Adapter] = {}
_models: Weakly[_Models] = Weakly()
_running: ContextVar[tuple[_Run, ...]] = ContextVar("spex_shards_running", default=())
_wrapped = False


def observe(machine: Any, specification: Source = None, *, identifier: Any = None, wait: bool | None = None) -> Any:
    """Observe a machine, or all machines of a class; return it, so that it can be used as a decorator.

    Args:
        machine: A machine of any kind, or a class of machines.
        specification: The specification of its models; a function of the machine that returns it, or None for a machine
            that is not observed; by default it is derived (`Specification.from_machine`).
        identifier: The identifier of a model: the name of one of its attributes, or a function of it. By default each
            model is an instance of its own, under a random identifier.
        wait: Whether a transition returns only when its report is stored. Default: True, but False for asynchronous
            machines.

    Raises:
        TypeError: `machine` is no machine; `specification` or `identifier` does not fit.
        ValueError: No specification was given, and the machine has none: its states are parallel, or there are none.
    """
    if isinstance(machine, type) and issubclass(machine, core.Machine):
        _classes[machine] = Adapter(specification, identifier, wait=wait, derive=from_machine)
    elif isinstance(machine, core.Machine):
        cls = Adapter(specification, identifier, wait=wait, derive=from_machine).specification_of(machine)
        if cls is not None:
            _machines.put(machine, Adapter(cls, identifier, wait=wait, derive=from_machine))
        _models.drop(machine)
    else:
        raise TypeError(f"only a machine of the library transitions can be observed, got: {machine!r}")
    _wrap()
    return machine


def state_name(machine: Any, state: Any) -> str:
    """Return the name of a state as `observe` reports it; the states of parallel regions are joined by `` & ``."""
    if isinstance(state, (list, tuple)):
        return " & ".join(state_name(machine, one) for one in state)
    if isinstance(state, Enum):
        path = getattr(machine, "_get_enum_path", None)
        return machine.state_cls.separator.join(path(state)) if path is not None else state.name
    return str(state)


class _Models:
    """The models of one machine, as subjects."""

    def __init__(self, machine: Any, adapter: Adapter) -> None:
        self._adapter = adapter
        self._machine = weakref.ref(machine)
        self._subjects: Weakly[Subject | None] = Weakly()

    def subject(self, model: Any) -> Subject | None:
        subjects = self._subjects
        if not subjects.knows(model):
            machine = self._machine()
            in_loop = isinstance(machine, asynchronous.AsyncMachine)
            subjects.put(model, self._adapter.subject(machine, model, in_loop=in_loop))
        return subjects.get(model)


class _Run:
    """One transition that is being executed."""

    __slots__ = ("action", "error", "internal", "machine", "model", "subject", "told")

    def __init__(self, event: Any, transition: Any, subject: Subject) -> None:
        self.machine, self.model, self.action = event.machine, event.model, event.event.name
        self.internal = not transition.dest
        self.subject = subject
        self.told = False
        self.error: Exception | None = None

    @property
    def state(self) -> str:
        return state_name(self.machine, getattr(self.model, self.machine.model_attribute))

    def begin(self) -> None:
        for run in _running.get():
            if run.internal and not run.told and run.model is self.model:
                run.tell()  # it was accepted, and comes before what its callback now triggers
        self._safely(self.subject.was)

    def tell(self) -> None:
        self.told = True
        self._safely(lambda state: self.subject.did(self.action, state))

    def _safely(self, report: Any) -> None:
        try:
            report(self.state)
        except Exception as error:
            self.error = error

    def end(self, done: bool) -> None:
        """End without an exception of the library or of a callback."""
        if done and not self.told:
            self.tell()
        if self.error is not None:
            raise self.error

    def cut_off(self) -> None:
        if self.error is not None:
            logger.error("a transition of %s, which raised: %s", self.action, self.error)


def _run_for(transition: Any, event: Any) -> _Run | None:
    subject = _subject(event.machine, event.model)
    return None if subject is None or subject.off else _Run(event, transition, subject)


def _subject(machine: Any, model: Any) -> Subject | None:
    models = _models.get(machine)
    if models is None:
        adapter = _adapter(machine)
        if adapter is None:
            return None
        models = _models.put(machine, _Models(machine, adapter))
    return models.subject(model)


def _adapter(machine: Any) -> Adapter | None:
    found = _machines.get(machine)
    if found is None and _classes:
        found = next((_classes[cls] for cls in type(machine).__mro__ if cls in _classes), None)
    return found


def _wrap() -> None:
    global _wrapped
    if _wrapped:
        return
    _wrapped = True
    for cls in (core.Transition, asynchronous.AsyncTransition):
        wrap = _around_async if inspect.iscoroutinefunction(cls.execute) else _around
        cls.execute = wrap(cls.execute)  # type: ignore[method-assign]
    for machine in (core.Machine, nesting.HierarchicalMachine):
        machine.set_state = _after_change(machine.set_state)  # type: ignore[method-assign]


@contextmanager
def _current(run: Any) -> Iterator[None]:
    """Within the block, `run` is what changes of state belong to; an exception cuts it off."""
    run.begin()
    token = _running.set((*_running.get(), run))
    try:
        yield
    except BaseException:
        run.cut_off()
        raise
    finally:
        _running.reset(token)


def _around(execute: Any) -> Any:
    @wraps(execute)
    def observed(self: Any, event_data: Any) -> Any:
        run = _run_for(self, event_data)
        if run is None:
            return execute(self, event_data)
        with _current(run):
            done = execute(self, event_data)
        run.end(done)
        return done

    return observed


def _around_async(execute: Any) -> Any:
    @wraps(execute)
    async def observed(self: Any, event_data: Any) -> Any:
        run = _run_for(self, event_data)
        if run is None:
            return await execute(self, event_data)
        with _current(run):
            done = await execute(self, event_data)
        run.end(done)
        return done

    return observed


def _after_change(set_state: Any) -> Any:
    @wraps(set_state)
    def observed(self: Any, state: Any, model: Any = None) -> Any:
        result = set_state(self, state, model)
        runs = _running.get()
        if runs and not runs[-1].told and runs[-1].model is model and runs[-1].machine is self:
            runs[-1].tell()
        return result

    return observed

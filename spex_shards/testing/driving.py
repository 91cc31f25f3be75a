"""Drives an object along its specification, and off it, by a state machine of Hypothesis.

Along: every action that the specification allows after what was done must be carried out. Off: every other action must
be refused, and must leave the state as it was. Each action that was carried out is reported to a manager, which learns.
"""

from __future__ import annotations

import inspect
import itertools
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import facade
from ..checking.runs import RunChecker
from ..domain.names import as_name
from ..domain.specification import Specification, is_specification
from ..domain.transition import INTERNAL

if TYPE_CHECKING:
    from hypothesis.stateful import RuleBasedStateMachine

    from ..manager import InstanceManager

_numbers = itertools.count(1)


def state_machine(
    specification: type[Specification],
    drive: Callable[[], Any],
    *,
    actions: Mapping[str, str | Callable[..., Any] | None] | None = None,
    state: str | Callable[[Any], Any] = "state",
    refusals: type[BaseException] | tuple[type[BaseException], ...] = Exception,
    off: bool = True,
    manager: InstanceManager | None = None,
) -> type[RuleBasedStateMachine]:
    """Return a state machine of Hypothesis that drives an object along a specification and off it, and learns.

    ::

        TestOrder = state_machine(Order, Shop, refusals=Refused).TestCase

    A run fails if the object refuses an action that the specification allows, carries out one that it does not allow,
    changes its state when it refuses, or says that it is in another specified state than the one it must be in. Where
    the specification leaves a choice, the object may carry out or refuse what only some of the possible states allow.
    Carried out actions are observed in any case, so the model of the test run has the step that makes a run fail.

    Args:
        specification: The specification.
        drive: Returns a new object, in its initial state.
        actions: How an action is carried out: the name of the object's method, or a function of the object, or of the
            object and ``draw``, which draws a value from a strategy. None: the action is not driven. By default an
            action is the method of its name, with ``_`` for characters that a name in Python must not have.
        state: The name of the attribute that says which state the object is in, or a function of the object. States are
            `str` or `str`-valued Enum members.
        refusals: The exceptions by which the object refuses an action; any other fails the run.
        off: Whether actions that are not allowed are tried too.
        manager: The manager that observes; default: the one of the module-level calls, which is that of the test run
            under the pytest plugin and within `prepare_for_test_suite`.

    Raises:
        TypeError: `specification` is not a specification with transitions, `drive` is not callable, or a class that has
            no method for an action.
        ValueError: `actions` has an action that the specification has not.
        ModuleNotFoundError: Hypothesis is not installed.
    """
    from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
    from hypothesis.strategies import data

    if not is_specification(specification) or specification.initial_state is None:
        raise TypeError(f"the specification must be a Specification class with transitions, got: {specification!r}")
    if not callable(drive):
        raise TypeError(f"drive must be a callable that returns a new object, got: {drive!r}")
    deeds = _deeds(specification, drive, actions or {})
    read = state if callable(state) else _reader(state)
    plan = _Plan(specification, drive, read, refusals, manager)
    body: dict[str, Any] = {"__init__": _begin(plan), "teardown": _end}
    made: Any = rule  # its types do not allow a dict of strategies
    for name, deed in _names(deeds).items():
        values = {"data": data()} if deed.draws else {}
        along, aside = _rule(f"do_{name}", _along, deed), _rule(f"refused_{name}", _off, deed)
        body[along.__name__] = precondition(_is_allowed(deed.action))(made(**values)(along))
        if off:
            body[aside.__name__] = precondition(_is_refused(deed.action))(made(**values)(aside))
    if not off:
        body["rest"] = rule()(lambda self: None)  # noqa: ARG005 - a run may be at its end
    return type(f"{specification.__name__}StateMachine", (_Walk, RuleBasedStateMachine), body)


@dataclass(frozen=True, slots=True)
class _Deed:
    """How an action is carried out on the object; `draws`: the second argument draws values from strategies."""

    action: str
    run: Callable[..., Any]
    draws: bool = False


@dataclass(frozen=True, slots=True)
class _Plan:
    specification: type[Specification]
    drive: Callable[[], Any]
    read: Callable[[Any], Any]
    refusals: Any
    manager: InstanceManager | None

    @property
    def observer(self) -> Any:
        return facade if self.manager is None else self.manager


class _Walk:
    """One run: the object, and where it is in the specification."""

    plan: _Plan

    def begin(self, plan: _Plan) -> None:
        self.plan = plan
        self.runs = RunChecker(plan.specification.lts)
        self.object = plan.drive()
        self.identifier = ("state_machine", os.getpid(), next(_numbers))
        self.position = self.runs.start
        self.now = self.read()
        self.settle("at the start")
        plan.observer.init_instance(plan.specification, self.identifier, initial_state=self.now)

    def read(self) -> str:
        found = self.plan.read(self.object)
        name = as_name(found)
        if name is None:
            raise TypeError(f"the state of the object must be a str or a str-valued Enum member, got: {found!r}")
        return name

    def settle(self, when: str) -> None:
        """Check the name of the state that the object says it is in; it tells which of the possible states it is."""
        possible = self.runs.states(self.position)
        if self.now in possible:
            self.position = self.runs.named(self.now)
        elif self.now in self.plan.specification.states:
            raise AssertionError(
                f"{when} the object is in {self.now!r}, and the specification is in {' or '.join(map(repr, possible))}"
            )

    def may(self, action: str) -> bool:
        return self.runs.step(self.position, action) is not None

    def must(self, action: str) -> bool:
        states = self.runs.states(self.position)
        return all(self.runs.step(self.runs.named(state), action) is not None for state in states)

    def tried(self, deed: _Deed, data: Any) -> BaseException | None:
        """Carry out an action; return the object's refusal, which must have left the state as it was."""
        from hypothesis.errors import HypothesisException

        try:
            answer = deed.run(self.object, data.draw) if deed.draws else deed.run(self.object)
        except HypothesisException:
            raise
        except self.plan.refusals as refusal:
            after = self.read()
            if after != self.now:
                raise AssertionError(
                    f"the object refused ({type(refusal).__name__}: {refusal}) and went from {self.now!r} to {after!r}"
                ) from refusal
            return refusal  # type: ignore[no-any-return]
        if inspect.isawaitable(answer):
            if inspect.iscoroutine(answer):
                answer.close()
            raise TypeError("an action must be carried out when its call returns: give a function that awaits it")
        return None

    def observe(self, action: str) -> None:
        self.now = self.read()
        self.plan.observer.transition(self.identifier, action, self.now)


def _along(walk: _Walk, deed: _Deed, data: Any) -> None:
    before, action = walk.now, deed.action
    refusal = walk.tried(deed, data)
    if refusal is not None:
        if walk.must(action):
            raise AssertionError(
                f"the specification allows {action} in {before!r}, and the object refused"
            ) from refusal
        return
    walk.observe(action)
    following = walk.runs.step(walk.position, action)
    assert following is not None
    walk.position = following
    walk.settle(f"after {action} in {before!r}")


def _off(walk: _Walk, deed: _Deed, data: Any) -> None:
    before, action = walk.now, deed.action
    if walk.tried(deed, data) is None:
        walk.observe(action)
        raise AssertionError(
            f"the specification does not allow {action} in {before!r}, and the object went to {walk.now!r}"
        )


def _begin(plan: _Plan) -> Callable[[Any], None]:
    def __init__(self: Any) -> None:  # noqa: N807 - it becomes the method of that name
        super(_Walk, self).__init__()
        self.begin(plan)

    return __init__


def _end(self: Any) -> None:
    self.plan.observer.delete_instance(self.identifier)


def _is_allowed(action: str) -> Callable[[Any], bool]:
    return lambda self: self.may(action)


def _is_refused(action: str) -> Callable[[Any], bool]:
    return lambda self: not self.may(action)


def _rule(name: str, step: Callable[[_Walk, _Deed, Any], None], deed: _Deed) -> Callable[..., None]:
    def carry_out(self: Any, data: Any = None) -> None:
        step(self, deed, data)

    def carry_out_alone(self: Any) -> None:
        step(self, deed, None)

    function = carry_out if deed.draws else carry_out_alone
    function.__name__ = function.__qualname__ = name
    return function


def _deeds(specification: type[Specification], drive: Callable[[], Any], given: Mapping[str, Any]) -> list[_Deed]:
    unknown = set(given) - set(specification.actions)
    if unknown:
        raise ValueError(f"{specification.name} has no action {', '.join(sorted(map(repr, unknown)))}")
    driven = [action for action in specification.actions if action != INTERNAL and given.get(action, "") is not None]
    return [_deed(action, given.get(action, _identifier(action)), drive) for action in driven]


def _deed(action: str, how: Any, drive: Callable[[], Any]) -> _Deed:
    if callable(how):
        return _Deed(action, how, draws=len(inspect.signature(how).parameters) > 1)
    if isinstance(drive, type) and not callable(getattr(drive, how, None)):
        raise TypeError(f"{drive.__name__} has no method {how} for the action {action!r}: name one in `actions`")
    return _Deed(action, lambda target: getattr(target, how)())


def _reader(name: str) -> Callable[[Any], Any]:
    return lambda target: getattr(target, name)


def _identifier(action: str) -> str:
    return re.sub(r"\W", "_", action) or "_"


def _names(deeds: list[_Deed]) -> dict[str, _Deed]:
    """Return the actions by names that Python allows, no name twice."""
    names: dict[str, _Deed] = {}
    for deed in deeds:
        name = _identifier(deed.action)
        while name in names:
            name += "_"
        names[name] = deed
    return names

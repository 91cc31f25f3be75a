"""`Specification.observes`: a decorator that reports what the calls of a function did.

::

    call ─▶ off? ─▶ find the identifier ─▶ the function ─┬─ returned: report the action, return the result
                                                         └─ raised: report `on_error`, raise on
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeVar

from . import receiving
from .locating import Locator
from .names import as_name
from .on_error import OnError
from .transition import INITIALISATION

if TYPE_CHECKING:
    from .specification import Specification

F = TypeVar("F")


class Observation:
    """How the calls of a function are reported; a decorator. See `Specification.observes`."""

    def __init__(
        self,
        cls: type[Specification],
        action: Any,
        *,
        to: Any,
        identifier: Any,
        on_error: Any,
        new: bool,
        wait: bool | None,
    ) -> None:
        self.cls = cls
        self.action = _name_or_none("action", action)
        self.to = to if callable(to) and as_name(to) is None else _name_or_none("to", to)
        self.new = new
        self.wait = wait
        self.identifier = identifier
        self.failures = OnError(on_error, self.action)
        if self.action == INITIALISATION:
            raise ValueError(f"the action must not be the reserved {INITIALISATION!r}; use new=True")
        if not new and (self.action is None or to is None):
            raise TypeError(
                f"{cls.name}.observes() needs an action and to=STATE, unless the function makes the instance (new=True)"
            )
        if self.action is not None and to is None:
            raise TypeError(f"{cls.name}.observes() needs to=STATE for the action {self.action!r}")

    def __call__(self, function: F) -> F:
        """Return `function`, whose calls are reported.

        Raises:
            TypeError: It is a class, a property, a generator function, or cannot be called.
            ValueError: The identifier does not fit its parameters.
        """
        if isinstance(function, (classmethod, staticmethod)):
            return type(function)(self(function.__func__))
        _check_function(self.cls, function)
        locate = Locator(function, self.identifier, makes=self.new)  # type: ignore[arg-type]
        wrapped = _async if inspect.iscoroutinefunction(function) else _sync
        return wrapped(self, locate, function)  # type: ignore[return-value,arg-type]

    def succeeded(self, identifier: Any, result: Any, *, waits: bool) -> None:
        """Report that a call has returned."""
        receiver, cls, to = receiving.receiver, self.cls, self.to
        try:
            state = to(result) if callable(to) else to
            if self.action is not None and state is None:
                return  # the function that computes the state says that nothing happened
            state = _name_or_none("the state that to= returned", state)
        except Exception as error:
            receiver.lost(cls, error)
            return
        if self.new:
            receiver.init(cls, identifier, None if self.action else state, waits=waits)
        if self.action is not None:
            receiver.step(cls, identifier, self.action, state, waits=waits)


class _Run:
    """One call of an observed function."""

    __slots__ = ("_args", "_found", "_identifier", "_kwargs", "_locate", "_rule", "_waits")

    def __init__(self, rule: Observation, locate: Locator, args: Any, kwargs: Any, *, waits: bool) -> None:
        self._rule, self._locate, self._args, self._kwargs = rule, locate, args, kwargs
        self._waits = waits if rule.wait is None else rule.wait
        self._identifier: Any = None
        self._found = not rule.new and self._find(None)

    def _find(self, result: Any) -> bool:
        try:
            self._identifier = self._locate(self._args, self._kwargs, result)
        except Exception as error:
            receiving.receiver.lost(self._rule.cls, error)
            return False
        return True

    def returned(self, result: Any) -> None:
        if self._found or (self._rule.new and self._find(result)):
            self._rule.succeeded(self._identifier, result, waits=self._waits)

    def raised(self, error: BaseException) -> None:
        if self._found:
            self._rule.failures.report(self._rule.cls, self._identifier, error, waits=self._waits)


def _sync(rule: Observation, locate: Locator, function: Callable[..., Any]) -> Callable[..., Any]:
    cls = rule.cls

    @wraps(function)
    def observed(*args: Any, **kwargs: Any) -> Any:
        if receiving.receiver.off(cls):
            return function(*args, **kwargs)
        run = _Run(rule, locate, args, kwargs, waits=True)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            run.raised(error)
            raise
        if type(result) is CoroutineType:  # a coroutine function behind another decorator
            return _awaited(_Run(rule, locate, args, kwargs, waits=False), result)
        run.returned(result)
        return result

    return observed


def _async(rule: Observation, locate: Locator, function: Callable[..., Any]) -> Callable[..., Any]:
    cls = rule.cls

    @wraps(function)
    async def observed(*args: Any, **kwargs: Any) -> Any:
        if receiving.receiver.off(cls):
            return await function(*args, **kwargs)
        return await _awaited(_Run(rule, locate, args, kwargs, waits=False), function(*args, **kwargs))

    return observed


async def _awaited(run: _Run, coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        result = await coroutine
    except BaseException as error:
        run.raised(error)
        raise
    run.returned(result)
    return result


def _check_function(cls: type[Specification], function: Any) -> None:
    what = f"{cls.name}.observes() decorates functions and methods"
    if isinstance(function, type):
        raise TypeError(f"{what}: decorate the class's __init__, with new=True, got the class: {function!r}")
    if isinstance(function, property):
        raise TypeError(f"{what}: decorate the property's function, below @property, got: {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{what}: a generator ends whenever its reader likes; use tracking() inside it, got: {function!r}"
        )
    if not callable(function):
        raise TypeError(f"{what}, got: {function!r}")


def _name_or_none(what: str, value: Any) -> str | None:
    name = as_name(value)
    if name is None and value is not None:
        raise TypeError(f"{what} must be a str or a str-valued Enum member, got: {value!r}")
    return name

"""Services as an application declares them: a class, and what it can be asked for.

::

    class Ledger(Service):
        @command  # changes something: carried out once, whatever happens
        def deposit(self, key, amount: int): ...
        @query  # reads: carried out again when it is sent again
        def balance(self, key): ...
"""

from __future__ import annotations

import inspect
import types
import typing
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeVar, Union

from ..errors import ServiceError, show
from .protocol.codec import decode
from .protocol.operations import BYTES, CALL, Operation, checked_by
from .rows import Rows

_MARK: Final = "_spex_shards_changes"
_Function = TypeVar("_Function", bound=Callable[..., Any])
_PLAIN: Final = (int, str, bytes, float, bool, type(None), list, tuple, dict)


def command(function: _Function) -> _Function:
    """Mark a method of a service as an operation that changes something.

    It is applied exactly once, however often the shard or the application dies meanwhile; its answer is remembered
    until
    the caller has it.
    """
    setattr(function, _MARK, True)
    return function


def query(function: _Function) -> _Function:
    """Mark a method of a service as an operation that changes nothing; it may be carried out more than once."""
    setattr(function, _MARK, False)
    return function


class Service:
    """What runs on each shard: subclass it, and mark its operations with `command` and `query`.

    An operation whose first parameter is called ``key`` belongs to that key's shard; the others are asked of all
    shards.
    A parameter ``call`` (by keyword) gets the `Call`: who asks, and when. Arguments and answers are values as `Rows`
    has
    them; annotations of simple types are checked before anything is sent, and once more in the shard.

    All state that must last belongs into `rows`. What an operation raises undoes what it did there, and nothing
    else: so
    an attribute may hold only what can be made anew from the rows. One operation runs at a time on a shard, and others
    wait: long work does not belong here.

    Args:
        rows: The table without a name; `rows.table` gives others.

    Attributes:
        rows: The same.
        errors: Subclasses of `ServiceError` that reach the caller as themselves.
    """

    errors: ClassVar[tuple[type[ServiceError], ...]] = ()
    _next_tick: float | None = None

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def tick(self, now: float) -> float | None:  # noqa: ARG002
        """Do what is due by itself; called when the shard starts, and whenever the time has come that it returned.

        Args:
            now: Seconds since the epoch.

        Returns:
            When it is to be called next, or None: not by itself. `due` may say something earlier meanwhile.
        """
        return None

    def due(self, at: float) -> None:
        """Have `tick` called at that time, if nothing earlier is due: seconds since the epoch."""
        self._next_tick = at if self._next_tick is None else min(at, self._next_tick)


_declared: weakref.WeakKeyDictionary[type, Declared] = weakref.WeakKeyDictionary()


def declared(cls: type[Service]) -> Declared:
    """Return the operations of a service's class; the same ones each time: operations are compared by identity.

    Raises:
        TypeError: It is no service, or an operation cannot be one; names it and says why.
    """
    found = _declared.get(cls) if isinstance(cls, type) else None
    if found is None:
        found = Declared(cls)
        _declared[cls] = found
    return found


class Declared:
    """The operations of a service's class; see `declared`.

    Args:
        cls: The class.

    Raises:
        TypeError: It is no service, or an operation cannot be one; names it and says why.
    """

    def __init__(self, cls: type[Service]) -> None:
        if not (isinstance(cls, type) and issubclass(cls, Service)):
            raise TypeError(f"a service must be a subclass of runtime.Service, got: {cls!r}")
        self.cls = cls
        self.operations: dict[str, OperationOf] = {}
        for name in dir(cls):
            function = getattr(cls, name)
            if hasattr(function, _MARK):
                self.operations[name] = OperationOf(cls, name, function)
        if not self.operations:
            raise TypeError(f"the service {cls.__qualname__} has no operations: mark methods with command or query")

    def operation(self, name: str, *, keyed: bool) -> OperationOf:
        """Return an operation.

        Raises:
            AttributeError: There is none of that name, or it is asked of one key's shard, or of all, and must not be.
        """
        found = self.operations.get(name)
        if found is None:
            raise AttributeError(
                f"{self.cls.__qualname__} has no operation {name!r}; it has {', '.join(self.operations)}"
            )
        if found.keyed is not keyed:
            how = "belongs to a key: use call or post" if found.keyed else "belongs to no key: use call_all"
            raise AttributeError(f"the operation {name} of {self.cls.__qualname__} {how}")
        return found


class OperationOf:
    """One operation of a class.

    Attributes:
        wire: What stands for it on the wire.
        keyed: Whether it belongs to a key.
        takes_call: Whether it wants the `Call`.
    """

    def __init__(self, cls: type[Service], name: str, function: Any) -> None:
        self.name = name
        self._title = f"{cls.__qualname__}.{name}"
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise TypeError(f"the operation {self._title} must be a plain function: no coroutine and no generator")
        parameters = list(inspect.signature(function).parameters.values())[1:]
        self.keyed = bool(parameters) and parameters[0].name == "key"
        self.takes_call = any(parameter.name == "call" for parameter in parameters)
        wanted = parameters[self.keyed :]
        self._signature = inspect.Signature([p for p in wanted if p.name != "call"])
        self._types = _types_of(function)
        self.wire = Operation(name, CALL, getattr(function, _MARK), posts=self.keyed, check=_wire_rules)

    def bound(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
        """Return the arguments of a call in order, checked, with those that have defaults.

        Raises:
            TypeError: They are not what the operation takes; names the argument, the rule and the value.
        """
        try:
            call = self._signature.bind(*arguments, **named)
        except TypeError as error:
            raise TypeError(f"{self._title}: {error}") from None
        call.apply_defaults()
        values: list[Any] = list(call.args)
        if call.kwargs:
            raise TypeError(f"{self._title}: parameters by keyword alone are not sent: {', '.join(call.kwargs)}")
        for name, value in call.arguments.items():
            allowed = self._types.get(name)
            if allowed is not None and not _fits(value, allowed):
                wanted = " or ".join("None" if kind is type(None) else kind.__name__ for kind in allowed)
                raise TypeError(f"{self._title}: {name} must be {wanted}, got: {show(value)}")
        return values

    def unpacked(self, packed: bytes) -> list[Any]:
        """Return the key, if it has one, and the arguments of a call as a client has sent it.

        Raises:
            ValueError: They are not what the operation takes; names the argument, the rule and the value.
        """
        values = decode(packed)
        if type(values) is not list or (self.keyed and not values):
            raise ValueError(f"{self._title}: the arguments must be a list, got: {show(values)}")
        try:
            return [*values[: self.keyed], *self.bound(tuple(values[self.keyed :]), {})]
        except TypeError as error:
            raise ValueError(str(error)) from None


_wire_rules: Final = checked_by("an operation", BYTES)


def _types_of(function: Any) -> dict[str, tuple[type, ...]]:
    """Return the simple types that annotations allow; what is annotated otherwise is not checked."""
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        return {}
    found = {}
    for name, hint in hints.items():
        options = typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)
        kinds = tuple(typing.get_origin(option) or option for option in options)
        if kinds and all(kind in _PLAIN for kind in kinds):
            found[name] = kinds
    return found


def _fits(value: Any, allowed: tuple[type, ...]) -> bool:
    kind = type(value)
    return kind in allowed or (kind is int and float in allowed)

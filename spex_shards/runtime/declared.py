"""Services of an application: the base class `Service`, and the operations that a subclass declares.

::

    class Ledger(Service):
        @command  # changes state: applied exactly once
        def deposit(self, key, amount: int): ...
        @query  # reads state: may run again when a request is sent again
        def balance(self, key): ...
"""

from __future__ import annotations

import inspect
import types
import typing
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final, TypeVar, Union

from ..errors import ServiceError, SpexError, rebuild, show
from .protocol.codec import decode
from .protocol.operations import BYTES, CALL, Operation, checked_by
from .rows import Rows

_MARK: Final = "_spex_shards_changes"
_Function = TypeVar("_Function", bound=Callable[..., Any])
_PLAIN: Final = (int, str, bytes, float, bool, type(None), list, tuple, dict)


def command(function: _Function) -> _Function:
    """Mark a method of a service as an operation that changes state.

    It is applied exactly once, however often the shard or the application dies meanwhile. The shard stores its answer
    until the caller has received it.
    """
    setattr(function, _MARK, True)
    return function


def query(function: _Function) -> _Function:
    """Mark a method of a service as an operation that changes nothing; it may run more than once per call."""
    setattr(function, _MARK, False)
    return function


class Service:
    """The base class of a service: subclass it, and mark its operations with `command` and `query`.

    An operation whose first parameter is called ``key`` runs on the shard of that key. An operation without ``key``
    runs on all shards. A parameter ``call`` (passed by keyword) receives the `Call`: the calling process and the time.
    Arguments and answers are of the same types as the values of `Rows`. Parameters that are annotated with simple types
    are checked before the request is sent, and again in the shard.

    Keep all state that must last in `rows`. When an operation raises, its changes of the rows are undone, and nothing
    else is. So an attribute may hold only what can be computed again from the rows. A shard runs one operation at a
    time and the others wait, so do no long work in an operation.

    A service whose rows all belong to keys may define ``routing_key(table, key)`` as a staticmethod or classmethod: for
    the row `key` of `table` (the table's name, "" for `rows` itself) it returns the key, as given to `call`, whose
    shard holds that row. `audit.reshard` needs it to change the number of shards, and `audit.verify` checks by it. It
    must compute the answer from its arguments alone. By default a service has none.

    Args:
        rows: The shard's table without a name; `rows.table` returns others.

    Attributes:
        rows: The table without a name.
        errors: Subclasses of `ServiceError` that reach the caller as the same class.
    """

    errors: ClassVar[tuple[type[ServiceError], ...]] = ()
    _next_tick: float | None = None

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def tick(self, now: float) -> float | None:  # noqa: ARG002
        """Do what is due by itself.

        The shard calls it once when it starts, and again at the time that it returned. A `tick` that raises is undone,
        logged, and called again one second later.

        Args:
            now: Seconds since the epoch.

        Returns:
            When to call it next, in seconds since the epoch, or None: not until `due` names a time.
        """
        return None

    def due(self, at: float) -> None:
        """Have `tick` called at the time `at` (seconds since the epoch), unless an earlier call is already due."""
        self._next_tick = at if self._next_tick is None else min(at, self._next_tick)


_declared: weakref.WeakKeyDictionary[type, Declared] = weakref.WeakKeyDictionary()


def declared(cls: type[Service]) -> Declared:
    """Return the operations of a service class.

    The same class always gives the same object, because operations are compared by identity.

    Raises:
        TypeError: `cls` is not a service, or one of its operations has a form that is not allowed; the text says which
            and why.
    """
    found = _declared.get(cls) if isinstance(cls, type) else None
    if found is None:
        found = Declared(cls)
        _declared[cls] = found
    return found


class Declared:
    """The operations of a service class; create it through `declared`.

    Args:
        cls: The class.

    Attributes:
        operations: Name → operation.
        routing_key: Table and key of a row → the key whose shard holds that row; None if the service defines none.

    Raises:
        TypeError: `cls` is not a service, or one of its operations or `routing_key` has a form that is not allowed; the
            text says which and why.
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
        self.routing_key = _routing_key(cls)

    @contextmanager
    def their_errors(self) -> Iterator[None]:
        """Within a ``with`` block, raise the errors of the service as the classes that it declares."""
        classes = {f"{cls.__module__}.{cls.__qualname__}": cls for cls in self.cls.errors}
        try:
            yield
        except SpexError as error:
            cls = None if type(error) in classes.values() else classes.get(str(error.context.get("class")))
            if cls is None:
                raise
            context = {name: value for name, value in error.context.items() if name != "class"}
            raise rebuild(cls, str(error), context) from None

    def operation(self, name: str, *, keyed: bool) -> OperationOf:
        """Return the operation of that name.

        Args:
            name: The method's name.
            keyed: Whether the caller addresses the shard of a key (True) or all shards (False).

        Raises:
            AttributeError: The service has no operation of that name, or the operation is addressed the other way.
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


def _routing_key(cls: type[Service]) -> Callable[[str, Any], Any] | None:
    kind = inspect.getattr_static(cls, "routing_key", None)
    if kind is None:
        return None
    if not isinstance(kind, (staticmethod, classmethod)):
        raise TypeError(f"{cls.__qualname__}.routing_key must be a staticmethod or a classmethod, got: {show(kind)}")
    found: Callable[[str, Any], Any] = getattr(cls, "routing_key")  # noqa: B009 - `Service` has none
    return found


class OperationOf:
    """One operation of a service class.

    Attributes:
        wire: The `Operation` that is sent for it.
        keyed: Whether it runs on the shard of a key.
        takes_call: Whether it has the parameter ``call``.
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
        """Return the checked arguments of a call in the order of the parameters, with defaults filled in.

        Raises:
            TypeError: The arguments do not match the parameters or their annotations; names the argument, the rule and
                the value.
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
        """Return the key, if the operation has one, and the checked arguments from the bytes that a client sent.

        Raises:
            ValueError: The arguments do not match the parameters or their annotations; names the argument, the rule and
                the value.
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
    """Return parameter → allowed simple types; a parameter with any other annotation is not checked."""
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

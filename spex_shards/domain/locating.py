"""Finds the identifier of an instance among the arguments of a call."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any, Final

RESULT: Final = "result"
"""The name under which an identifier may refer to what the function returned, if the function makes the instance."""

Arguments = tuple[tuple[Any, ...], dict[str, Any], Any]
"""The positional and the named arguments of a call, and its result."""
_NAMED: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Locator:
    """Finds an identifier in the calls of one function.

    Args:
        function: The function.
        given: The name of a parameter, perhaps with attributes after dots (``"self.id"``); or a function whose
            parameters have names of parameters of `function`.
        makes: Whether the function makes the instance: then ``result`` is a name as well.

    Raises:
        TypeError: `given` is neither.
        ValueError: A name is not a parameter's; the message lists those that are.
    """

    def __init__(self, function: Callable[..., Any], given: Any, *, makes: bool) -> None:
        self._name = getattr(function, "__qualname__", repr(function))
        self._signature = inspect.signature(function)
        self._known = [*self._signature.parameters, *([RESULT] if makes else [])]
        if isinstance(given, str):
            self._find = self._path(given)
        elif callable(given):
            self._find = self._computed(given)
        else:
            raise TypeError(
                f"{self._name}: identifier must be the name of a parameter, such as 'order_id' or 'self.id', or a "
                f"function of parameters, got: {given!r}"
            )

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any = None) -> Any:
        """Return the identifier.

        Raises:
            Exception: What an attribute's or the given function raised; TypeError if the arguments do not fit.
        """
        return self._find((args, kwargs, result))

    def _path(self, given: str) -> Callable[[Arguments], Any]:
        head, dot, rest = given.partition(".")
        take = self._taker(head, given)
        if not dot:
            return take
        if not all(part.isidentifier() for part in rest.split(".")):
            raise ValueError(f"{self._name}: identifier must be a parameter with attributes after dots, got: {given!r}")
        get = attrgetter(rest)
        return lambda arguments: get(take(arguments))

    def _computed(self, given: Callable[..., Any]) -> Callable[[Arguments], Any]:
        try:
            parameters = inspect.signature(given).parameters.values()
        except ValueError:  # a type written in C, such as str, does not tell
            raise TypeError(f"{self._name}: write identifier as a lambda of parameters, got: {given!r}") from None
        takers = {}
        for parameter in parameters:
            if parameter.name in self._known or parameter.default is inspect.Parameter.empty:
                if parameter.kind not in _NAMED:
                    raise ValueError(f"{self._name}: identifier must have named parameters only, got: {parameter}")
                takers[parameter.name] = self._taker(parameter.name, given)
        return lambda arguments: given(**{name: take(arguments) for name, take in takers.items()})

    def _taker(self, name: str, given: Any) -> Callable[[Arguments], Any]:
        if name not in self._known:
            raise ValueError(
                f"{self._name}: identifier must name parameters of the function ({', '.join(self._known) or 'none'}), "
                f"got: {name!r} in {given!r}"
            )
        if name == RESULT and name not in self._signature.parameters:
            return lambda arguments: arguments[2]
        positions = [
            parameter.name
            for parameter in self._signature.parameters.values()
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]
        index = positions.index(name) if name in positions else None
        return partial(self._take, name, index)

    def _take(self, name: str, index: int | None, arguments: Arguments) -> Any:
        args, kwargs, _ = arguments
        if index is not None:
            if index < len(args):
                return args[index]
            if name in kwargs:
                return kwargs[name]
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments[name]

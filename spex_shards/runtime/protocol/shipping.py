"""Sends functions and classes by value. This is the only module that unpickles bytes.

It does so for predicates, and for handlers and classes that cannot be imported by name. The bytes come only from an
attached client of the same user, never from disk.
"""

from __future__ import annotations

import io
import threading
import types
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from typing import Any

from ..system.importing import importable

_Reduce = Callable[[Any], str | tuple[Any, ...]]
_reducers: dict[type, _Reduce] = {}
_state = threading.local()


def register_class(metaclass: type, reduce: _Reduce) -> None:
    """Have classes of a metaclass pickled by `reduce`, a function as for `copyreg`, instead of in dill's own way.

    Call it before anything is shipped.
    """
    _reducers[metaclass] = reduce


def ship(function: Any) -> bytes:
    """Return a function or class as bytes.

    Objects that can be imported by name, modules included, are sent as names. Everything else (lambdas, closures,
    ``__main__``) is sent by value, together with the globals that it uses.

    Raises:
        TypeError: It cannot be shipped; the text names the part that prevents it.
    """
    file = io.BytesIO()
    before, _state.ships = is_shipping(), True
    try:
        _pickler()(file, byref=importable(function), recurse=True).dump(function)
    except Exception as error:
        raise TypeError(f"{function!r} cannot be sent to a shard: {error}") from error
    finally:
        _state.ships = before
    return file.getvalue()


def is_shipping() -> bool:
    """Return whether this thread is in the middle of `ship`: an object may be pickled in another way for a shard."""
    return bool(getattr(_state, "ships", False))


def unship(data: bytes) -> Callable[..., Any]:
    """Return the function or class that `ship` made the bytes from. Runs code: only for bytes of an attached client.

    Raises:
        TypeError: The bytes hold something that cannot be called.
    """
    import dill

    shipped = dill.loads(data)  # noqa: S301
    if not callable(shipped):
        raise TypeError(f"what was shipped must be callable, got: {shipped!r}")
    return shipped  # type: ignore[no-any-return]


@cache
def _pickler() -> Any:
    import dill  # here, because the import takes 40 ms and most programs never ship anything

    class Pickler(dill.Pickler):  # type: ignore[misc]
        dispatch = type(dill.Pickler.dispatch)(dill.Pickler.dispatch)

    Pickler.dispatch[types.ModuleType] = _save_module
    for metaclass, reduce in _reducers.items():
        Pickler.dispatch[metaclass] = partial(_save_class, reduce)
    return Pickler


def _save_module(pickler: Any, module: types.ModuleType) -> None:
    # dill would pickle a module that is not installed by value, with everything in it.
    pickler.save_reduce(import_module, (module.__name__,), obj=module)


def _save_class(reduce: _Reduce, pickler: Any, cls: Any) -> None:
    reduced = reduce(cls)
    if isinstance(reduced, str):
        pickler.save_global(cls, reduced)
    else:
        pickler.save_reduce(*reduced, obj=cls)

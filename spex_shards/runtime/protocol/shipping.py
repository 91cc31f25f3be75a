"""Functions that travel by value. The only place where bytes are unpickled.

Exactly two things are: the predicate of `delete_instances`, and a handler that cannot be imported by name; both only
from an attached client of the same user, and never from disk.
"""

from __future__ import annotations

import io
import types
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from ...domain.specification import SpecificationMeta, importable, reduce_class


def ship(function: Any) -> bytes:
    """Return the bytes of a function or class.

    What can be imported by name travels as a name, modules included; everything else (lambdas, closures, ``__main__``)
    by value, with the globals that it uses.

    Raises:
        TypeError: It cannot be shipped; names what holds it back.
    """
    file = io.BytesIO()
    try:
        _pickler()(file, byref=importable(function), recurse=True).dump(function)
    except Exception as error:
        raise TypeError(f"{function!r} cannot be sent to a shard: {error}") from error
    return file.getvalue()


def unship(data: bytes) -> Callable[..., Any]:
    """Return the function or class of `ship`'s bytes. Runs code; for bytes of an attached client only."""
    import dill

    shipped = dill.loads(data)  # noqa: S301
    if not callable(shipped):
        raise TypeError(f"what was shipped must be callable, got: {shipped!r}")
    return shipped  # type: ignore[no-any-return]


@cache
def _pickler() -> Any:
    import dill  # 40 ms, and most programs never ship anything

    class Pickler(dill.Pickler):  # type: ignore[misc]
        dispatch = type(dill.Pickler.dispatch)(dill.Pickler.dispatch)

    Pickler.dispatch[types.ModuleType] = _save_module
    Pickler.dispatch[SpecificationMeta] = _save_specification
    return Pickler


def _save_module(pickler: Any, module: types.ModuleType) -> None:
    # dill would take a module that is not installed apart, with everything in it.
    pickler.save_reduce(import_module, (module.__name__,), obj=module)


def _save_specification(pickler: Any, cls: Any) -> None:
    # dill takes every class apart in its own way, which `Specification` (rightly) refuses to be made from.
    reduced = reduce_class(cls)
    if isinstance(reduced, str):
        pickler.save_global(cls, reduced)
    else:
        pickler.save_reduce(*reduced, obj=cls)

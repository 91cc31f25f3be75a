"""Runs an application's service on a shard: finds its class, creates it, and carries its operations out."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from ..errors import DataDirError, OperationFailed, RemoteTraceback, SpexError, StoreError, words
from ..log_fields import about
from .call import Call
from .declared import Declared, OperationOf, Service, declared
from .protocol import records
from .protocol.operations import Operation
from .protocol.records import encode_value
from .protocol.shipping import ship, unship
from .rows import Rows
from .service import StoreReader
from .store import Batch
from .system.importing import importable
from .system.user_code import in_handler
from .watch import Watch

HOST: Final = f"{__name__}:prepare"
SERVICE: Final = b"service"
"""The key in a shard's store under which its service's name is kept; a store without this row belongs to Spex."""
_US: Final = 1_000_000
_AGAIN: Final = 1.0
logger = logging.getLogger("spex_shards")


def reference_to(cls: type[Service]) -> list[Any]:
    """Return a description by which a shard can find a class: its name, or its bytes if it cannot be imported.

    Raises:
        TypeError: The class can neither be imported by its name nor be sent as bytes.
    """
    if importable(cls):
        return [cls.__module__, cls.__qualname__, None]
    return [cls.__module__, cls.__qualname__, ship(cls)]


def name_of(cls: type[Service]) -> str:
    """Return the name of a service class, as a data directory records it."""
    return f"{cls.__module__}:{cls.__qualname__}"


def prepare(reference: list[Any], stores: StoreReader) -> HostOf:  # noqa: ARG001 - hosts are prepared like that
    """Return the host for a service. The class is loaded in each shard: the supervisor imports no application code."""
    return HostOf(partial(loaded, reference), f"{reference[0]}:{reference[1]}")


def loaded(reference: list[Any]) -> type[Service]:
    """Return the class that `reference_to` describes.

    Raises:
        DataDirError: It cannot be imported, or its bytes cannot be read.
    """
    module, name, shipped = reference
    try:
        found: Any = unship(shipped) if shipped is not None else importlib.import_module(module)
        for part in [] if shipped is not None else name.split("."):
            found = getattr(found, part)
    except Exception as error:
        text = f"the service {module}:{name} cannot be had in the shard: {words(error)}"
        raise DataDirError(text) from error
    return found  # type: ignore[no-any-return]


class HostOf:
    """Creates the service of each shard.

    Args:
        find: Returns the service class; called in the shard.
        name: The service's name. It is stored in the data directory, which belongs to that service from then on.
    """

    warnings: Final = ()

    def __init__(self, find: Callable[[], type[Service]], name: str) -> None:
        self._find = find
        self._name = name

    def service(self, batch: Batch, watch: Watch, now: int) -> Hosted:  # noqa: ARG002 - hosts are asked like that
        """Return the service of one shard.

        Raises:
            DataDirError: The class cannot be loaded, or the directory belongs to another service.
        """
        check_service(batch, self._name)
        return Hosted(declared(self._find()), batch)


def service_of(batch: Batch) -> str | None:
    """Return the name of the service that a store belongs to; None stands for Spex.

    Raises:
        StoreError: The row with the name is damaged.
    """
    row = batch.get("layout", SERVICE)
    return None if row is None else str(records.unseal(row, "the name of the service"))


def check_service(batch: Batch, name: str | None) -> None:
    """Check that a store belongs to a service; a new store belongs to it from then on.

    Args:
        batch: The store's batch.
        name: The service's name; None stands for Spex.

    Raises:
        DataDirError: The store belongs to another service.
    """
    found = service_of(batch)
    if found == name:
        return
    is_new = batch.first("layout") is None and batch.first("specifications") is None and batch.first("clients") is None
    if name is None or found is not None or not is_new:
        ours, theirs = ("Spex" if one is None else f"the service {one}" for one in (name, found))
        raise DataDirError(f"the data directory belongs to {theirs}, and cannot be opened by {ours}")
    batch.put("layout", SERVICE, records.seal(name))


class Hosted:
    """An application's service in the form in which a shard calls it.

    Args:
        declared: The service's class and operations.
        batch: The shard's batch.
    """

    held = False
    defers = False

    def __init__(self, declared: Declared, batch: Batch) -> None:
        self._rows = Rows(batch)
        self._service = in_handler(declared.cls, self._rows)
        self._batch = batch
        self._keyed = {operation.wire: operation for operation in declared.operations.values() if operation.keyed}
        self._service._next_tick = 0.0
        self.operations: Mapping[Operation, Callable[..., Any]] = {
            operation.wire: partial(self._carry_out, operation) for operation in declared.operations.values()
        }

    def _carry_out(self, operation: OperationOf, packed: bytes, *, call: Call) -> bytes:
        named = {"call": call} if operation.takes_call else {}
        try:
            values = operation.unpacked(packed)
        except ValueError as error:
            text = f"{operation.name} cannot be carried out: {words(error)}"
            raise OperationFailed(text, operation=operation.name) from None
        function = partial(getattr(self._service, operation.name), *values, **named)
        try:
            return encode_value(in_handler(function))
        except SpexError:
            raise
        except Exception as error:
            failure = OperationFailed(f"{operation.name} raised {words(error)}", operation=operation.name)
            failure.__cause__ = RemoteTraceback.of(error)
            raise failure from failure.__cause__

    def declare(self, arguments: list[Any]) -> None:  # noqa: ARG002
        """Raise `ValueError`: an application's service takes no declarations."""
        raise ValueError("this service takes no declarations")

    def foresee(self, requests: Sequence[tuple[Operation, list[Any]]]) -> Mapping[str, Sequence[bytes]]:
        """Return the rows under the keys of these calls in the service's first table, which most calls read."""
        keys: dict[bytes, None] = {}
        for operation, arguments in requests:
            found = self._keyed.get(operation)
            if found is not None:
                with suppress(ValueError, TypeError, IndexError):  # the call itself reports what is malformed
                    keys[self._rows.place(found.unpacked(arguments[0])[0])] = None
        return {"rows": list(keys)}

    def done(self, key: bytes, result: str) -> None:
        """Do nothing: an application's service never defers a call."""

    def next_due(self) -> int | None:
        """Return when to call `tick`, in microseconds since the epoch, or None."""
        at = self._service._next_tick
        return None if at is None else max(0, int(at * _US))

    def tick(self, now: int) -> None:
        """Call the service's `tick`; if it raises, log the error, undo its changes, and try again one second later."""
        self._service._next_tick = None
        mark = self._batch.mark()
        try:
            at = in_handler(self._service.tick, now / _US)
        except StoreError:
            raise
        except Exception as error:
            self._batch.rollback(mark)
            name = type(self._service).__qualname__
            logger.error("tick of %s raised %s; it is called again", name, words(error), extra=about("tick_failed"))
            at = now / _US + _AGAIN
        if at is not None:
            self._service.due(at)

    def stats(self) -> dict[str, Any]:
        """Return no counters: the shard itself counts requests and rows."""
        return {}

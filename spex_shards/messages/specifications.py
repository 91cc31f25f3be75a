"""Specifications as data, in the form in which they are sent to shards and stored there."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NamedTuple

import xxhash

from ..domain.declaration import Declaration, Prunable, declare
from ..domain.run_property import RunProperty
from ..domain.specification import Specification, all_registered, has_own_handler
from ..runtime.protocol import codec
from ..runtime.protocol.shipping import ship
from ..runtime.system.importing import importable
from .values import LATEST

SPECIFICATION_VERSION: Final = 1
WITH_JUDGE: Final = 2
"""The form of a specification with a judge or properties; all others have the one that earlier versions read."""
_US: Final = timedelta(microseconds=1)


class HandlerReference(NamedTuple):
    """The place of a specification's own handler: `kind` is "default", "import" (`module:qualname`) or "shipped".

    A shipped handler cannot be imported by name (``__main__``, a notebook); its bytes are sent, but never stored.
    """

    kind: str = "default"
    module: str = ""
    qualname: str = ""


@dataclass(frozen=True, slots=True)
class StoredSpecification:
    """A specification as a shard stores it: its declaration, and the place of its handler."""

    declaration: Declaration
    handler: HandlerReference

    def plain(self) -> list[Any]:
        """Return the plain form, for a row or a frame."""
        d = self.declaration
        prunable = d.prunable_states
        says_more = d.judge != "model" or bool(d.properties)
        return [
            WITH_JUDGE if says_more else SPECIFICATION_VERSION,
            d.name,
            [list(t) for t in d.transitions],
            d.initial_state,
            _microseconds(d.transition_timeout),
            _microseconds(d.prune_timeout),
            prunable.value if isinstance(prunable, Prunable) else list(prunable),
            d.equivalence,
            list(self.handler),
            *([d.judge, [one.plain() for one in d.properties]] if says_more else []),
        ]

    @classmethod
    def of(cls, plain: Any) -> StoredSpecification:
        """Return the specification of a plain form.

        Raises:
            ValueError: The form is malformed.
        """
        try:
            return cls._of(plain)
        except ValueError:
            raise
        except (TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"a malformed specification: {error}") from None

    @classmethod
    def _of(cls, plain: Any) -> StoredSpecification:
        version, name, transitions, initial, transition_us, prune_us, prunable, equivalence, handler, *more = plain
        if (version, len(more)) not in ((SPECIFICATION_VERSION, 0), (WITH_JUDGE, 2)):
            raise ValueError(f"a specification of an unknown form: {version!r}")
        if len(handler) != 3 or not all(isinstance(part, str) for part in handler):
            raise ValueError(f"a malformed handler reference: {handler!r}")
        declaration = declare(
            name,
            transitions,
            initial,
            transition_timeout=None if transition_us is None else transition_us * _US,
            prune_timeout=None if prune_us is None else prune_us * _US,
            prunable_states=Prunable(prunable) if isinstance(prunable, str) else prunable,
            equivalence=equivalence,
            judge=more[0] if more else "model",
            properties=[RunProperty.of_plain(one) for one in more[1]] if more else (),
        )
        return cls(declaration, HandlerReference._make(handler))

    def digest(self) -> bytes:
        """Return 16 bytes that change if any part of it changes."""
        return xxhash.xxh3_128_digest(codec.pack(self.plain()))


def _microseconds(timeout: timedelta | None) -> int | None:
    return None if timeout is None else min(timeout // _US, LATEST)


def lts_digest(declaration: Declaration) -> bytes:
    """Return 16 bytes that change with anything that is judged: transitions, initial state, equivalence."""
    judged = [sorted(map(list, declaration.transitions)), declaration.initial_state, declaration.equivalence]
    return xxhash.xxh3_128_digest(codec.pack(judged))


def run_digest(declaration: Declaration) -> bytes:
    """Return 16 bytes that change with anything that the run of an instance depends on."""
    judged = [lts_digest(declaration), [one.plain() for one in declaration.properties]]
    return lts_digest(declaration) if not judged[1] else xxhash.xxh3_128_digest(codec.pack(judged))


def describe(cls: type[Specification]) -> tuple[StoredSpecification, Any]:
    """Return a class as data, and the handler that must be shipped with it, or None if the shard can find it."""
    if not has_own_handler(cls):
        return StoredSpecification(cls.declaration, HandlerReference()), None
    function = cls.__dict__.get("error_handler")
    target: Any = cls
    if not importable(cls) and isinstance(function, staticmethod):
        target = function.__func__
    reference = (target.__module__ or "", getattr(target, "__qualname__", repr(target)))
    if importable(target):
        return StoredSpecification(cls.declaration, HandlerReference("import", *reference)), None
    return StoredSpecification(cls.declaration, HandlerReference("shipped", *reference)), target


def describe_for_shipping(cls: type[Specification]) -> tuple[StoredSpecification, bytes | None]:
    """Return a class as data, and the bytes of its handler if it cannot be imported by name, or None.

    Raises:
        TypeError: The handler cannot be shipped.
    """
    stored, target = describe(cls)
    return stored, None if target is None else ship(target)


def declaration_arguments(cls: type[Specification], *, ships: bool) -> tuple[Any, ...]:
    """Return the arguments that declare a class to a shard: its plain form, and the bytes of a shipped handler or None.

    Args:
        cls: The class.
        ships: Whether handlers must be sent; if not, the shard takes them from the class in this process.

    Raises:
        TypeError: The handler cannot be shipped.
    """
    stored, shipped = describe_for_shipping(cls) if ships else (describe(cls)[0], None)
    return stored.plain(), shipped


def undeclared_handlers(declared: Collection[str]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield the declarations of undeclared classes whose handlers only this process has, as shards do not store them.

    Args:
        declared: The names of the classes that are already declared.
    """
    for name, cls in all_registered().items():
        if name not in declared and describe(cls)[0].handler.kind == "shipped":
            try:
                yield name, declaration_arguments(cls, ships=True)
            except (TypeError, ValueError):
                continue  # the error is raised when the class is used

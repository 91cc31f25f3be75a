"""What one test, or the rest of a run, showed: the part that a process of the tests hands to the one that gathers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..checking.properties import Property
from ..domain.specification import Specification, from_declaration
from ..domain.transition import Transition
from ..messages.specifications import StoredSpecification, describe

Step = tuple[str, Transition]
"""A specification's name, and a transition of one of its instances."""


@dataclass(frozen=True, slots=True)
class Portion:
    """What was shown.

    Attributes:
        steps: The steps that the test showed.
        certain: The steps that do not depend on its outcome: those of fixtures of a wider scope.
        failed: Whether the test failed.
        declared: The specifications that are new to this process, as data.
        problems: Why something could not be noted.
        deselected: How many tests were deselected.
    """

    steps: frozenset[Step] = frozenset()
    certain: frozenset[Step] = frozenset()
    failed: bool = False
    declared: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    deselected: int = 0

    def packed(self) -> str:
        """Return the portion as text in ASCII, which any channel between processes transfers."""
        return json.dumps(
            [
                _plain(self.steps), _plain(self.certain), self.failed, dict(self.declared), list(self.problems),
                self.deselected,
            ]
        )  # fmt: skip

    @classmethod
    def unpacked(cls, text: str) -> Portion:
        """Return the portion of a text that `packed` made."""
        steps, certain, failed, declared, problems, deselected = json.loads(text)
        return cls(_steps(steps), _steps(certain), failed, declared, tuple(problems), deselected)


def declared_as(cls: type[Specification]) -> dict[str, Any]:
    """Return a specification as data."""
    ports = {side: names for side in ("inputs", "outputs") if (names := getattr(cls, side)) is not None}
    return {"plain": describe(cls)[0].plain(), "ports": {side: list(names) for side, names in ports.items()}}


def specification_of(data: Mapping[str, Any]) -> type[Specification]:
    """Return a class made from the data of `declared_as`; it is not registered.

    Raises:
        ValueError: The data is malformed.
    """
    cls = from_declaration(StoredSpecification.of(data["plain"]).declaration)
    # A shard follows a property as data; deciding it for a model is the work of a class of the checker.
    cls.properties = tuple(Property.of_plain(one.plain()) for one in cls.properties)
    for side, names in data["ports"].items():
        setattr(cls, side, tuple(names))
    return cls


def _plain(steps: Iterable[Step]) -> list[list[str | None]]:
    return [[name, *transition] for name, transition in sorted(steps, key=repr)]


def _steps(plain: Iterable[list[Any]]) -> frozenset[Step]:
    return frozenset((name, Transition(*transition)) for name, *transition in plain)

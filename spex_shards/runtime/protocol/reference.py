"""References: what stands in decoded values for objects that are not loaded in this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...errors import show

PATH_LENGTHS: Final = {"enum": 3}
"""How many names the path of each kind has."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Stands for an Enum member (`kind` "enum"), or another named object, that is not loaded in this process.

    `path` is (module, qualified name of the Enum, member), or (name,) for other kinds. As an identifier, a reference
    equals the object that it stands for.

    Raises:
        TypeError: The path is not a tuple of `str`.
        ValueError: The kind is unknown, or the path does not have that kind's length.
    """

    kind: str
    path: tuple[str, ...]

    def __post_init__(self) -> None:
        if type(self.path) is not tuple or not all(type(part) is str for part in self.path):
            raise TypeError(f"the path of a reference must be a tuple of str, got: {show(self.path)}")
        if len(self.path) != PATH_LENGTHS.get(self.kind):
            kinds = ", ".join(f"{kind} (names: {length})" for kind, length in sorted(PATH_LENGTHS.items()))
            raise ValueError(f"a reference must be of a kind of {kinds}, got: {show(self.kind)}, {show(self.path)}")

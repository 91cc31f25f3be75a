"""What can be imported by its name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def importable(thing: Any) -> bool:
    """Whether `thing` is what its module and qualified name lead to, in a module that other processes can import."""
    module = getattr(thing, "__module__", None)
    qualname = getattr(thing, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str) or module == "__main__":
        return False
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found is thing


def later(package: str, names: Mapping[str, str], namespace: dict[str, Any]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package whose names are imported when they are first asked for.

    Args:
        package: The package.
        names: Name → relative module, with ``:attribute`` where that has another name there.
        namespace: The package's globals, where each name is put.
    """

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, attribute = names[name].partition(":")
        namespace[name] = value = getattr(import_module(module, package), attribute or name)
        return value

    return get

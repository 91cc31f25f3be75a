"""Helpers for imports by name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def importable(thing: Any) -> bool:
    """Return whether another process can import `thing` by its module and qualified name."""
    module = getattr(thing, "__module__", None)
    qualname = getattr(thing, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str) or module == "__main__":
        return False
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found is thing


def later(package: str, names: Mapping[str, str], namespace: dict[str, Any]) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for a package that imports each public name when it is first used.

    Args:
        package: The package's name.
        names: Public name → relative module; append ``:attribute`` if the module calls it something else.
        namespace: The package's globals, which each imported name is added to.
    """

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, attribute = names[name].partition(":")
        namespace[name] = value = getattr(import_module(module, package), attribute or name)
        return value

    return get

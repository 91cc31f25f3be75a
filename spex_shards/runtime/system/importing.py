"""What can be imported by its name."""

from __future__ import annotations

import sys
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

"""Which form of the package this is: compiled, or pure Python from the same source."""

from __future__ import annotations

from typing import Final

COMPILED: Final[bool] = not __file__.endswith(".py")
"""Whether the modules that `make wheel` compiles are compiled here. This module is one of them."""

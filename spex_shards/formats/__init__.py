"""One text form of systems and models each."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from . import dot_text, mermaid_text, notebook, spex_text

__all__ = ["dot_text", "mermaid_text", "notebook", "spex_text"]
_FORMS: Final = frozenset(__all__)


def __getattr__(name: str) -> Any:
    """Import a form when it is first used: most programs write none, and they are a part of every import."""
    if name not in _FORMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f".{name}", __name__)

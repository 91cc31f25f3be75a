"""The text forms of systems and models, one module each."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from . import aut_text, dot_text, marks, mermaid_text, notebook, scxml_text, spex_text

__all__ = ["aut_text", "dot_text", "marks", "mermaid_text", "notebook", "scxml_text", "spex_text"]
_FORMS: Final = frozenset(__all__)


def __getattr__(name: str) -> Any:
    """Import a form when it is first used: most programs use none, and this keeps the package quick to import."""
    if name not in _FORMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f".{name}", __name__)

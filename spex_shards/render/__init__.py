"""Models in other forms: files for other tools, drawings, and the HTML report."""

from __future__ import annotations

from .formats import DRAWN, READ, Form, form_of, model_of, read_as, written_as
from .graphviz import drawn_svg

__all__ = ["DRAWN", "READ", "Form", "drawn_svg", "form_of", "model_of", "read_as", "written_as"]

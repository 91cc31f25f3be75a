"""Draws SVG with Graphviz, a program that may be installed on the system."""

from __future__ import annotations

import shutil
import subprocess

from ..domain.impl_model import ImplModel
from ..formats import dot_text
from ..formats.marks import NONE, Marks

LONGEST = 120.0
"""The longest time for a drawing, in seconds."""


def drawn_svg(model: ImplModel, marks: Marks = NONE) -> str:
    """Return a drawing of a model as SVG.

    Args:
        model: The model.
        marks: The transitions that are marked.

    Raises:
        FileNotFoundError: Graphviz is not installed.
        ValueError: Graphviz could not draw the model.
    """
    program = shutil.which("dot")
    if program is None:
        raise FileNotFoundError(
            2, "Graphviz is not installed (its program dot draws SVG); HTML, dot and Mermaid need nothing", "dot"
        )
    text = dot_text.write(model.specification, model.transitions, marks) if marks else model.to_dot()
    try:
        done = subprocess.run(
            [program, "-Tsvg"], input=text, capture_output=True, text=True, timeout=LONGEST, check=False
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"Graphviz did not draw the model within {LONGEST:.0f} s") from None
    if done.returncode:
        raise ValueError(f"Graphviz could not draw the model: {done.stderr.strip()}")
    return done.stdout

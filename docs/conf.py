"""Sphinx builds the documentation with this; `make docs` runs it."""

import sys
from pathlib import Path

import spex_shards

sys.path.insert(0, str(Path(__file__).parent))  # for `commands`

project = "spex_shards"
author = "the developers of spex_shards"
copyright = "2026, the developers of spex_shards"  # noqa: A001 - Sphinx fixes the name
version = release = spex_shards.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = "spex_shards"
html_show_sphinx = False
highlight_language = "none"
exclude_patterns = ["_build"]
suppress_warnings = ["misc.highlighting_failure"]  # a block of CSV names its format, which has no lexer
copybutton_prompt_text = "$ "

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_default_options = {"members": True, "show-inheritance": True, "exclude-members": "__new__, reason, context"}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
default_role = "code"


def setup(app):
    """Fill the page of all commands."""
    app.connect("source-read", _fill)


def _fill(app, name, source):  # noqa: ARG001 - the interface of the event
    if name == "cli-reference":
        from commands import described

        source[0] += described()

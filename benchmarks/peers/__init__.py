"""The peers: programs that people use for the same work, each with its best client and durable alike.

One module for each peer. A peer whose package or server is not installed is left out of a run, which says so.
"""

from __future__ import annotations

import importlib
import shutil
from typing import Any


class Missing(Exception):
    """A peer cannot be measured, because something of it is not installed; the text says what."""


def package(name: str) -> Any:
    """Return an imported package.

    Raises:
        Missing: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        text = f"the Python package {name.partition('.')[0]} is not installed (`make bench` installs it)"
        raise Missing(text) from None


def program(name: str, debian: str, *folders: str) -> str:
    """Return the path of a program that is on the path or in one of some folders.

    Raises:
        Missing: It is not installed; names Debian's package.
    """
    found = shutil.which(name) or shutil.which(name, path=":".join(folders) or "/nowhere")
    if found is None:
        raise Missing(f"the program {name} is not installed (Debian's package {debian})")
    return found

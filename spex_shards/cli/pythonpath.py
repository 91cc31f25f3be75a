"""The folders that pytest's configuration adds to the import path, so that commands find what the tests find."""

from __future__ import annotations

import configparser
import shlex
import tomllib
from pathlib import Path
from typing import Any, Final

_INI: Final = {"pytest.ini": "pytest", ".pytest.ini": "pytest", "tox.ini": "pytest", "setup.cfg": "tool:pytest"}
_TOML: Final = {"pytest.toml": ("pytest",), ".pytest.toml": ("pytest",), "pyproject.toml": ("tool", "pytest")}
_ORDER: Final = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")


def pytest_folders(here: Path) -> list[Path]:
    """Return the option ``pythonpath`` of the nearest pytest configuration at or above a folder, as absolute paths.

    A file that is malformed, or has no section for pytest, is passed over: pytest itself says what is wrong with it.
    """
    for folder in (here, *here.parents):
        for name in _ORDER:
            listed = _listed(folder / name)
            if listed is not None:
                return [(folder / entry).resolve() for entry in listed]
    return []


def _listed(file: Path) -> list[str] | None:
    """Return the entries of the option in a file; None: the file does not configure pytest."""
    if not file.is_file():
        return None
    try:
        text = file.read_text(encoding="utf-8")
        found = _in_toml(file.name, text) if file.suffix == ".toml" else _in_ini(file.name, text)
    except (OSError, ValueError, configparser.Error):
        return None
    if found is None or isinstance(found, list):
        return found
    return shlex.split(str(found))


def _in_toml(name: str, text: str) -> Any:
    table: Any = tomllib.loads(text)
    for key in _TOML[name]:
        table = table.get(key) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        return None
    ini = table.get("ini_options")
    return (ini if isinstance(ini, dict) else table).get("pythonpath", [])


def _in_ini(name: str, text: str) -> str | None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    section = _INI[name]
    return parser.get(section, "pythonpath", fallback="") if parser.has_section(section) else None

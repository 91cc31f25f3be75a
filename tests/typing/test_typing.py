"""The public names are typed: right uses pass mypy and pyright, and each wrong use is an error in its line."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import spex_shards as spex
from spex_shards.manager.options import OPTIONS, ClusterOptions, DefaultOptions, ManagerOptions
from tests.support.places import ROOT

HERE = Path(__file__).parent
RIGHT, WRONG = HERE / "public_names.py", HERE / "wrong_uses.py"
Found = dict[tuple[str, int], set[str]]
"""The codes of the errors by file and line."""


def expected(place: int) -> Found:
    """Return the marked errors; `place` says whether of mypy (0) or pyright (1)."""
    marked: Found = {}
    for number, line in enumerate(WRONG.read_text().splitlines(), 1):
        mark = re.search(r"# error: (\S+), (\S+)$", line)
        if mark is not None:
            marked[WRONG.name, number] = {mark.groups()[place]}
    return marked


def compare(found: Found, marked: Found) -> None:
    """Compare the lines exactly; an error may have consequences of other kinds in its own line."""
    assert set(found) == set(marked)
    assert {place: codes & found[place] for place, codes in marked.items()} == marked


def test_the_typed_file_uses_every_public_name() -> None:
    """So that what is added is typed."""
    tree = ast.parse(RIGHT.read_text())
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "spex"
    }
    assert set(spex.__all__) - used == set()


def test_every_option_is_typed() -> None:
    """The typed dictionaries have the options that are checked at run time, and no others."""
    assert set(DefaultOptions.__annotations__) == set(OPTIONS)
    assert set(ManagerOptions.__annotations__) == set(OPTIONS) - {"manager", "connect", *ClusterOptions.__annotations__}


def test_mypy_accepts_right_uses_and_refuses_each_wrong_one() -> None:
    """In exactly the lines that are marked, for the reason that is marked."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context", RIGHT, WRONG],
        cwd=ROOT, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.stderr == ""
    found: Found = defaultdict(set)
    for path, line, code in re.findall(r"^(\S+):(\d+): error: .*\[(\S+)\]$", done.stdout, re.MULTILINE):
        found[Path(path).name, int(line)].add(code)
    compare(found, expected(0))


@pytest.mark.long
def test_pyright_accepts_right_uses_and_refuses_each_wrong_one(tmp_path: Path) -> None:
    """As mypy does; in its strict mode."""
    settings = {"include": [str(RIGHT), str(WRONG)], "typeCheckingMode": "strict", "pythonVersion": "3.11"}
    file = tmp_path / "pyrightconfig.json"
    file.write_text(json.dumps(settings))
    done = subprocess.run(
        [sys.executable, "-m", "basedpyright", "-p", file, "--outputjson", "--pythonpath", sys.executable],
        cwd=ROOT, capture_output=True, text=True, timeout=250, env={**os.environ, "NODE_OPTIONS": ""},
    )  # fmt: skip
    found: Found = defaultdict(set)
    for one in json.loads(done.stdout)["generalDiagnostics"]:
        found[Path(one["file"]).name, one["range"]["start"]["line"] + 1].add(one["rule"])
    compare(found, expected(1))

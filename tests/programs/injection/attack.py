"""Runs a load in a process of its own, and compares its directory with its journal."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import spex_shards as spex
from spex_shards.audit import verify
from tests.support.places import ROOT

from .load import CALLS, KINDS, Light

MODES = (
    "raise",
    "raise-error",
    "raise-timeout",
    "raise-own",
    "nowait",
    "call",
    "flush",
    "read",
    "join",
    "close",
)
ALL_CALLS = tuple(CALLS)


def attack(
    kind: str, calls: list[str], modes: list[str], folder: Path, *, stride: int = 1, opcodes: bool = False
) -> int:
    """Attack a manager; return the number of places where something was injected.

    Raises:
        AssertionError: The process ended in an unexpected way, or its directory is wrong.
    """
    command = [
        sys.executable,
        "-m",
        "tests.programs.injection.load",
        kind,
        ",".join(calls),
        ",".join(modes),
        str(stride),
    ]
    done = subprocess.run(
        [*command, str(folder), "opcodes" if opcodes else "lines"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert done.returncode == -9, f"the process ended with {done.returncode}: {done.stderr[-4000:]}"
    journal = json.loads((folder / "journal").read_text())
    wait_for_directory(folder)
    findings = verify(folder / "data")
    assert not findings, findings[:5]
    cls, options = KINDS[kind]
    with cls(data_dir=folder / "data", impl_models_dir=folder / "models", learning_mode=True, **options) as manager:
        check(manager, journal)
    return int(journal["places"])


def wait_for_directory(folder: Path) -> None:
    """Wait until the shards of a dead process have ended too."""
    deadline = time.monotonic() + 20
    while True:
        try:
            verify(folder / "data")
            return
        except spex.DataDirLocked:
            if time.monotonic() > deadline:
                raise


def check(manager: Any, journal: dict[str, Any]) -> None:
    """Compare the stored histories with the journal."""
    for identifier, words in journal["acknowledged"].items():
        stored = [entry.to_state for entry in manager.get_instance(identifier).history[1:]]
        twice = [word for word, count in Counter(stored).items() if count > 1]
        assert not twice, f"{identifier}: applied more than once: {twice[:5]}"
        missing = set(words) - set(stored)
        assert not missing, f"{identifier}: {len(missing)} acknowledged and lost: {sorted(missing)[:5]}"
    made = {i.identifier[1] for i in manager.iter_instances(Light, 0) if type(i.identifier) is tuple}
    assert not set(journal["made"]) - made

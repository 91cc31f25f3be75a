"""A pytest plugin that observes every machine that a test suite makes; for processes started by `__main__`.

It is loaded by ``-p`` from a folder of its own on the import path, since the suites have packages called ``tests`` too.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.domain import receiving
from spex_shards.formats.model_files import read_models

counts: Counter[str] = Counter()
AUTOMATIC = {"auto_transitions": True}
"""The suites use the transitions that the library transitions adds by itself."""


class Counting:
    """Counts what is reported, and passes it on."""

    def __init__(self, behind: Any) -> None:
        self._behind = behind
        self.off = behind.off
        self.init = behind.init

    def step(self, cls: Any, identifier: Any, action: Any, *rest: Any, **options: Any) -> None:
        """Count and pass on."""
        counts["steps"] += 1
        self._behind.step(cls, identifier, action, *rest, **options)

    def lost(self, cls: Any, error: Exception) -> None:
        """Count and pass on."""
        counts["lost"] += 1
        self._behind.lost(cls, error)


def specification_of(machine: Any) -> Any:
    """Return a specification for each machine, named after the test; for one that has none, an empty one."""
    counts["machines"] += 1
    test = os.environ.get("PYTEST_CURRENT_TEST", "collecting").partition(" ")[0].rpartition("/")[2]
    test = "".join(c if c.isalnum() or c in "._" else "-" for c in test.replace("::", "."))[:150]
    name = f"{test}.{type(machine).__name__}.{counts['machines']}"
    try:
        return spex.Specification.from_machine(machine, name, **AUTOMATIC)
    except (ValueError, KeyError):
        counts["without a specification"] += 1
        return spex.Specification.define(name, [("unspecified", "unspecified", "unspecified")])


def pytest_configure(config: pytest.Config) -> None:
    """Observe all machines of the library that the environment names."""
    receiving.install(Counting(receiving.receiver))
    if os.environ["FOREIGN_LIBRARY"] == "transitions":
        from transitions import Machine

        from spex_shards.adapters.transitions import observe

        observe(Machine, specification_of)
    else:
        from statemachine import StateChart

        from spex_shards.adapters.statemachine import observe

        observe(StateChart, specification_of)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Write down what was observed, and the verdicts on the models that the plugin of spex_shards has saved."""
    verdicts: Counter[str] = Counter()
    shown: dict[str, str] = {}
    for name, model in read_models(Path(config.getini("spex_models_dir"))).models.items():
        verdict = str(spex.check(model).verdict.value)
        verdicts[verdict] += 1
        shown[name] = verdict
    found = {**counts, "verdicts": verdicts, "models": shown}
    Path(os.environ["FOREIGN_RESULT"]).write_text(json.dumps(found, indent=1))

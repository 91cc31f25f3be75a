"""Specifications whose handlers kill their shard, or never return; shards can import them."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import spex_shards as spex


def _die(action: str) -> None:
    if action == "exit":
        os._exit(3)
    if action == "segfault":
        ctypes.string_at(0)
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "hang":
        while True:
            time.sleep(60)


def _exit_until(path: Path) -> None:
    """Kill the process, with a delay while a file asks for it."""
    time.sleep(0.2)
    while path.with_suffix(".slow").exists():
        path.with_suffix(".waits").touch()
        time.sleep(0.01)
    os._exit(3)


class Deadly(spex.Specification):
    """Its model knows only "go"; any other action is a deviation, and the handler does what the action names."""

    name = "deadly.Deadly"
    transitions = [("here", "go", "here")]

    @classmethod
    def error_handler(cls, error: spex.SpexError, caller: Any) -> spex.SpexError | None:
        """Die, at once or only when a file is missing; or accept."""
        transition = error.context["deviating_transition"]
        if transition.action == "exit once":
            path = Path(transition.target)
            if not path.exists():
                path.touch()
                os._exit(3)
        if transition.action == "exit until":
            _exit_until(Path(transition.target))
        _die(transition.action)
        return None


class DeadlyTimer(spex.Specification):
    """Its handler kills the process if the instance's meta says so."""

    name = "deadly.DeadlyTimer"
    transitions = [("here", "go", "here")]
    transition_timeout = timedelta(milliseconds=50)

    @classmethod
    def error_handler(cls, error: spex.SpexError, caller: Any) -> spex.SpexError | None:
        """Die, or log."""
        if isinstance(error, spex.TransitionTimeout):
            _die((error.context["instance"].meta or {}).get("do", ""))
        return super().error_handler(error, caller)


def write_models(folder: Path) -> None:
    """Write models of both that do not learn."""
    folder.mkdir(exist_ok=True)
    known = frozenset({spex.Transition(None, spex.INITIALISATION, "here"), spex.Transition("here", "go", "here")})
    for cls in (Deadly, DeadlyTimer):
        model = spex.ImplModel(specification=cls.name, transitions=known, learning_mode=False)
        (folder / f"{cls.name}.spex").write_text(model.serialise())

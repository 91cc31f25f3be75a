"""Count and name the functions that one blocking transition passes: ``python -m benchmarks.way``.

On the client's side these are the functions of the calling thread; on the worker's side those of one turn of its loop.
Each function counts once.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import spex_shards as spex
from tests.programs.costs.driven import Light, asked, served

PACKAGE = str(Path(spex.__file__).parent)


def passed(work: Callable[[], Any]) -> list[str]:
    """Return the package's functions that `work` calls on this thread, in the order of their first call."""
    found: dict[str, None] = {}

    def profile(at: FrameType, event: str, _: Any) -> None:
        file = at.f_code.co_filename
        if event == "call" and file.startswith(PACKAGE):
            module = file[len(PACKAGE) + 1 : -3].replace("/", ".")
            found.setdefault(f"{module}:{at.f_code.co_qualname}")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return list(found)


def client_side(folder: Path) -> list[str]:
    """Return the functions that a transition passes in the application."""
    places = {"data_dir": folder / "data", "impl_models_dir": folder / "models"}
    with spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True) as manager:
        manager.init_instance(Light, 1)
        for _ in range(10):
            manager.transition(1, "go", "green")
            manager.transition(1, "stop", "red")
        return passed(lambda: manager.transition(1, "go", "green"))


def worker_side(folder: Path) -> list[str]:
    """Return the functions that the same transition passes in a worker, which runs in this process."""
    worker, requests, _ = served(folder)
    for number in range(2, 22):
        os.write(requests, asked(number, 1))
        worker.turn()
    os.write(requests, asked(22, 1))
    return passed(worker.turn)


def main() -> None:
    """Print the functions of both sides, and their number."""
    with tempfile.TemporaryDirectory() as name:
        for side, way in (("client", client_side), ("worker", worker_side)):
            folder = Path(name) / side
            folder.mkdir(mode=0o700)
            functions = way(folder)
            modules = {function.split(":")[0] for function in functions}
            print(f"{side}: {len(functions)} functions in {len(modules)} modules")
            print("  " + "\n  ".join(functions))


if __name__ == "__main__":
    main()

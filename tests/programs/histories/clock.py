"""The clock of an owner's machine, which can be set wrong while the owner runs; needs a C compiler."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_suffix(".c")


class Clock:
    """A clock for processes that are started with its environment.

    Args:
        folder: An empty folder.

    Attributes:
        environment: The variables of the processes; none where there is no C compiler.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.environment: dict[str, str] = {}
        compiler = shutil.which("gcc")
        if compiler is not None:
            library = folder / "clock.so"
            subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, _SOURCE], check=True)
            self.set(0.0)
            self.environment = {"LD_PRELOAD": str(library), "CLOCK_FILE": str(self._file)}

    def set(self, wrong_by: float) -> None:
        """Have the clock go wrong by some seconds, from now on."""
        mode = "r+b" if self._file.exists() else "wb"
        with self._file.open(mode) as file:  # in place: processes have it mapped
            file.write(int(wrong_by * 1e9).to_bytes(8, "little", signed=True))

"""The rate at which the command line tool replays real event logs, which lie beside the project."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .peers import Missing
from .timing import Figures

LOGS = Path(__file__).resolve().parents[2] / "shared" / "data"
NAMES = ("helpdesk.xes.gz", "bpic2013_incidents.xes.gz")


def replayed(folder: Path, durability: str) -> Figures:
    """Return the events a second that the tool reports for each log, with 4 shards.

    Raises:
        Missing: The logs are not there.
    """
    if not LOGS.is_dir():
        raise Missing("the event logs beside the project (../shared/data) are absent")
    figures: Figures = {}
    for name in NAMES:
        models = folder / name
        models.mkdir(mode=0o700)
        done = subprocess.run(
            [sys.executable, "-m", "spex_shards.cli", "replay", str(LOGS / name), "--learn", "log", "--shards", "4",
             "--models-dir", str(models), "--durability", durability, "--format", "json"],
            cwd=folder, capture_output=True, text=True, check=True,
        )  # fmt: skip
        figures[f"{name.partition('.')[0]}_per_second"] = float(json.loads(done.stdout)["events_per_second"])
    return figures

"""Explores many images of one trace, and counts the outcomes."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from .check import check
from .images import KINDS, Explorer
from .load import MODES, reference
from .trace import record


@dataclass(slots=True)
class Explored:
    """The number of images of each kind and outcome, and the first few that were not whole."""

    operations: int = 0
    images: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)


def explore(mode: str, images: int, batches: int, seed: int = 0) -> Explored:
    """Trace one run of the load, and check a number of its images."""
    found = Explored()
    random = Random(seed)
    known = {one: count for count, one in enumerate(reference(batches))}
    with tempfile.TemporaryDirectory(prefix="crash-states-") as name:
        folder = Path(name)
        root = folder / "root"
        root.mkdir()
        kept_in = "data.mdb" if mode == MODES[2] else "log-"
        trace = record(root, mode, batches, folder / "strace")
        explorer = Explorer(trace, kept_in, promised=mode == "disk")
        found.operations = explorer.points
        for number in range(images):
            kind, point = KINDS[number % len(KINDS)], random.randint(1, explorer.points)
            image = explorer.image(point, kind, random)
            if mode == MODES[2]:  # as LMDB is without the record of its meta pages
                image.files = {name: data for name, data in image.files.items() if "/meta" not in name}
            target = folder / "image"
            shutil.rmtree(target, ignore_errors=True)
            image.write(str(root), target)
            outcome, words = check(target / "shard-000", known, *explorer.acknowledged(point, power=kind != "kill"))
            found.images[kind] += 1
            found.outcomes[outcome] += 1
            if outcome != "whole" and len(found.examples) < 10:
                found.examples.append(f"{mode}, operation {point} of {explorer.points}, {kind}: {outcome}: {words}")
    return found

"""Compare this checkout with another revision on the hot path: ``make bench-compare REV=v1.0``.

The revision is checked out beside this one, and gets an environment of its own with the dependencies that it asks for.
Both take turns, and each begins in every second round. Each measurement is a process of its own, by this checkout's
benchmarks. A ratio is taken within a round. ``--compiled`` takes the form of this checkout that `make wheel` makes, and
the pure form of the revision.
"""

from __future__ import annotations

import argparse
import compileall
import json
import random
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .suite import COMPILED, ROOT, made, say, summary
from .timing import Figures

REVISIONS = ROOT / "build" / "revisions"
RESULTS = ROOT / "benchmarks" / "results"
HERE = "here"
MEASURES = {
    "shards, process": ("p50_us", "p99_us", "processor_us", "together_p50_us", "apart_p50_us", "posted_per_second",
                        "posted_processor_us"),
    "shards, disk": ("p50_us", "processor_us", "posted_processor_us"),
    "in-process, process": ("p50_us", "processor_us", "posted_processor_us"),
    "counters, runtime, process": ("p50_us", "processor_us", "posted_processor_us"),
    "import": ("import_ms",),
    "start": ("start_ms", "worker_mib", "client_mib"),
}  # fmt: skip
"""Measure → the figures that are compared."""


class Checkout:
    """A revision of the project, with a Python that has what it needs.

    Attributes:
        name: What it is called in the results.
        place: A folder in which only the package lies, so that the benchmarks are this checkout's.
        python: The interpreter.
    """

    def __init__(self, name: str, place: Path, python: str) -> None:
        self.name, self.place, self.python = name, place, python


def checked_out(revision: str) -> Checkout:
    """Return a revision in a worktree and an environment of its own; they are made if they are not there.

    Raises:
        subprocess.CalledProcessError: There is no such revision, or its dependencies cannot be installed.
    """
    show = ["git", "rev-parse", "--verify", f"{revision}^{{commit}}"]
    commit = subprocess.run(show, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    folder = REVISIONS / commit[:12]
    tree, environment, place = folder / "tree", folder / "venv", folder / "package"
    if not (folder / "ready").exists():
        say(f"making {folder}")
        subprocess.run(["git", "worktree", "prune"], cwd=ROOT, check=True)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(["git", "worktree", "add", "--quiet", "--force", "--detach", tree, commit], cwd=ROOT, check=True)
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        needs = tomllib.loads((tree / "pyproject.toml").read_text())["project"]["dependencies"]
        subprocess.run([environment / "bin" / "python", "-m", "pip", "install", "--quiet", *needs], check=True)
        place.mkdir()
        (place / "spex_shards").symlink_to(tree / "spex_shards")
        (folder / "ready").touch()
    return Checkout(revision, place, str(environment / "bin" / "python"))


def compared(checkouts: list[Checkout], names: list[str], rounds: int) -> dict[str, dict[str, list[Figures]]]:
    """Return measure → checkout → the figures of each round; a measure that one of them cannot make is left out."""
    found: dict[str, dict[str, list[Figures]]] = {name: {one.name: [] for one in checkouts} for name in names}
    order = random.Random(1)
    for number in range(rounds):
        work = list(found)
        order.shuffle(work)
        for name in work:
            turns = checkouts if number % 2 == 0 else checkouts[::-1]
            say(f"round {number + 1} of {rounds}: {name}: {', then '.join(one.name for one in turns)}")
            for one in turns:
                figures = made(name, one.place, one.python)
                if "missing" in figures:
                    say(f"left out: {name}: {one.name}: {figures['missing']}")
                    found.pop(name, None)
                    break
                found[name][one.name].append(figures)
    return found


def rows(found: dict[str, dict[str, list[Figures]]], revision: str) -> Iterator[dict[str, Any]]:
    """Iterate over the compared figures: both medians, and the ratio of this checkout to the revision."""
    for name, both in found.items():
        for figure in MEASURES[name]:
            old, new = ([one[figure] for one in both[which]] for which in (revision, HERE))
            ratios = [b / a for a, b in zip(old, new, strict=True)]
            yield {
                "measure": name,
                "figure": figure,
                "then": summary(old),
                "now": summary(new),
                "ratio": summary(ratios),
            }


def main() -> None:
    """Measure, print a table in Markdown, and write benchmarks/results/compare.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("revision", help="whatever git takes for a commit")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--compiled", action="store_true", help="compare the compiled form of this checkout")
    given = parser.parse_args()
    place = COMPILED if given.compiled else ROOT
    if not (place / "spex_shards").is_dir():
        sys.exit("there is no compiled form: `make wheel` makes it")
    try:
        then = checked_out(given.revision)
    except subprocess.CalledProcessError as error:
        sys.exit(f"the revision {given.revision} cannot be checked out: {error} {error.stderr or ''}")
    for one in (then.place, place):  # else those would lose that have not been imported yet
        compileall.compile_dir(one / "spex_shards", quiet=1)
    found = compared([then, Checkout(HERE, place, sys.executable)], given.only, given.rounds)
    table = list(rows(found, then.name))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "compare.json").write_text(json.dumps({"revision": given.revision, "rows": table}, indent=1) + "\n")
    print(f"| | {given.revision} | here | ratio (least to most of {given.rounds} rounds) |\n|---|---|---|---|")
    for row in table:
        ratio = row["ratio"]
        print(
            f"| {row['measure']}: {row['figure']} | {row['then']['median']:,.1f} | {row['now']['median']:,.1f} "
            f"| {ratio['median']:.3f} ({ratio['least']:.3f} to {ratio['most']:.3f}) |"
        )


if __name__ == "__main__":
    main()

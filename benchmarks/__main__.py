"""Measure the library, its floor and its peers in one run; write benchmarks/results/bench.json, bench.md and bench.png.

Without ``--only``, everything is measured but what takes many minutes. With it, what is measured replaces that part of
the earlier result.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from . import report
from .measures import MEASURES
from .suite import Suite, forms, merged, say
from .targets import TARGETS

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).resolve().parents[1] / "docs"


def chosen(only: list[str] | None) -> list[str]:
    """Return the names of measures: those that are named, by their first words or whole, and what named targets need.

    Raises:
        ValueError: A name is neither a measure nor a target.
    """
    if not only:
        return [name for name, measure in MEASURES.items() if measure.by_default]
    targets = {target.name: target.measures for target in TARGETS}
    wanted: set[str] = set()
    for name in only:
        found = {one for one in MEASURES if f"{one}, ".startswith(f"{name}, ")} | targets.get(name, set())
        if not found:
            raise ValueError(f"--only must name measures or targets (--list shows them), got: {name}")
        wanted |= found
    return [name for name in MEASURES if name in wanted]


def main() -> None:
    """Parse the arguments, measure, and write and print the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="measures or targets; --list shows them")
    parser.add_argument("--forms", nargs="+", choices=("pure", "compiled"), help="by default: all that are there")
    parser.add_argument("--large", type=Path, metavar="FOLDER", help="a folder that `python -m benchmarks.large` made")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder for the results")
    parser.add_argument("--docs", action="store_true", help="also put tables and plot into docs/performance.md")
    parser.add_argument("--list", action="store_true", help="show the names of measures and targets")
    given = parser.parse_args()
    if given.list:
        print("measures:", *MEASURES, "", "targets:", *(f"{t.name}: {t.what}" for t in TARGETS), sep="\n")
        return
    try:
        names, places = chosen(given.only), forms()
    except (ValueError, RuntimeError) as error:
        sys.exit(str(error))
    if given.forms:
        places = {form: place for form, place in places.items() if form in given.forms}
    if given.large:
        os.environ["LARGE_FOLDER"] = str(given.large.resolve())
    suite = Suite(names, places)
    suite.run(given.rounds)
    if not suite.loads:
        sys.exit("nothing was measured")
    written = given.results / "bench.json"
    before = json.loads(written.read_text()) if given.only and written.exists() else None
    result = merged(before, suite.result())
    given.results.mkdir(parents=True, exist_ok=True)
    written.write_text(json.dumps(result, indent=1) + "\n")
    text = report.tables(result)
    (given.results / "bench.md").write_text(text)
    pictures = [given.results / "bench.png"]
    if given.docs:
        report.put_into(DOCS / "performance.md", "bench", text)
        pictures.append(DOCS / "performance.png")
    try:
        for picture in pictures:
            report.plot(result, picture)
    except ImportError:
        say("no plot: matplotlib is not installed")
    print(text)


if __name__ == "__main__":
    main()

"""Run the test suites of transitions and python-statemachine with and without observation, and compare the outcomes.

::

    python -m tests.programs.foreign_suites [FOLDER]

The source distributions and what the suites need are installed by pip into FOLDER (default: a temporary one), which
takes some minutes. The suites are not changed. Each is run twice: as it is; and with this package's pytest plugin,
which learns, and an adapter on every machine. The exit status is 1 if a test has another outcome.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.support.places import ROOT

SUITES = {
    "transitions": ["transitions", "mock", "dill", "graphviz", "pycodestyle"],
    "statemachine": [
        "python-statemachine", "pytest-asyncio", "pytest-mock", "pytest-benchmark", "pytest-django", "pytest-sugar",
        "pytest-cov", "pytest-timeout", "pydot", "pdbr", "babel", "PyYAML", "jsonschema", "pillow", "django", "sphinx",
    ],
}  # fmt: skip
OPTIONS = {"transitions": ["-p", "no:asyncio"], "statemachine": ["-p", "no:sugar", "--benchmark-disable", "tests"]}
DEADLINE = 1200
MOST_SHOWN = 20
AGAIN = 3


def main() -> int:
    """Run all, and print a table."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else temporary).resolve()
        return max([compared(library, folder) for library in SUITES])


def compared(library: str, folder: Path) -> int:
    """Run one suite both ways; print and return whether an outcome differs."""
    python, source = prepared(library, folder)
    bare, took = run(library, python, source, folder / library / "bare", observed=False)
    watched, took_watched = run(library, python, source, folder / library / "observed", observed=True)
    found = json.loads((folder / library / "observed" / "found.json").read_text())
    found.pop("models")
    differing = {name for name in bare | watched if bare.get(name) != watched.get(name)}
    for _ in range(AGAIN if 0 < len(differing) <= MOST_SHOWN else 0):  # tests with deadlines may fail when it is busy
        again, _ = run(library, python, source, folder / library / "again", observed=True, only=sorted(differing))
        differing = {name for name in differing if again.get(name) != bare.get(name)}
        print(f"  run again, for tests with deadlines: {len(differing)} with another outcome")
        if not differing:
            break
    tally = {outcome: list(bare.values()).count(outcome) for outcome in sorted(set(bare.values()))}
    print(f"{source.name}: {len(bare)} tests as they are ({took:.0f} s of processor time): {tally}")
    print(f"  observed ({took_watched:.0f} s): {len(differing)} with another outcome; {found}")
    for name in sorted(differing)[:MOST_SHOWN]:
        print(f"  {name}: {bare.get(name)} → {watched.get(name)}")
    return int(bool(differing))


def prepared(library: str, folder: Path) -> tuple[Path, Path]:
    """Install what a suite needs, and unpack its source; do what was not done before."""
    place = folder / library
    python = place / "venv" / "bin" / "python"
    needed = SUITES[library]
    if not python.exists():
        venv.create(place / "venv", with_pip=True)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "install", "--editable", ROOT, "pytest", "pytest-xdist", *needed], check=True)
        pinned = _version(python, needed[0])
        subprocess.run(
            [*pip, "download", "--no-deps", "--no-binary", needed[0], "--dest", place, f"{needed[0]}=={pinned}"],
            check=True,
        )
        [archive] = place.glob("*.tar.gz")
        subprocess.run(["tar", "-xzf", archive, "-C", place], check=True)
    [source] = [path for path in place.iterdir() if path.name.replace("_", "-").startswith(f"{needed[0]}-")
                and path.is_dir()]  # fmt: skip
    return python, source


def _version(python: Path, package: str) -> str:
    asked = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True).stdout.strip()


def run(
    library: str, python: Path, source: Path, place: Path, *, observed: bool, only: list[str] | None = None
) -> tuple[dict[str, str], float]:
    """Run a suite, or some of its tests; return each test's outcome, and the processor time in seconds."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    report = place / "report.xml"
    command = [
        python,
        "-m",
        "pytest",
        "-q",
        f"--junitxml={report}",
        "--maxfail=0",
        "-p",
        "no:cacheprovider",
        *OPTIONS[library],
    ]
    environment = {**os.environ, "FOREIGN_LIBRARY": library, "FOREIGN_RESULT": str(place / "found.json")}
    environment.pop("CI", None)
    if observed:
        environment["PYTHONPATH"] = str(Path(__file__).parent)
        command += ["-p", "everything_observed", "-o", f"spex_models_dir={place / 'models'}"]
    else:
        command += ["-p", "no:spex_shards"]
    command += [node_id(source, name) for name in only or ()]
    before = os.times()
    with (place / "output.txt").open("w") as output:
        subprocess.run(command, cwd=source, env=environment, stdout=output, stderr=output, timeout=DEADLINE)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return outcomes(report), spent


def node_id(source: Path, name: str) -> str:
    """Return how pytest names a test, from its name in a report."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        file = Path(*parts[:count]).with_suffix(".py")
        if (source / file).is_file():
            return "::".join([str(file), *".".join(parts[count:]).split(".")])
    return name


def outcomes(report: Path) -> dict[str, str]:
    """Return the outcome of each test; of tests with one name, all."""
    found: dict[str, str] = {}
    for case in ET.parse(report).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        found[name] = found.get(name, "") + (kinds[0] if kinds else "passed")
    return found


if __name__ == "__main__":
    began = time.monotonic()
    status = main()
    print(f"{time.monotonic() - began:.0f} s")
    sys.exit(status)

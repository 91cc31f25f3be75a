"""The examples of README and docs run, and so do those of the examples folder."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import spex_shards as spex
from spex_shards import errors as errors_module
from tests.support.places import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCE = re.compile(r"^```python\n(.*?)^```\n(?:\n```\n(.*?)^```)?", re.MULTILINE | re.DOTALL)
BLOCKS = [
    (path, number, code, output)
    for path in PAGES
    for number, (code, output) in enumerate(_FENCE.findall(path.read_text()))
]


@pytest.mark.process
@pytest.mark.parametrize(("path", "number", "code", "output"), BLOCKS, ids=[f"{p.name}-{n}" for p, n, _, _ in BLOCKS])
def test_python_blocks_run_as_they_stand(path: Path, number: int, code: str, output: str, tmp_path: Path) -> None:
    """Each block, copied into a file elsewhere, prints nothing on stderr, and what stands directly below it."""
    file = tmp_path / "example.py"
    file.write_text(code)
    done = subprocess.run([sys.executable, file], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == output if output else done.stdout


def test_many_blocks_show_what_they_print() -> None:
    """The rule above finds them."""
    assert sum(bool(output) for *_, output in BLOCKS) > 10


ADDRESS = "https://spex-shards.readthedocs.io/en/latest/"


def test_the_readme_links_by_addresses_that_work_outside_a_checkout() -> None:
    """Each page and picture that it names is one that the documentation is made of."""
    text = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 20
    for link in links:
        assert link.startswith(ADDRESS), link
        name = link.removeprefix(ADDRESS)
        source = name.removeprefix("_images/") if name.startswith("_images/") else name.replace(".html", ".md")
        assert (ROOT / "docs" / source).is_file(), link


def test_the_readmes_links_lead_somewhere() -> None:
    """Every relative link of README and docs names an existing file."""
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name} → {target}"


@pytest.mark.long
@pytest.mark.process
@pytest.mark.slow
def test_the_demo_runs_and_loses_nothing() -> None:
    """The demo has real HTTP connections and killed shards; all tallies match, and the verdict is equivalent."""
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "http_demo.py"], cwd=ROOT, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_reference_has_every_public_name() -> None:
    """Each name of `spex_shards.__all__` has its place on the page."""
    listed = set(re.findall(r"^\.\. auto\w+:: (\w+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE))
    errors = {name for name in spex.__all__ if name in vars(errors_module)}
    assert set(spex.__all__) - errors - {"properties"} <= listed


def test_every_page_is_in_the_contents() -> None:
    """A page that the index does not list is found by nobody."""
    index = (ROOT / "docs" / "index.md").read_text()
    listed = {line for block in re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL) for line in block.splitlines()}
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"} <= listed


def test_the_pictures_of_the_concepts_are_those_that_the_library_draws(tmp_path: Path) -> None:
    """Drawing them again gives the same files."""
    spec = importlib.util.spec_from_file_location("draw", ROOT / "docs" / "draw.py")
    assert spec is not None
    assert spec.loader is not None
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    assert draw.drawings() == {path.name: path.read_text() for path in (ROOT / "docs" / "pictures").glob("*.svg")}

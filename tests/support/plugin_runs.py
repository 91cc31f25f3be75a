"""Runs of pytest within a test, for a small project with models."""

from __future__ import annotations

import importlib
import pkgutil

import lmdb
import pytest

import spex_shards

# A run within this process forgets the modules that it was the first to import. So all are imported before: there is
# one default manager, and no run spends its time with imports.
for _module in pkgutil.walk_packages(spex_shards.__path__, "spex_shards."):
    if not _module.name.endswith("__main__"):
        importlib.import_module(_module.name)
assert lmdb

SHOP = """
import spex_shards as spex

class Payment(spex.Specification):
    name = "plugin.Payment"
    transitions = [
        ("new", "authorise", "authorised"),
        ("authorised", "capture", "captured"),
        ("authorised", "void", "voided"),
    ]
"""
HEAD = "import pytest\nimport spex_shards as spex\nfrom shop import Payment\n"
ALL = """
def test_captured():
    spex.init_instance(Payment, 1)
    spex.transition(1, "authorise", "authorised")
    spex.transition(1, "capture", "captured")

def test_voided():
    spex.init_instance(Payment, 1)
    spex.transition(1, "authorise", "authorised")
    spex.transition(1, "void", "voided")
"""
WRONG = """
def test_wrong():
    spex.init_instance(Payment, 1)
    spex.transition(1, "void", "voided")
"""


def project(pytester: pytest.Pytester, *tests: str, ini: str = "") -> None:
    """Make a project: its specification, tests, and an ini file."""
    pytester.makepyfile(shop=SHOP, test_shop=HEAD + "".join(tests))
    pytester.makeini(f"[pytest]\npythonpath = .\nspex_models_dir = models\n{ini}\n")


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run pytest in this process."""
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist", *arguments)


def text_of(result: pytest.RunResult) -> str:
    """Return what a run printed."""
    return "\n".join(result.outlines)


def model_text(pytester: pytest.Pytester) -> str:
    """Return the text of the project's model file."""
    return (pytester.path / "models" / "plugin.Payment.spex").read_text()

"""The architecture: imports point down, each library has one importer, and the façade exports what it lists."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import spex_shards
from tests.support.places import ROOT

PACKAGE = ROOT / "spex_shards"
ONLY_IMPORTER = {
    "lmdb": "runtime.store",
    "psycopg": "runtime.store.postgres",
    "ray": "runtime.placement",
    "msgpack": "runtime.protocol.codec",
    "dill": "runtime.protocol.shipping",
    "typer": "cli",
    "rich": "cli",
    "opentelemetry": "otel",
}


@cache
def layers() -> dict[str, int]:
    """Return module → layer, from the table in docs/design.md."""
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", (ROOT / "docs" / "design.md").read_text(), re.MULTILINE)
    return {name: int(layer) for layer, names in rows for name in re.findall(r"`([\w.]+)`", names)}


@cache
def modules() -> list[Path]:
    """Return all modules of the package except the façade."""
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def dotted(path: Path) -> str:
    """Return a module's name within the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


@cache
def room(name: str) -> str:
    """Return the table's entry for a module: the longest entry that its name begins with."""
    parts = name.split(".")
    entries = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((entry for entry in entries if entry in layers()), name)


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Return the full names of everything that a module imports, except for type checking."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    package = parts[:-1]
    tree = ast.parse(path.read_text())
    typing_only = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


@cache
def own_imports(path: Path) -> frozenset[str]:
    """Return the names, within the package, of the modules that a module imports."""
    found: set[str] = set()
    for name in imports(path):
        parts = name.split(".")[1:] if name.startswith("spex_shards.") else []
        while parts and not (PACKAGE.joinpath(*parts).is_dir() or PACKAGE.joinpath(*parts).with_suffix(".py").exists()):
            parts.pop()
        if parts:
            found.add(".".join(parts))
    return frozenset(found)


def test_every_module_has_its_place_in_the_table() -> None:
    """The table of docs/design.md has an entry for every module, and no entry without modules."""
    used = {room(dotted(path)) for path in modules()}
    assert used - {"runtime"} == set(layers())


def test_imports_point_down() -> None:
    """No module imports one of a higher layer."""
    table = layers()
    higher = {
        (dotted(path), name)
        for path in modules()
        for name in own_imports(path)
        if table.get(room(name), 0) > table.get(room(dotted(path)), 99)
    }
    assert not higher


def in_order(edges: dict[str, set[str]]) -> None:
    """Fail if the edges have a cycle."""
    done: set[str] = set()
    while len(done) < len(edges):
        free = [name for name in edges if name not in done and edges[name] <= done]
        assert free, f"a cycle among {sorted(set(edges) - done)}"
        done.update(free)


def test_the_shard_runtime_knows_nothing_of_spex() -> None:
    """None of its modules imports one of Spex, whose layers begin at 11."""
    table = layers()
    for path in modules():
        if dotted(path).startswith("runtime"):
            above = {name for name in own_imports(path) if table.get(room(name), 0) > 10}
            assert not above, path


def test_rooms_import_each_other_without_a_cycle() -> None:
    """Imports within a layer have an order too."""
    edges: dict[str, set[str]] = {}
    for path in modules():
        own = room(dotted(path))
        edges.setdefault(own, set()).update({room(name) for name in own_imports(path)} - {own})
    in_order(edges)


def test_the_domain_knows_no_input_or_output() -> None:
    """Nothing in the domain imports what reaches outside the process."""
    outside = {"os", "socket", "pathlib", "time", "select", "subprocess", "threading", "io"}
    for path in modules():
        if dotted(path).split(".")[0] in ("domain", "checking", "engine"):
            assert not {name.split(".")[0] for name in imports(path)} & outside, path


@pytest.mark.parametrize(("library", "owner"), ONLY_IMPORTER.items())
def test_a_library_has_one_importer(library: str, owner: str) -> None:
    """Each of these libraries is imported by one part of the package only."""
    users = {dotted(path) for path in modules() if any(name.split(".")[0] == library for name in imports(path))}
    assert all(user == owner or user.startswith(f"{owner}.") for user in users)


def test_bytes_are_unpickled_in_one_place_only() -> None:
    """No module but `shipping` calls loads of pickle, dill, marshal or shelve."""
    for path in modules():
        names = {name.split(".")[0] for name in imports(path)}
        assert not names & {"pickle", "marshal", "shelve", "cloudpickle"}, path
        assert "dill" not in names or path.stem == "shipping", path


def test_the_facade_exports_exactly_what_it_says() -> None:
    """Every name in `__all__` exists, the list is sorted, and every public name is in it."""
    exported = spex_shards.__all__
    assert exported == sorted(exported, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    for name in exported:
        assert getattr(spex_shards, name) is not None
    parts = {module.name for module in pkgutil.iter_modules(spex_shards.__path__)}
    public = {name for name in vars(spex_shards) if not name.startswith(("_", "@"))} - parts
    assert public - set(exported) <= {"annotations", "logging", "TYPE_CHECKING", "Any"}


def test_what_only_attaches_brings_no_engine_worker_or_store_along() -> None:
    """An application process has a client, and none of the code that runs in shards."""
    script = (
        "import sys, spex_shards as spex; spex.ShardedInstanceManager; spex.connect; print(sorted(name for name in "
        "sys.modules if name == 'lmdb' or name.startswith(('spex_shards.engine', 'spex_shards.runtime.worker', "
        "'spex_shards.runtime.store', 'spex_shards.runtime.local', 'spex_shards.runtime.supervisor'))))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_every_module_can_be_imported() -> None:
    """Each module stands on its own."""
    for path in modules():
        importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))


def test_importing_the_package_starts_nothing_and_stays_light() -> None:
    """It starts no thread, and imports none of the heavy libraries."""
    script = (
        "import sys, threading, spex_shards; print(threading.active_count(), "
        "sorted({'lmdb', 'dill', 'typer', 'rich', 'numpy', 'multiprocess', 'ctypes'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "1 []\n"


def test_functions_are_short_and_modules_are_too() -> None:
    """No function of the package has a body above 40 lines, no module above 400."""
    for path in modules():
        text = path.read_text()
        assert len(text.splitlines()) <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                assert lines <= 40, f"{path.name}:{node.name} has {lines} lines"


def classes() -> dict[str, list[str]]:
    """Return the names of all classes of the package, with the modules that have them."""
    found: dict[str, list[str]] = {}
    for path in modules():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(dotted(path))
    return found


def test_each_word_of_the_glossary_is_one_class() -> None:
    """The classes in the table of docs/design.md exist, and a word of the table names only one class."""
    table = (ROOT / "docs" / "design.md").read_text().split("## Words")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([a-z]+) \| [^|]+ \| (`[^|]+`) \|", table, re.MULTILINE)
    assert len(rows) > 20
    assert len({word for word, _ in rows}) == len(rows)
    found = classes()
    twice = {"Service"}  # the port, and what an application subclasses
    for _, names in rows:
        for name in re.findall(r"`(\w+)`", names):
            assert name in found, f"there is no class {name}"
            assert len(found[name]) == 1 or name in twice, f"{name} is several things: {found[name]}"


def test_no_module_takes_the_name_of_a_public_function() -> None:
    """Importing every module leaves the public names what they were."""
    code = """
import importlib, inspect, pkgutil, spex_shards
before = {name: getattr(spex_shards, name) for name in spex_shards.__all__}
for module in pkgutil.walk_packages(spex_shards.__path__, "spex_shards."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print([name for name in spex_shards.__all__ if getattr(spex_shards, name) is not before[name]])
print([name for name in spex_shards.__all__ if inspect.ismodule(getattr(spex_shards, name)) and name != "properties"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n[]\n", "")


def test_what_is_compiled_exists_and_needs_no_frames() -> None:
    """No compiled module uses the marks of `turns`, which are found in Python's frames; those have none.

    Tracebacks are different: what is compiled has its entries in them, so `interruption` works.
    """
    hooks = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]
    for name in hooks["mypyc"]["include"]:
        path = ROOT / name.removeprefix("/")
        assert path.is_file(), name
        used = {needed for needed in imports(path) if "runtime.system.turns" in needed}
        assert used <= {"spex_shards.runtime.system.turns.interruption"}, name
        for node in ast.walk(ast.parse(path.read_text())):
            bases = {ast.unparse(base) for base in node.bases} if isinstance(node, ast.ClassDef) else set()
            # mypyc frees an instance of a derived class without clearing the weak references to it. Nothing refers
            # weakly to the checker's partitions, whose three classes are parts of one object.
            assert bases <= {"NamedTuple", "Protocol", "ValueError", "Blocks", "Signing"}, name

"""The module-level calls: the default manager starts at first use, ends at exit, and handles forks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import spex_shards as spex
from tests.support.helper_specs import Door

HEAD = """
import os, sys, threading
import spex_shards as spex
class Door(spex.Specification):
    name = "tests.Door"
    transitions = [("closed", "open", "opened")]
"""


def run(body: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder of its own."""
    import os

    return subprocess.run(
        [sys.executable, "-c", HEAD + body], cwd=folder, capture_output=True, text=True, timeout=60,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.process
@pytest.mark.parametrize(("kind", "name"), [("simple", "SimpleInstanceManager"), ("sharded", "SharedInstanceManager")])
def test_the_default_manager_starts_on_first_use_and_is_closed_at_exit(tmp_path: Path, kind: str, name: str) -> None:
    """Observations posted just before the program ends are there in the next run."""
    body = f"""
spex.configure(manager={kind!r}, learning_mode=True, distribution_factor={1 if kind == "simple" else 2})
spex.init_instance(Door, 1)
spex.transition_nowait(1, "open", "opened")
print(type(spex.manager.default.default_manager()).__name__)
"""
    first = run(body, tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == f"{name}\n"
    again = f"spex.configure(manager={kind!r}, distribution_factor=2)\nprint(spex.get_instance(1).current_state)"
    assert run(again, tmp_path).stdout == "opened\n"


@pytest.mark.process
def test_options_come_from_the_environment_and_the_projects_file(tmp_path: Path) -> None:
    """The environment overrides pyproject.toml, and a configured value overrides both."""
    (tmp_path / "pyproject.toml").write_text(
        '[tool.spex_shards]\nmanager = "simple"\nlearning_mode = true\ndata_dir = "mine"'
    )
    body = 'spex.init_instance(Door, 1)\nprint(type(spex.manager.default.default_manager()).__name__, os.listdir("."))'
    done = run(body, tmp_path, SPEX_SHARDS_DATA_DIR="theirs")
    assert done.stderr == ""
    assert "Simple" in done.stdout
    assert "theirs" in done.stdout
    assert "mine" not in done.stdout


def test_a_bad_value_names_where_it_came_from(tmp_path: Path) -> None:
    """The last line of the error names option, rule, value and origin."""
    done = run("spex.init_instance(Door, 1)", tmp_path, SPEX_SHARDS_DISTRIBUTION_FACTOR="many")
    assert done.stderr.splitlines()[-1] == (
        "ValueError: the option distribution_factor must be an int from 1 to 1024, got: 'many' "
        "(from the environment variable SPEX_SHARDS_DISTRIBUTION_FACTOR)"
    )


@pytest.mark.process
def test_a_forked_child_of_a_sharded_default_manager_attaches_anew(tmp_path: Path) -> None:
    """The child's calls go to the same shards, and both see all instances."""
    body = """
spex.configure(manager="sharded", distribution_factor=2, learning_mode=True, mode="enforce")
spex.init_instance(Door, "parent")
pid = os.fork()
if pid == 0:
    spex.init_instance(Door, "child")
    sys.exit()
assert os.waitpid(pid, 0)[1] == 0
print(sorted(instance.identifier for instance in spex.all_instances()))
"""
    done = run(body, tmp_path)
    assert (done.stdout, done.stderr) == ("['child', 'parent']\n", "")


def test_a_forked_child_of_an_in_process_default_manager_is_told_to_use_shards(tmp_path: Path) -> None:
    """Its first call raises DataDirLocked, and the parent's environment is unchanged."""
    body = """
spex.configure(learning_mode=True, mode="enforce")
spex.init_instance(Door, "parent")
pid = os.fork()
if pid == 0:
    try:
        spex.init_instance(Door, "child")
    except spex.DataDirLocked as error:
        print(error, flush=True)
    sys.exit()
os.waitpid(pid, 0)
spex.transition("parent", "open", "opened")
print(spex.get_instance("parent").current_state)
"""
    done = run(body, tmp_path)
    assert 'manager = "sharded"' in done.stdout
    assert done.stdout.endswith("opened\n")
    assert done.stderr == ""


def test_configure_refuses_what_is_no_option_and_what_comes_too_late(tmp_path: Path) -> None:
    """An unknown option is a TypeError; a running manager cannot be configured."""
    body = """
for call in (lambda: spex.configure(shards=3), lambda: (spex.all_instances(), spex.configure(durability="disk"))):
    try:
        call()
    except (TypeError, RuntimeError) as error:
        print(type(error).__name__)
"""
    assert run(body, tmp_path).stdout == "TypeError\nRuntimeError\n"


def test_check_finds_the_specification_of_a_model_by_its_name() -> None:
    """For an unknown name, the error says what to do."""
    transitions = [(None, spex.INITIALISATION, "closed"), ("closed", "open", "opened"), ("opened", "close", "closed")]
    model = spex.ImplModel(specification=Door.name, transitions=[spex.Transition(*t) for t in transitions])
    assert spex.check(model).equivalent
    assert spex.check(model, Door, "strong").equivalent
    with pytest.raises(spex.SpecificationError, match="import its module first"):
        spex.check(spex.ImplModel(specification="nobody", transitions=[]))


@pytest.mark.process
@pytest.mark.parametrize("by", [pytest.param("configure", marks=pytest.mark.long), "environment"])
def test_connect_uses_what_another_process_serves(tmp_path: Path, places: dict[str, Path], by: str) -> None:
    """The calls of a process that is told so, and of its forked children, reach that directory."""
    served = places["data_dir"]
    body = """
spex.init_instance(Door, "parent")
if os.fork() == 0:
    spex.init_instance(Door, "child")
    sys.exit()
assert os.wait()[1] == 0
print(sorted(instance.identifier for instance in spex.all_instances()), os.listdir("."))
"""
    head, more = (
        (f"spex.configure(connect={str(served)!r})", {})
        if by == "configure"
        else ("", {"SPEX_SHARDS_CONNECT": str(served)})
    )
    folder = tmp_path / "application"
    folder.mkdir()
    with spex.ShardedInstanceManager(**places, distribution_factor=2, learning_mode=True):
        done = run(head + body, folder, **more)
    assert (done.stdout, done.stderr) == ("['child', 'parent'] []\n", "")


@pytest.mark.process
def test_a_process_may_connect_before_the_directory_is_served(places: dict[str, Path], tmp_path: Path) -> None:
    """Its first call waits for the server, and calls that find none get an error after call_timeout."""
    body = f"""
import time
spex.configure(connect={str(places["data_dir"])!r}, call_timeout=0.3, mode="enforce")
before = time.monotonic()
for nothing in range(2):
    try:
        spex.init_instance(Door, 1)
    except (spex.DataDirError, spex.ShardError) as error:
        print(type(error).__name__, 0.2 < time.monotonic() - before < 10, error)
spex.manager.default.close()
spex.configure(connect={str(places["data_dir"])!r}, call_timeout=20, mode="enforce")
print("now", flush=True)
spex.init_instance(Door, 2)
print(spex.get_instance(2).current_state, flush=True)
sys.stdin.readline()
spex.init_instance(Door, 3)
print(spex.get_instance(3).current_state, flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD + body], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        lines = [process.stdout.readline() for _ in range(3)]
        assert [line.split(" there is")[0] for line in lines] == ["DataDirError True", "DataDirError True", "now\n"]
        with spex.ShardedInstanceManager(**places, distribution_factor=2, learning_mode=True):
            assert process.stdout.readline() == "closed\n"
        process.stdin.write("on\n")
        process.stdin.flush()
        with spex.ShardedInstanceManager(**places, distribution_factor=2, learning_mode=True):
            assert process.stdout.readline() == "closed\n"
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"connect": "there", "manager": "sharded"}, 'manager="sharded" serves a directory itself'),
        ({"connect": "there", "data_dir": "here"}, "name two directories"),
        ({"connect": 3}, "the option connect must be a path, or None, got: 3"),
    ],
)
def test_options_that_contradict_connect_are_refused(options: dict[str, object], text: str) -> None:
    """At once."""
    with pytest.raises(ValueError, match=text):
        spex.configure(**options)
    spex.configure(connect=None)


@pytest.mark.process
def test_a_deployment_that_says_where_to_connect_needs_no_change_of_the_code(
    tmp_path: Path, places: dict[str, Path]
) -> None:
    """The variable decides, though the code has its process serve a directory itself."""
    body = """
spex.configure(manager="sharded", data_dir="elsewhere")
spex.init_instance(Door, "seen")
spex.flush()
print(os.path.exists("elsewhere"), spex.losses().kept)
"""
    with spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True) as served:
        where = {"SPEX_SHARDS_CONNECT": str(places["data_dir"]), "SPEX_SHARDS_OBSERVE_TIMEOUT": "20"}
        done = run(body, tmp_path, **where)
        assert (done.stdout, done.stderr) == ("False 1\n", "")
        assert [one.identifier for one in served.all_instances()] == ["seen"]


def test_a_constructed_manager_has_no_option_connect(places: dict[str, Path]) -> None:
    """As it has no option manager."""
    with pytest.raises(TypeError, match=r"use spex_shards\.connect\(DIR\) instead"):
        spex.SimpleInstanceManager(**places, connect="there")


@pytest.mark.process
@pytest.mark.parametrize("what", ["descriptor", "thread"])
def test_a_process_that_cannot_start_a_manager_loses_its_observations_and_no_call_raises(
    tmp_path: Path, what: str
) -> None:
    """Imports, too, are a part of the start; the next attempt is made later, and then observations are kept."""
    scarce = {
        "descriptor": """
import resource
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
free = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
""",
        "thread": """
import threading
real = threading.Thread.start
def refuse(thread):
    raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
free = lambda: setattr(threading.Thread, "start", real)
""",
    }[what]
    body = f"""
spex.configure(data_dir="data", learning_mode=True)
{scarce}
spex.init_instance(Door, 1)
spex.transition_nowait(1, "open", "opened")
print(spex.losses().kept, spex.losses().lost)
free()
spex.all_instances()  # reading makes the next attempt at once
spex.init_instance(Door, 2)
spex.flush()
print([one.identifier for one in spex.all_instances()])
"""
    done = run(body, tmp_path)
    assert (done.stdout, done.stderr) == ("0 2\n[2]\n", "")

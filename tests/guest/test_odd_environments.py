"""Unusual environments: closed standard descriptors, paths that are not text, read-only places."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import spex_shards as spex
from spex_shards.audit import backup, verify
from spex_shards.cli import app
from spex_shards.runtime.client.owner import search_path
from spex_shards.runtime.data_dir import DataDir, OwnerLock
from tests.runtime.protocol.test_hostile import as_another_user
from tests.support.helper_specs import Door
from tests.support.places import ROOT
from tests.support.processes import descendants, is_gone, wait_until

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")

OBSERVE = """
import os, sys
import spex_shards as spex
sys.path.insert(0, {root!r})
from tests.support.helper_specs import Door
{before}
outcome = "nothing"
try:
    with spex.{manager}({options}) as manager:
        for number in range(20):
            {between}
            manager.init_instance(Door, number)
            manager.transition_nowait(number, "open", "opened")
        manager.flush()
        outcome = str(sorted({{instance.current_state for instance in manager.all_instances()}}))
except BaseException as error:
    outcome = repr(error)
with open({said!r}, "w") as file:
    file.write(outcome)
"""
MANAGERS = {
    "SimpleInstanceManager": "learning_mode=True, ",
    "ShardedInstanceManager": "learning_mode=True, distribution_factor=2, call_timeout=20, ",
}


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a folder that every user can enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(params=MANAGERS)
def observe(request: pytest.FixtureRequest, place: Path) -> Callable[..., str]:
    """Return a function that runs an application with a manager of each kind, and returns the result."""

    def run(before: str = "", between: str = "pass", places: str = "", cwd: Path = place) -> str:
        said = place / "said"
        options = MANAGERS[request.param] + (places or f"data_dir={str(place / 'data')!r}, impl_models_dir='none'")
        script = OBSERVE.format(
            root=str(ROOT), manager=request.param, options=options, said=str(said), before=before, between=between
        )
        subprocess.run([sys.executable, "-c", script], cwd=cwd, timeout=60, capture_output=True)
        return said.read_text()

    return run


PRINT = """
def print_to_all():
    for descriptor in (0, 1, 2):
        try:
            os.write(descriptor, b"what an application prints")
        except OSError:
            pass
"""


@pytest.mark.parametrize(
    "closed", [*(pytest.param(one, marks=pytest.mark.long) for one in ("0", "1", "2", "0, 1")), "0, 1, 2"]
)
def test_closed_standard_descriptors_are_nobodys(observe: Callable[..., str], place: Path, closed: str) -> None:
    """Everything starts, and output to such a number reaches no file or pipe of the library."""
    noise = "print_to_all()"
    before = f"for descriptor in ({closed},): os.close(descriptor)" + PRINT
    assert observe(before=before, between=noise) == "['opened']"
    assert verify(place / "data") == []


def test_a_path_that_is_no_utf_8_is_a_path(observe: Callable[..., str], place: Path) -> None:
    """It may be on `sys.path`, and be the data directory or the models directory."""
    data = os.fsdecode(os.fsencode(place) + b"/d\xff")
    before = r"sys.path.append('/nowhere/\udcff')"
    assert observe(before=before, places=f"data_dir={data!r}, impl_models_dir={data + 'm'!r}") == "['opened']"
    assert verify(data) == []
    backup(data, data + "copy")
    assert verify(data + "copy") == []


def test_a_current_directory_that_was_removed_is_no_hindrance(observe: Callable[..., str], place: Path) -> None:
    """The options name absolute paths."""
    places = f"data_dir={str(place / 'data')!r}, impl_models_dir={str(place / 'models')!r}"
    assert observe(before="os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')", places=places) == "['opened']"


STANDARD = """
import os
from spex_shards.runtime.system.descriptors import lifted, take_standard_ones
reading, writing = os.pipe()
os.close(1)
assert os.dup(writing) == 1
os.close(writing)
fresh = lifted(1)
os.write(1, b"what an application prints")
os.close(fresh)
assert fresh > 2 and os.read(reading, 1) == b""
os.close(0)
take_standard_ones()
assert all(os.fstat(number).st_rdev == os.stat(os.devnull).st_rdev for number in (0, 1))
assert os.get_inheritable(0) and os.get_inheritable(1)
"""


def test_what_comes_under_a_standard_number_leaves_the_null_device_there(place: Path) -> None:
    """Later output goes nowhere, also from other threads and from programs that are started."""
    command = [sys.executable, "-c", STANDARD]
    done = subprocess.run(command, cwd=ROOT, timeout=60, stdin=subprocess.DEVNULL, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system that belongs to this test."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@needs_root
@pytest.mark.tool("mount")
def test_a_current_directory_that_cannot_be_written_to_is_no_hindrance(
    observe: Callable[..., str], place: Path, disk: Path
) -> None:
    """The folder of models, by default in it, is created when a model is written, and not before."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert observe(places=f"data_dir={str(place / 'data')!r}", cwd=disk) == "['opened']"


def test_what_can_be_no_path_is_left_out_of_the_search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lone surrogate and a NUL are left out; a path that is merely not UTF-8 stays."""
    monkeypatch.setattr(sys, "path", ["/a", "no \ud800", "nor \0 this", "/b\udcff", ""])
    assert search_path() == ["/a", "/b\udcff", str(Path.cwd())]


# ---------------------------------------------------------------------- what can only be read


def fill(path: Path) -> None:
    """Make a data directory with data in LMDB, and with a log that holds newer data."""
    options = {"data_dir": path, "impl_models_dir": path / "none", "distribution_factor": 1, "learning_mode": True}
    with spex.ShardedInstanceManager(**options) as manager:
        manager.init_instance(Door, 1)
    with spex.ShardedInstanceManager(**options) as manager:
        manager.transition(1, "open", "opened")
        backup(path, path.parent / "copy")


def contents(path: Path) -> dict[str, bytes]:
    """Return all files of a folder."""
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@needs_root
@pytest.mark.parametrize("owner", [0, 65534])
@pytest.mark.parametrize("lock", ["a lock", "no lock"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_copy_that_can_only_be_read_is_verified(place: Path, owner: int, lock: str) -> None:
    """A user other than root verifies root's files and own ones; nothing is changed."""
    fill(place / "data")
    copy = place / "copy"
    if lock == "a lock":
        (copy / "lock").touch()
    for path in (*copy.rglob("*"), copy):
        os.chown(path, owner, owner)
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = contents(copy)
    assert as_another_user(lambda: f"found {verify(copy)}") == "found []"
    assert contents(copy) == before
    assert "log-0" in " ".join(before)


@needs_root
@pytest.mark.tool("mount")
def test_a_directory_on_a_file_system_for_reading_only_is_verified(disk: Path) -> None:
    """On a file system that is mounted read-only, it can be exported too."""
    fill(disk / "data")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert verify(disk / "data") == []
    assert verify(disk / "copy") == []
    models = disk.parent / "models"
    exported = CliRunner().invoke(app, ["export", "--data-dir", str(disk / "copy"), "--models-dir", str(models)])
    assert (exported.exit_code, len(list(models.iterdir()))) == (0, 1)


# ---------------------------------------------------------------------- waiting for a directory


def test_a_supervisor_that_waits_for_its_directory_ends_with_its_owner(place: Path) -> None:
    """Otherwise it would go on waiting for an owner that was killed."""
    (place / "data").mkdir(mode=0o700)
    with OwnerLock(DataDir(place / "data")):
        script = f"""
import spex_shards as spex
import spex_shards.runtime.client.owner as owner
owner._BOOTSTRAP = owner._BOOTSTRAP.replace("main(int", '''
from {OwnerLock.__module__} import OwnerLock
OwnerLock.acquire.__defaults__ = (600.0, ())
main(int''')
spex.ShardedInstanceManager(data_dir={str(place / "data")!r}).start()
"""
        owner = subprocess.Popen([sys.executable, "-c", script], cwd=place)
        lock = (place / "data" / "lock").stat().st_ino

        def waits(pid: int) -> bool:
            try:
                return any(entry.stat().st_ino == lock for entry in Path(f"/proc/{pid}/fd").iterdir())
            except OSError:
                return False

        [supervisor] = wait_until(lambda: [pid for pid in descendants(owner.pid) if waits(pid)], "it waits")
        owner.send_signal(signal.SIGKILL)
        owner.wait(20)
        wait_until(lambda: is_gone(supervisor), "the supervisor is gone")

"""Files and sockets that another user may have prepared are not read, overwritten or connected to."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.audit import backup, restore, verify
from spex_shards.runtime.data_dir import DataDir, Layout, OwnerLock
from spex_shards.runtime.protocol.wire import check_peer
from spex_shards.runtime.store.files import OsFiles
from spex_shards.runtime.store.lmdb_store import LmdbStore
from spex_shards.runtime.supervisor.suspect_file import keep_suspects, read_suspects
from spex_shards.runtime.worker.shard_page import Suspect
from spex_shards.runtime.worker.suspects import Suspects
from tests.runtime.protocol.test_hostile import open_place  # noqa: F401 - a fixture
from tests.support.helper_specs import Door

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs to give files to another user")
OTHER = 65534


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a data directory of one shard with an instance; no process uses it."""
    fill(tmp_path / "data")
    return tmp_path / "data"


def opened(path: Path) -> spex.SimpleInstanceManager:
    """Return a manager on a data directory."""
    return spex.SimpleInstanceManager(data_dir=path, impl_models_dir=path.parent / "models", learning_mode=True)


def fill(path: Path) -> None:
    """Make a data directory with an instance."""
    with opened(path) as manager:
        manager.init_instance(Door, 1)


def everybody(path: Path) -> list[Callable[[], Any]]:
    """Return every way to open a data directory."""
    return [
        lambda: opened(path).start(),
        lambda: spex.ShardedInstanceManager(
            data_dir=path, impl_models_dir=path.parent / "models", distribution_factor=1
        ).start(),
        lambda: spex.connect(path),
        lambda: verify(path),
        lambda: backup(path, path.parent / "backup"),
        lambda: restore(path, path.parent / "restored"),
    ]


@needs_root
def test_a_directory_of_another_user_is_refused_by_everybody(directory: Path) -> None:
    """Root refuses it too, since its owner could mislead root; the error names the owner, and says what to do."""
    os.chown(directory, OTHER, OTHER)
    for open_it in everybody(directory):
        with pytest.raises(
            spex.DataDirError, match=f"data belongs to user {OTHER}, and this process is user 0: .*chown"
        ):
            open_it()


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_directory_that_others_can_write_to_is_refused_by_everybody(directory: Path, mode: int) -> None:
    """The error names the directory and its mode, and says what to do."""
    directory.chmod(mode)
    for open_it in everybody(directory):
        with pytest.raises(spex.DataDirError, match=rf"by other users \(mode 0{mode:o}\): .*chmod go-w \S+data$"):
            open_it()
    directory.chmod(0o700)
    with opened(directory) as manager:
        assert manager.get_instance(1).current_state == "closed"


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o755])
def test_an_empty_directory_of_ours_is_closed_to_writers_and_used(tmp_path: Path, mode: int) -> None:
    """It may have been created before, with a umask that lets the group write."""
    path = tmp_path / "data"
    path.mkdir()
    path.chmod(mode)
    fill(path)
    assert path.stat().st_mode & 0o777 == mode & ~0o022


def test_a_directory_that_others_may_have_put_something_into_is_not_begun(tmp_path: Path) -> None:
    """A prepared log would be read as acknowledged data."""
    path = tmp_path / "data"
    (path / "shard-000").mkdir(parents=True)
    path.chmod(0o777)
    with pytest.raises(spex.DataDirError, match="look at what is there, then: chmod go-w"):
        fill(path)
    assert path.stat().st_mode & 0o777 == 0o777


@needs_root
@pytest.mark.parametrize("name", ["layout", "lock", "run", "shard-000"])
def test_a_part_that_another_user_has_put_there_is_refused(directory: Path, name: str) -> None:
    """The directory may have been writable once, and no longer is."""
    os.chown(directory / name, OTHER, OTHER)
    with pytest.raises(spex.DataDirError, match=f"{name} belongs to user {OTHER}"):
        opened(directory).start()


@pytest.mark.parametrize("name", ["data.mdb", "lock.mdb", "meta", "log-0"])
def test_a_shards_file_that_others_can_write_to_is_refused(directory: Path, name: str) -> None:
    """This holds for every kind of file."""
    shard = directory / "shard-000"
    if name == "log-0":
        file = OsFiles(shard).open(name)
        file.close()
    (shard / name).chmod(0o666)
    with pytest.raises(spex.DataDirError, match=rf"{name} can be written by other users \(mode 0666\)"):
        opened(directory).start()


@pytest.mark.parametrize("name", ["lock", "layout.new", "shard-000/meta.new", "shard-000/log-0", "shard-000/data.mdb"])
@pytest.mark.parametrize("kind", ["symbolic link", "other name"])
def test_a_link_in_a_files_place_leads_nobody_to_write_over_what_it_leads_to(
    directory: Path, name: str, kind: str
) -> None:
    """The link may be symbolic or hard."""
    victim = directory.parent / "victim"
    victim.write_text("precious")
    (directory / name).unlink(missing_ok=True)
    (directory / name).symlink_to(victim) if kind == "symbolic link" else (directory / name).hardlink_to(victim)
    victim.chmod(0o600)

    def write() -> None:
        with OwnerLock(DataDir(directory)):
            DataDir(directory).write_layout(Layout(1))
        store = LmdbStore(directory / "shard-000", sync=False)
        try:
            store.apply({"models": {b"a": b"b"}})
            OsFiles(directory / "shard-000").open("log-0").close()
        finally:
            store.close()

    with pytest.raises(spex.SpexError, match="symbolic link" if kind == "symbolic link" else "another name elsewhere"):
        write()
    assert victim.read_text() == "precious"


def test_a_pipe_in_a_files_place_is_not_waited_for(directory: Path) -> None:
    """Opening it would block for ever."""
    os.mkfifo(directory / "shard-000" / "log-7", 0o600)
    with pytest.raises(spex.DataDirError, match="log-7 is no regular file"):
        opened(directory).start()


@needs_root
def test_a_symbolic_link_of_ours_leads_to_the_directory_and_another_users_does_not(directory: Path) -> None:
    """Users may keep their data elsewhere, but others must not choose the place."""
    link = directory.parent / "link"
    link.symlink_to(directory)
    with opened(link) as manager:
        assert manager.get_instance(1).current_state == "closed"
    os.chown(link, OTHER, OTHER, follow_symlinks=False)
    with pytest.raises(spex.DataDirError, match=f"link is a symbolic link that belongs to user {OTHER}"):
        opened(link).start()


@pytest.mark.parametrize("kind", ["symbolic link", "open to others"])
def test_suspects_that_another_user_may_have_named_are_none(tmp_path: Path, kind: str) -> None:
    """Requests named there would be refused as poison; and the target of a link is not overwritten."""
    known = Suspects()
    known.died(Suspect(b"c" * 16, 1), "SIGKILL")
    keep_suspects(tmp_path, known)
    assert read_suspects(tmp_path)
    if kind == "open to others":
        (tmp_path / "suspects").chmod(0o666)
    else:
        (tmp_path / "suspects").rename(tmp_path / "victim")
        (tmp_path / "suspects").symlink_to(tmp_path / "victim")
    assert not read_suspects(tmp_path)
    (tmp_path / "suspects.new").symlink_to(tmp_path / "precious")
    keep_suspects(tmp_path, known)
    assert not (tmp_path / "precious").exists()


LISTEN = """
import os, socket, sys
os.setgroups([]), os.setgid({other}), os.setuid({other})
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(sys.argv[1])
listener.listen()
print("listens", flush=True)
connection, _ = listener.accept()
print(len(connection.recv(1000)), flush=True)
"""


@needs_root
def test_a_false_supervisor_is_told_nothing(open_place: Path) -> None:  # noqa: F811
    """Clients ask the kernel who is listening before they send anything."""
    open_place.chmod(0o777)
    path = open_place / "socket"
    command = [sys.executable, "-c", LISTEN.format(other=OTHER), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as false:
        assert false.stdout is not None
        assert false.stdout.readline() == "listens\n"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.connect(str(path))
            who = rf"the process that listens at {path} \(pid {false.pid}\) belongs to user {OTHER}"
            text = f"{who}, and this process to user 0: nothing is sent there"
            with pytest.raises(spex.DataDirError, match=text):
                check_peer(connection, path)
        assert false.stdout.readline() == "0\n"


def test_the_own_supervisor_is_talked_to(tmp_path: Path) -> None:
    """Its socket belongs to the same user."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.connect(str(path))
            check_peer(connection, path)


def test_a_copy_made_by_the_system_is_opened(directory: Path) -> None:
    """Files that everybody may read were still not written by others."""
    copy = directory.parent / "copy"
    shutil.copytree(directory, copy, ignore=shutil.ignore_patterns("socket"))
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    with opened(copy) as manager:
        assert manager.get_instance(1).current_state == "closed"

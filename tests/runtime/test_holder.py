"""What a process is told that finds a data directory locked, and how long it waits."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spex_shards.errors import DataDirLocked
from spex_shards.runtime.data_dir import DataDir, OwnerLock
from spex_shards.runtime.holder import Holder, Role, identity_of

PLACE = Path("/srv/data")


@pytest.fixture
def other() -> Iterator[int]:
    """Return the id of another process, which runs."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid


def holder(role: Role, pid: int, *, going: bool = False) -> Holder:
    """Return a holder whose lock is held by this process, for the process `pid`."""
    return Holder(owner=identity_of(os.getpid()), application=identity_of(pid), role=role, going=going)


@pytest.mark.parametrize(
    ("role", "text"),
    [
        (Role.SERVER, "which serves it: use spex_shards.connect('/srv/data'), or stop that process first"),
        (
            Role.SHARDS,
            "use its shards by spex_shards.connect('/srv/data'), stop that process first, or use another directory",
        ),
        (
            Role.HERE,
            "to share one, use `spex-shards serve` and spex_shards.connect",
        ),
        (Role.TOOL, "stop that one first, or use another directory"),
    ],
)
def test_the_error_says_who_has_it_and_what_to_do(role: Role, text: str, other: int) -> None:
    """By what the holder does with the directory."""
    said = holder(role, other).described(PLACE, os.getpid())
    assert said.startswith(f"the data directory /srv/data belongs to process {other}")
    assert said.endswith(text)


@pytest.mark.parametrize(
    ("role", "kind"), [(Role.HERE, "an in-process manager"), (Role.SHARDS, "a manager with shard processes")]
)
def test_a_process_that_has_it_open_itself_is_told_so(role: Role, kind: str) -> None:
    """It cannot be told to stop that process."""
    assert holder(role, os.getpid()).described(PLACE, os.getpid()) == (
        f"this process has the data directory /srv/data open already, by {kind}: use that one, or close it first"
    )


def test_only_a_holder_that_may_be_going_is_waited_for(other: int) -> None:
    """Not this process itself, and not a server, once it has had the time to say that it was told to end."""
    me = os.getpid()
    assert holder(Role.HERE, me).stays(me, 0.0)
    assert holder(Role.SHARDS, me).stays(me, 0.0)
    assert not holder(Role.SHARDS, me, going=True).stays(me, 5.0)
    assert not holder(Role.SERVER, other).stays(me, 0.0)
    assert holder(Role.SERVER, other).stays(me, 0.5)
    assert not holder(Role.SERVER, other, going=True).stays(me, 5.0)
    for role in (Role.SHARDS, Role.HERE, Role.TOOL):
        assert not holder(role, other).stays(me, 5.0)
    assert not holder(Role.TOOL, me).stays(me, 5.0)
    assert not Holder(owner=[me, 1], application=identity_of(me), role=Role.HERE).stays(me, 5.0)
    assert not Holder(owner=identity_of(me), application=[other, 1], role=Role.SERVER).stays(me, 5.0)


@pytest.mark.parametrize("data", [b"", b"nonsense", b"[]", b'{"owner": 3, "workers": 5}', b'{"workers": [[1], "x"]}'])
def test_a_lock_file_of_any_content_is_read(data: bytes) -> None:
    """What it does not say is not known."""
    found = Holder.of(data)
    assert (found.owner, found.workers, found.is_dead) == (None, [], False)
    assert found.described(PLACE, 1) == (
        "the data directory /srv/data belongs to process None; stop that one first, or use another directory"
    )


def test_a_lock_file_of_an_earlier_version_is_read() -> None:
    """It names owner and workers alone."""
    me = identity_of(os.getpid())
    found = Holder.of(f'{{"owner": {me}, "workers": [{me}]}}'.encode())
    assert (found.owner, found.workers) == (me, [me])
    assert not found.stays(os.getpid(), 5.0)


def test_a_lock_is_refused_at_once_to_its_own_process(tmp_path: Path) -> None:
    """And is waited for while its holder gives it up."""
    directory = DataDir(tmp_path / "data")
    directory.make()
    held = OwnerLock(directory, role=Role.HERE)
    held.acquire()
    began = time.monotonic()
    with pytest.raises(DataDirLocked, match="this process has"):
        OwnerLock(directory).acquire(30)
    assert time.monotonic() - began < 10
    held.note_end()
    began = time.monotonic()
    with pytest.raises(DataDirLocked):
        OwnerLock(directory).acquire(0.2)
    assert time.monotonic() - began >= 0.2
    held.release()
    with OwnerLock(directory, role=Role.HERE):
        pass

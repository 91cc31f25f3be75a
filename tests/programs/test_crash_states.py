"""Legal states of the disk after a crash, rebuilt from a trace of a real run, and opened by the real recovery."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.programs.crash_states.explore import explore
from tests.programs.crash_states.images import KINDS, Explorer
from tests.programs.crash_states.load import MODES
from tests.programs.crash_states.trace import Op, Trace
from tests.support.places import of_length

IMAGES = of_length(10, 40, 60)


@pytest.mark.long
@pytest.mark.process
@pytest.mark.slow
@pytest.mark.tool("strace")
@pytest.mark.parametrize("mode", MODES[:2])
def test_whatever_a_crash_leaves_is_opened_whole(mode: str) -> None:
    """Kills and power cuts at any operation: whole batches only, everything that was synced, all indexes in order."""
    found = explore(mode, images=IMAGES, batches=100)
    assert found.outcomes == {"whole": IMAGES}, "\n".join(found.examples)
    assert set(found.images) == set(KINDS)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.tool("strace")
@pytest.mark.long
def test_lmdb_without_syncs_is_found_out(tmp_path: Path) -> None:
    """What the redo log is for; and the proof that the exploration can find anything."""
    found = explore(MODES[2], images=60, batches=100)
    assert found.outcomes["whole"] < 60
    assert len(found.outcomes) > 1


ROOT = "/root"


def _explorer(*ops: Op) -> Explorer:
    return Explorer(Trace(ROOT, [Op("mkdir", f"{ROOT}/a"), Op("sync folder", ROOT, since=1), *ops]), "f")


def _create(file: int, name: str) -> Op:
    return Op("create", f"{ROOT}/a/{name}", file)


def _write(file: int, offset: int, data: bytes) -> Op:
    return Op("write", f"{ROOT}/a/f", file, offset, data)


def _contents(explorer: Explorer, kind: str) -> set[tuple[tuple[str, bytes], ...]]:
    images = (explorer.image(explorer.points, kind, Random(seed)).files for seed in range(200))
    return {tuple(sorted((name.rpartition("/")[2], data) for name, data in files.items())) for files in images}


def test_what_was_synced_is_in_every_image() -> None:
    """A sync covers what was done before it began, and a folder's sync its entries."""
    folder = Op("sync folder", f"{ROOT}/a", since=4)
    synced = _explorer(_create(0, "f"), _write(0, 0, b"one"), folder, Op("sync", file=0, since=4), _write(0, 3, b"two"))
    assert _contents(synced, "nothing more") == {(("f", b"one"),)}
    assert _contents(synced, "some sectors") == {(("f", b"one"),), (("f", b"onetwo"),), (("f", b"one\0\0\0"),)}
    begun_before = _explorer(_create(0, "f"), _write(0, 0, b"one"), folder, Op("sync", file=0, since=3))
    assert _contents(begun_before, "nothing more") == {(("f", b""),)}


def test_what_was_not_synced_may_be_there_in_part() -> None:
    """By sectors, in any order among them; in one sector in the order of the writes; entries too."""
    folder = Op("sync folder", f"{ROOT}/a", since=3)
    torn = _explorer(_create(0, "f"), folder, _write(0, 0, b"a" * 512 + b"b" * 512), _write(0, 0, b"c" * 512))
    firsts = {files[0][1][:512].strip(b"\0")[:1] for files in _contents(torn, "some sectors")}
    halves = {(data[:1].strip(b"\0"), data[512:513].strip(b"\0")) for ((_, data),) in _contents(torn, "some sectors")}
    assert firsts == {b"", b"a", b"c"}
    assert halves >= {(b"", b"b"), (b"c", b""), (b"a", b"b")}
    unnamed = _explorer(_create(0, "f"), _write(0, 0, b"one"), Op("sync", file=0, since=4))
    assert _contents(unnamed, "nothing more") == {()}
    assert _contents(unnamed, "some sectors") == {(), (("f", b"one"),)}
    renamed = _explorer(
        _create(0, "new"),
        Op("rename", f"{ROOT}/a/new", 0, target=f"{ROOT}/a/f"),
        Op("sync folder", f"{ROOT}/a", since=4),
    )
    assert _contents(renamed, "nothing more") == {(("f", b""),)}


def test_a_kill_loses_nothing_but_the_end_of_the_last_write() -> None:
    """What the process gave to the system is there."""
    explorer = _explorer(_create(0, "f"), _write(0, 0, b"a" * 600), _write(0, 600, b"b" * 600))
    sizes = {len(data) for ((_, data),) in _contents(explorer, "kill")}
    assert sizes == {600, 1024, 1200}

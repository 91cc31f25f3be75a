"""The pages of LMDB's file: each is used once or free, and `verify` finds the faults that LMDB does not report."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

import spex_shards as spex
from spex_shards.audit import Finding, verify
from spex_shards.audit import pages as audited
from spex_shards.audit.pages import COUNTED, FORM, KNOWN, ONCE, audit_pages
from spex_shards.runtime.store.lmdb_store import LmdbStore
from tests.support.helper_specs import Door
from tests.support.places import of_length

PAGE = os.sysconf("SC_PAGE_SIZE")
META_AT = 16 + 24


class File:
    """LMDB's file of a shard, for tampering."""

    def __init__(self, shard: Path) -> None:
        self.path = shard / "data.mdb"
        self.data = bytearray(self.path.read_bytes())
        metas = [self.number(n * PAGE + META_AT + 2 * 48 + 8) for n in (0, 1)]
        self.meta = PAGE * metas.index(max(metas)) + META_AT
        self.last = self.number(self.meta + 2 * 48)

    def number(self, at: int) -> int:
        """Return the eight bytes at a position as a number."""
        return int(struct.unpack_from("@Q", self.data, at)[0])

    def put(self, at: int, value: int) -> None:
        """Write eight bytes."""
        struct.pack_into("@Q", self.data, at, value)
        self.path.write_bytes(self.data)

    def tree(self, index: int) -> int:
        """Return the position of the root page of the tree "free" (0) or "main" (1)."""
        return PAGE * self.number(self.meta + index * 48 + 40)

    def nodes(self, page: int) -> list[int]:
        """Return the positions of the data of a leaf's nodes."""
        lower = struct.unpack_from("@H", self.data, page + 12)[0]
        offsets = struct.unpack_from(f"@{(lower - 16) // 2}H", self.data, page + 16)
        found = []
        for offset in offsets:
            flags, key_size = struct.unpack_from("@HH", self.data, page + offset + 4)
            at = page + offset + 8 + key_size
            found.append(self.number(at) * PAGE + 16 if flags & 1 else at)  # 1: it lies in overflow pages
        return found

    def free_list(self) -> int:
        """Return the position of the longest list of free pages: their count, followed by the pages."""
        return max(self.nodes(self.tree(0)), key=self.number)

    def table(self, name: bytes) -> int:
        """Return the position of a table's tree."""
        main = self.tree(1)
        return next(at for at in self.nodes(main) if self.data[at - len(name) : at] == name)


def fill(shard: Path, batches: int = 60) -> None:
    """Write and delete small and large values, so that there are deep trees and free pages."""
    random = Random(1)
    store = LmdbStore(shard, sync=False)
    for _ in range(batches):
        rows = {
            table: {
                b"%08d" % random.randrange(20000): None
                if random.random() < 0.3
                else bytes(random.randrange(1, 9000 if random.random() < 0.02 else 200))
                for _ in range(300)
            }
            for table in ("instances", "history")
        }
        store.apply(rows)
    store.close()


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """Return a shard's folder whose file has trees of several levels, overflow pages and free pages."""
    fill(tmp_path / "shard-000")
    return tmp_path / "shard-000"


def findings(shard: Path) -> list[tuple[str, str, str]]:
    """Return the findings."""
    found: list[tuple[str, str, str]] = []
    audit_pages(shard, lambda *finding: found.append(finding))
    return found


@pytest.mark.parametrize("batches", [0, 1, 200])
def test_a_sound_file_has_no_findings(tmp_path: Path, batches: int) -> None:
    """The files range from an empty one to one whose free list has overflow pages."""
    fill(tmp_path / "shard-000", batches)
    assert findings(tmp_path / "shard-000") == []


def both(file: File) -> tuple[int, str, str]:
    """Make a used page free as well: the next transaction would overwrite it."""
    page = file.number(file.table(b"instances") + 40)
    file.put(file.free_list() + 8, page)
    return page, ONCE, "it is in the tree instances and in the free list"


def free_twice(file: File) -> tuple[int, str, str]:
    """Make a page free twice: it would be used twice."""
    at = file.free_list()
    file.put(at + 8, page := file.number(at + 16))
    return page, ONCE, "it is in the free list and in the free list"


def lost(file: File) -> tuple[int, str, str]:
    """Remove a page from the free list, so that it is neither free nor used."""
    at = file.free_list()
    page = file.number(at + 8 * file.number(at))
    file.put(at, file.number(at) - 1)
    return page, KNOWN, "neither is the case: it is lost"


def beyond(file: File) -> tuple[int, str, str]:
    """Add a free page that does not exist."""
    file.put(file.free_list() + 8, file.last + 7)
    return file.last + 7, FORM, f"in the free list: it lies behind the last page, {file.last}"


def far_beyond(file: File) -> tuple[int, str, str]:
    """Add the highest possible page number."""
    file.put(file.table(b"history") + 40, 2**64 - 2)
    return 2**64 - 2, FORM, f"in the tree history: it lies behind the last page, {file.last}"


def other_number(file: File) -> tuple[int, str, str]:
    """Give a page another page's number."""
    page = file.number(file.table(b"instances") + 40)
    file.put(page * PAGE, page + 1)
    return page, FORM, f"in the tree instances: number {page + 1}, flags 0x1"


def shared(file: File) -> tuple[int, str, str]:
    """Let two tables use the same pages."""
    page = file.number(file.table(b"instances") + 40)
    file.put(file.table(b"history") + 40, page)
    return page, ONCE, "it is in the tree instances and in the tree history"


def too_few(file: File) -> tuple[str, str, str]:
    """Let a table claim more rows than it has."""
    at = file.table(b"instances") + 32
    file.put(at, count := file.number(at) + 1)
    return "the tree instances", COUNTED, f"{count - 1} entries of {count}"


@pytest.mark.parametrize("spoil", [both, free_twice, lost, beyond, far_beyond, other_number, shared, too_few])
def test_whatever_is_wrong_with_a_page_is_found(shard: Path, spoil: Callable[[File], tuple[object, str, str]]) -> None:
    """The finding has the page's number, the rule, and what was found."""
    page, rule, value = spoil(File(shard))
    assert (str(page), rule, value) in findings(shard)


@pytest.mark.long
def test_any_flipped_bit_in_trees_and_free_list_is_survived(shard: Path) -> None:
    """There are findings or none, bounded in number, and never an exception."""
    file = File(shard)
    sound = bytes(file.data)
    random = Random(2)
    found, times = 0, of_length(50, 100, 150)
    for _ in range(times):
        data = bytearray(sound)
        page = random.choice([file.tree(0), file.tree(1), PAGE * random.randrange(2, file.last)])
        data[page + random.randrange(random.choice([16, 200, PAGE]))] ^= 1 << random.randrange(8)
        file.path.write_bytes(data)
        found += bool(findings(shard))
    assert times // 5 < found < times


def test_many_findings_are_cut_short(shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is counted."""
    monkeypatch.setattr(audited, "MOST_TOLD", 5)
    file = File(shard)
    at = file.free_list()
    for index in range(1, 21):
        file.put(at + 8 * index, 2)
    told = [finding for finding in findings(shard) if finding[1] == ONCE]
    assert len(told) == 6
    assert told[-1][2].startswith("so it is with ")


def test_verify_tells_of_pages_and_goes_on_with_the_rows(tmp_path: Path) -> None:
    """They are findings of the table "pages"."""
    path = tmp_path / "data"
    with spex.SimpleInstanceManager(data_dir=path, impl_models_dir=tmp_path / "m", learning_mode=True) as manager:
        for number in range(50):
            manager.init_instance(Door, number)
    with spex.SimpleInstanceManager(data_dir=path, impl_models_dir=tmp_path / "m", learning_mode=True) as manager:
        manager.transition(1, "open", "opened")
    assert verify(path) == []
    page, rule, value = lost(File(path / "shard-000"))
    assert verify(path) == [Finding(0, "pages", str(page), rule, value)]

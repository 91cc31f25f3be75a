"""Checks the pages of an LMDB file: each page must be used exactly once, or be free.

LMDB gives access to the content of its trees, but not to its free list. A page that is both used and free would be
overwritten by a later transaction. So this module reads the file itself, without LMDB. The format (LMDB 0.9, 64 bits,
in the machine's byte order) is::

    page      number 8 · pad 2 · flags 2 · lower 2, upper 2 (in the first overflow page: the number of pages, 4)
    meta      pages 0 and 1: magic 4 · version 4 · address 8 · map size 8 · tree "free" 48 · tree "main" 48
              · last page 8 · transaction 8;   the meta page with the higher transaction counts
    tree      pad 4 · flags 2 · depth 2 · branch, leaf and overflow pages, entries, root: 8 each
    branch    offsets of nodes, 2 each, from byte 16 up to `lower`;   a node: page number 6 · key size 2 · key
    leaf      the same offsets;   a node: data size 4 · flags 2 · key size 2 · key · data
              flag 1: the data is the number of an overflow page;   flag 2: the data is a tree, in "main" that of a
              table
    free      its keys are transactions, its data are numbers: a count, then that many numbers of free pages
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from ..runtime.store.meta_pages import DATA
from ..runtime.system.private import open_file

TABLE: Final = "pages"
ONCE: Final = "a page belongs to one tree, in one place, or is free"
KNOWN: Final = "a page belongs to a tree, or is free"
FORM: Final = "a page is what leads to it says"
COUNTED: Final = "a tree has as many pages and entries as it says"
MOST_TOLD: Final = 100
"""How many findings of a rule are reported one by one; the rest is reported as a number."""
_HEAD: Final = struct.Struct("@QHHHH")
_TREE: Final = struct.Struct("@IHHQQQQQ")
_NODE: Final = struct.Struct("@HHHH")
_META_AT: Final = _HEAD.size + 24
_BRANCH, _LEAF, _OVERFLOW, _META, _LEAF2 = 1, 2, 4, 8, 0x20
_BIG, _SUBTREE = 1, 2
_NOWHERE: Final = (1 << 64) - 1
_DEEPEST: Final = 32
_LEAST: Final = 1 << 30
_FREE: Final = "free"
_LIST: Final = "the free list"
Tell = Callable[[str, str, str], None]
"""Called with the page, the rule, and what was found instead."""


class _Damaged(Exception):
    """A page does not have the form that the page leading to it promises."""


class _Tree(NamedTuple):
    pad: int
    flags: int
    depth: int
    branches: int
    leaves: int
    overflows: int
    entries: int
    root: int


@dataclass(slots=True)
class _Counts:
    branches: int = 0
    leaves: int = 0
    overflows: int = 0
    entries: int = 0


def audit_pages(folder: Path, tell: Tell, step: Callable[[int, int], None] = lambda _done, _total: None) -> None:
    """Check every page of a shard's LMDB file against the trees and the free list; the file must not change meanwhile.

    Args:
        folder: The shard's folder.
        tell: Called with each finding.
        step: Called with the number of pages checked, and their total.

    Raises:
        OSError: The file cannot be read.
    """
    descriptor = open_file(folder / DATA, os.O_RDONLY)
    try:
        _Pages(descriptor, tell, step).audit()
    finally:
        os.close(descriptor)


class _Pages:
    def __init__(self, descriptor: int, tell: Tell, step: Callable[[int, int], None]) -> None:
        self._file = descriptor
        self._tell = tell
        self._step = step
        self._told: dict[str, int] = {}
        first = self._meta(0, 4096)
        self._size = first[0].pad  # the field `pad` of the tree "free" holds the page size
        metas = [first, self._meta(1, self._size)]
        self._free, self._main, self._last, _ = max(metas, key=lambda meta: meta[3])
        self._owners = ["nobody", "the meta pages"]
        self._owner_of = bytearray()  # for each page an index into `_owners`
        self._looked_at = 0

    def audit(self) -> None:
        """Walk all trees and the free list, then report the pages that belong to neither."""
        size = os.fstat(self._file).st_size
        if self._last * self._size > max(2 * size, _LEAST):
            self._find("1", FORM, f"the last page would be {self._last}, in a file of {size} bytes")
            return
        self._owner_of = bytearray(self._last + 1)
        self._owner_of[:2] = b"\1\1"
        self._walk(_FREE, self._free, self._take_free)
        self._walk("main", self._main, self._take_table)
        lost = [page for page, owner in enumerate(self._owner_of) if not owner]
        for start, end in _ranges(lost):
            self._find(f"{start}" if start == end else f"{start} to {end}", KNOWN, "neither is the case: it is lost")
        for rule, count in self._told.items():
            if count > MOST_TOLD:
                self._tell("", rule, f"so it is with {count - MOST_TOLD} more")

    # ------------------------------------------------------------------ trees

    def _walk(self, name: str, tree: _Tree, take: Callable[[bytes, bytes], None] | None) -> None:
        """Claim all pages of a tree, and pass the leaf nodes that lead to further pages to `take`."""
        if tree.root == _NOWHERE:
            return
        counts = _Counts()
        whole = self._descend(name, tree.root, tree.depth, counts, take)
        found = (counts.branches, counts.leaves, counts.overflows, counts.entries)
        said = (tree.branches, tree.leaves, tree.overflows, tree.entries)
        if whole and found != said:
            words = ("branch pages", "leaf pages", "overflow pages", "entries")
            text = ", ".join(f"{f} {w} of {s}" for f, s, w in zip(found, said, words, strict=True) if f != s)
            self._find(f"the tree {name}", COUNTED, text)

    def _descend(
        self, name: str, root: int, depth: int, counts: _Counts, take: Callable[[bytes, bytes], None] | None
    ) -> bool:
        """Claim the pages below `root`; return whether all of them could be read."""
        whole, waiting = True, [(root, 1)]
        while waiting:
            page, level = waiting.pop()
            try:
                if not self._claim(page, 1, name):
                    whole = False
                    continue
                leaf = level == depth
                data = self._page(page, _LEAF if leaf else _BRANCH)
                if level > min(depth, _DEEPEST):
                    raise _Damaged(f"it lies {level} deep in a tree of depth {depth}")
                if leaf:
                    counts.leaves += 1
                    whole &= self._leaf(name, data, counts, take)
                else:
                    counts.branches += 1
                    waiting += [(child, level + 1) for child in reversed(list(_children(data)))]
            except (_Damaged, struct.error, IndexError) as error:
                self._find(f"{page}", FORM, f"in the tree {name}: {error}")
                whole = False
        return whole

    def _leaf(self, name: str, data: bytes, counts: _Counts, take: Callable[[bytes, bytes], None] | None) -> bool:
        whole = True
        for flags, key, at, size in _nodes(data):
            counts.entries += 1
            if flags & _BIG:
                [first] = struct.unpack_from("@Q", data, at)
                whole &= self._overflow(name, first, size, counts)
                if take is not None and whole:
                    take(key, os.pread(self._file, size, first * self._size + _HEAD.size))
            elif flags & _SUBTREE or (take is not None and name == _FREE):
                if at + size > len(data):
                    raise _Damaged("a node that ends behind the page")
                if take is not None:
                    take(key, data[at : at + size])
        return whole

    def _overflow(self, name: str, first: int, size: int, counts: _Counts) -> bool:
        if first > self._last:
            self._find(f"{first}", FORM, f"in the tree {name}: it lies behind the last page, {self._last}")
            return False
        head = os.pread(self._file, _HEAD.size, first * self._size).ljust(_HEAD.size, b"\0")
        number, _, flags, low, high = _HEAD.unpack(head)
        count = struct.unpack("@I", struct.pack("@HH", low, high))[0]
        needed = (_HEAD.size + size - 1) // self._size + 1
        if number != first or not flags & _OVERFLOW or count < needed:
            text = f"number {number}, flags {flags:#x}, {count} pages for {size} bytes"
            self._find(f"{first}", FORM, f"in the tree {name}, an overflow page: {text}")
            return False
        counts.overflows += count
        return self._claim(first, count, name)

    def _take_table(self, key: bytes, data: bytes) -> None:
        if len(data) != _TREE.size:
            raise _Damaged(f"the table {key!r} has {len(data)} bytes")
        self._walk(key.decode(errors="backslashreplace"), _Tree._make(_TREE.unpack(data)), None)

    def _take_free(self, key: bytes, data: bytes) -> None:
        count, *pages = struct.unpack(f"@{len(data) // 8}Q", data[: len(data) // 8 * 8])
        if count > len(pages):
            raise _Damaged(f"it says that {count} pages were freed by transaction {int.from_bytes(key, 'little')}")
        for page in pages[:count]:
            self._claim(page, 1, _LIST)

    # ------------------------------------------------------------------ pages

    def _claim(self, first: int, count: int, name: str) -> bool:
        """Record that pages belong to a tree; return whether they exist and belonged to no other."""
        if first + count - 1 > self._last:
            self._find(f"{first}", FORM, f"in {_named(name)}: it lies behind the last page, {self._last}")
            return False
        mine, free = self._index(_named(name)), True
        for page in range(first, first + count):
            if self._owner_of[page]:
                other = self._owners[self._owner_of[page]]
                self._find(f"{page}", ONCE, f"it is in {_named(name)} and in {other}")
                free = False
            self._owner_of[page] = mine
        self._looked_at += count
        if self._looked_at % 256 < count:
            self._step(min(self._looked_at, self._last + 1), self._last + 1)
        return free

    def _index(self, owner: str) -> int:
        if owner not in self._owners:
            self._owners.append(owner)
        return min(self._owners.index(owner), 255)

    def _page(self, number: int, kind: int) -> bytes:
        data = os.pread(self._file, self._size, number * self._size)
        if len(data) < self._size:
            raise _Damaged("it lies behind the end of the file")
        found, _, flags, lower, upper = _HEAD.unpack_from(data)
        if found != number or flags & 0x0F != kind or flags & _LEAF2:
            raise _Damaged(f"number {found}, flags {flags:#x}")
        if not _HEAD.size <= lower <= upper <= self._size:
            raise _Damaged(f"room from {lower} to {upper}")
        return data

    def _meta(self, number: int, size: int) -> tuple[_Tree, _Tree, int, int]:
        data = os.pread(self._file, _META_AT + 2 * _TREE.size + 16, number * size)
        free = _Tree._make(_TREE.unpack_from(data, _META_AT))
        main = _Tree._make(_TREE.unpack_from(data, _META_AT + _TREE.size))
        last, transaction = struct.unpack_from("@QQ", data, _META_AT + 2 * _TREE.size)
        return free, main, last, transaction

    def _find(self, page: str, rule: str, value: str) -> None:
        count = self._told[rule] = self._told.get(rule, 0) + 1
        if count <= MOST_TOLD:
            self._tell(page, rule, value)


def _named(name: str) -> str:
    return name if name == _LIST else f"the tree {name}"


def _offsets(data: bytes) -> tuple[int, ...]:
    lower = _HEAD.unpack_from(data)[3]
    return struct.unpack_from(f"@{(lower - _HEAD.size) // 2}H", data, _HEAD.size)


def _children(data: bytes) -> Iterator[int]:
    for offset in _offsets(data):
        low, middle, high, _ = _NODE.unpack_from(data, offset)
        yield low | middle << 16 | high << 32


def _nodes(data: bytes) -> Iterator[tuple[int, bytes, int, int]]:
    """Yield the nodes of a leaf: flags, key, the offset of the data, and its size."""
    for offset in _offsets(data):
        low, high, flags, key_size = _NODE.unpack_from(data, offset)
        at = offset + _NODE.size + key_size
        yield flags, data[offset + _NODE.size : at], at, low | high << 16


def _ranges(pages: list[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for index, page in enumerate(pages):
        if index + 1 == len(pages) or pages[index + 1] != page + 1:
            yield pages[start], page
            start = index + 1

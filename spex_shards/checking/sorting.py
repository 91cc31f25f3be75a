"""Sorts ranges of arrays of machine integers (see `packed`)."""

from __future__ import annotations

from typing import Final

from librt.vecs import vec
from mypy_extensions import i64

from .packed import zeros

_FEW: Final = 24
"""So many numbers are sorted by insertion."""


def magnitude(cost: i64) -> i64:
    """Return the logarithm of a number to base 2, rounded down."""
    found: i64 = 0
    while cost > 1:
        cost >>= 1
        found += 1
    return found


def grown(numbers: vec[i64], size: i64) -> vec[i64]:
    """Return an array with the same beginning, and a larger size."""
    found = zeros(size)
    at: i64 = 0
    end: i64 = len(numbers)
    while at < end:
        found[at] = numbers[at]
        at += 1
    return found


def distinct(pool: vec[i64], begin: i64, end: i64) -> i64:
    """Remove numbers that occur twice from a sorted range; return where it ends then."""
    kept = begin + 1
    at = begin + 1
    while at < end:
        if pool[at] != pool[kept - 1]:
            pool[kept] = pool[at]
            kept += 1
        at += 1
    return kept


def sort(pool: vec[i64], begin: i64, end: i64) -> None:
    """Sort a range."""
    if end - begin > _FEW:
        _heap_sort(pool, begin, end - begin)
        return
    at = begin + 1
    while at < end:
        own = pool[at]
        to = at
        while to > begin and pool[to - 1] > own:
            pool[to] = pool[to - 1]
            to -= 1
        pool[to] = own
        at += 1


def _heap_sort(pool: vec[i64], begin: i64, size: i64) -> None:
    top = size >> 1
    while top > 0:
        top -= 1
        _sift(pool, begin, top, size)
    while size > 1:
        size -= 1
        own = pool[begin]
        pool[begin] = pool[begin + size]
        pool[begin + size] = own
        _sift(pool, begin, 0, size)


def _sift(pool: vec[i64], begin: i64, top: i64, size: i64) -> None:
    own = pool[begin + top]
    while True:
        down = 2 * top + 1
        if down >= size:
            break
        if down + 1 < size and pool[begin + down + 1] > pool[begin + down]:
            down += 1
        if pool[begin + down] <= own:
            break
        pool[begin + top] = pool[begin + down]
        top = down
    pool[begin + top] = own

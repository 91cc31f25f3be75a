"""Orders each rank of a layered graph so that few lines cross: barycentres, then swaps of neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

SWEEPS: Final = 16
_MOST_COUNTED: Final = 12_000
"""The most places of a graph whose crossings are counted; of a larger one the last order is taken."""
_MOST_SWAPPED: Final = 1_500
"""The most places of a graph whose neighbours are tried in the other order; more take too long."""

Ranks = list[list[int]]
Neighbours = Sequence[Sequence[int]]


def ordered(ranks: Ranks, up: Neighbours, down: Neighbours) -> Ranks:
    """Return the ranks in the order with the fewest crossings that was found.

    Args:
        ranks: The places of each rank, by number.
        up: The neighbours of each place in the rank above.
        down: Those in the rank below.
    """
    now = [list(row) for row in ranks]
    if sum(map(len, ranks)) > _MOST_COUNTED:
        for sweep in range(SWEEPS // 2):
            _sort(now, up if sweep % 2 == 0 else down, downwards=sweep % 2 == 0)
        return now
    best, fewest = [list(row) for row in ranks], crossings(ranks, down)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        _sort(now, up if sweep % 2 == 0 else down, downwards=sweep % 2 == 0)
        found = crossings(now, down)
        if found < fewest:
            best, fewest = [list(row) for row in now], found
    if fewest and sum(map(len, ranks)) <= _MOST_SWAPPED:
        _swap(best, up, down)
    return best


def crossings(ranks: Ranks, down: Neighbours) -> int:
    """Return how many pairs of lines between neighbouring ranks cross."""
    total = 0
    for row, below in pairwise(ranks):
        place = {node: at for at, node in enumerate(below)}
        ends = [end for node in row for end in sorted(place[n] for n in down[node] if n in place)]
        total += _inversions(ends, len(below))
    return total


def _inversions(values: Sequence[int], size: int) -> int:
    """Return how many pairs are in the wrong order, with a Fenwick tree."""
    tree, total = [0] * (size + 1), 0
    for seen, value in enumerate(values):
        at, not_greater = value + 1, 0
        while at:
            not_greater += tree[at]
            at -= at & -at
        total += seen - not_greater
        at = value + 1
        while at <= size:
            tree[at] += 1
            at += at & -at
    return total


def _sort(ranks: Ranks, neighbours: Neighbours, *, downwards: bool) -> None:
    """Order each rank by the mean position of its places' neighbours in the rank before it."""
    position: dict[int, float] = {node: float(at) for row in ranks for at, node in enumerate(row)}
    for row in ranks if downwards else reversed(ranks):
        for at, node in enumerate(row):
            near = neighbours[node]
            position[node] = sum(position[n] for n in near) / len(near) if near else float(at)
        row.sort(key=position.__getitem__)
        for at, node in enumerate(row):
            position[node] = float(at)


def _swap(ranks: Ranks, up: Neighbours, down: Neighbours) -> None:
    """Swap neighbours in a rank while that leaves fewer crossings."""
    place = {node: at for row in ranks for at, node in enumerate(row)}
    for _ in range(SWEEPS):
        better = False
        for row in ranks:
            for at in range(len(row) - 1):
                left, right = row[at], row[at + 1]
                gain = sum(_crossed(near[left], near[right], place) for near in (up, down))
                if gain > 0:
                    row[at], row[at + 1] = right, left
                    place[left], place[right] = at + 1, at
                    better = True
        if not better:
            return


def _crossed(left: Sequence[int], right: Sequence[int], place: dict[int, int]) -> int:
    """Return how many crossings go away when two places are swapped; negative: so many more."""
    return sum((place[a] > place[b]) - (place[a] < place[b]) for a in left for b in right)

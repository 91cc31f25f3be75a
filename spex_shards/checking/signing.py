"""`Signing`: the signatures of one round of `splitting`, and the classes of nodes that have the same one.

Signatures are sorted ranges of one array, found by a hash table, and compared in full.
"""

from __future__ import annotations

from mypy_extensions import i64

from .packed import zeros
from .sorting import grown


class Signing:
    """The classes of one round; and the nodes that still wait to be visited, the smallest first.

    Args:
        size: The number of nodes.
    """

    def __init__(self, size: i64) -> None:
        # Of one round: classes of nodes, plus 1; signatures of classes; nodes in the order of their visits.
        self._own = zeros(size)
        self._visited = zeros(size)
        self._pool = zeros(1024)
        self._pool_end: i64 = 0
        self._class_at = zeros(16)
        self._class_size = zeros(16)
        self._class_hash = zeros(16)
        self._class_next = zeros(16)
        self._class_nodes = zeros(16)
        self._classes: i64 = 0
        self._table = zeros(1024)
        self._table_round = zeros(1024)
        self._round: i64 = 0
        self._waiting = zeros(16)
        self._waits: i64 = 0

    def _adds_nothing(self, size: i64, own: i64) -> bool:
        """Return whether the newest signature has only elements of a class's signature, and a silent step to it."""
        pool, here = self._pool, self._pool_end
        end = self._class_at[own] + self._class_size[own]
        low = self._class_at[own]
        inert = -1 - own
        at = here
        while at < here + size:
            wanted = pool[at]
            at += 1
            if wanted == inert:
                continue
            high = end
            while low < high:
                middle = (low + high) >> 1
                if pool[middle] < wanted:
                    low = middle + 1
                else:
                    high = middle
            if low == end or pool[low] != wanted:
                return False
        return True

    def _class_of(self, here: i64, size: i64) -> i64:
        """Return the class with the signature at a place of the pool; a new one if there is none."""
        pool = self._pool
        hashed: i64 = 1469598103934665603
        at = here
        while at < here + size:
            hashed = (hashed ^ pool[at]) * 1099511628211
            hashed ^= hashed >> 29
            at += 1
        hashed &= 4611686018427387903
        entry = hashed & (len(self._table) - 1)
        if self._table_round[entry] != self._round:
            self._table_round[entry] = self._round
            self._table[entry] = 0
        own = self._table[entry] - 1
        while own >= 0:
            if self._class_hash[own] == hashed and self._class_size[own] == size:
                there = self._class_at[own]
                at = 0
                while at < size and pool[there + at] == pool[here + at]:
                    at += 1
                if at == size:
                    return own
            own = self._class_next[own] - 1
        own = self._classes
        if own == len(self._class_at):
            self._more_classes()
        self._class_at[own] = here
        self._class_size[own] = size
        self._class_hash[own] = hashed
        self._class_nodes[own] = 0
        self._classes = own + 1
        self._pool_end = here + size
        entry = hashed & (len(self._table) - 1)
        self._class_next[own] = self._table[entry]
        self._table[entry] = own + 1
        return own

    def _more_classes(self) -> None:
        """Make room for twice as many classes, and a table as large."""
        size: i64 = 2 * len(self._class_at)
        self._class_at = grown(self._class_at, size)
        self._class_size = grown(self._class_size, size)
        self._class_hash = grown(self._class_hash, size)
        self._class_next = grown(self._class_next, size)
        self._class_nodes = grown(self._class_nodes, size)
        if size <= len(self._table):
            return
        self._table = zeros(2 * len(self._table))
        self._table_round = zeros(len(self._table))
        entry: i64 = 0
        while entry < len(self._table):
            self._table_round[entry] = self._round
            entry += 1
        own: i64 = 0
        while own < self._classes:
            entry = self._class_hash[own] & (len(self._table) - 1)
            self._class_next[own] = self._table[entry]
            self._table[entry] = own + 1
            own += 1

    def _reserve(self, size: i64) -> None:
        if size > len(self._pool):
            self._pool = grown(self._pool, 2 * size)

    def _push(self, node: i64) -> None:
        """Add a node to those that wait, the smallest of which comes first."""
        at = self._waits
        if at == len(self._waiting):
            self._waiting = grown(self._waiting, 2 * at)
        waiting = self._waiting
        self._waits = at + 1
        while at > 0:
            up = (at - 1) >> 1
            if waiting[up] <= node:
                break
            waiting[at] = waiting[up]
            at = up
        waiting[at] = node

    def _pop(self) -> i64:
        """Remove the smallest node that waits, and return it."""
        waiting = self._waiting
        size = self._waits - 1
        self._waits = size
        found, node = waiting[0], waiting[size]
        at: i64 = 0
        while True:
            down = 2 * at + 1
            if down >= size:
                break
            if down + 1 < size and waiting[down + 1] < waiting[down]:
                down += 1
            if waiting[down] >= node:
                break
            waiting[at] = waiting[down]
            at = down
        waiting[at] = node
        return found

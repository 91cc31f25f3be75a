"""`Splitting`: the refinement of `refinement`, in arrays of machine integers (see `packed`).

::

    Blocks: nodes and dirty nodes ──▶ Signing: signatures, classes ──▶ Splitting: new blocks, and what they make dirty
"""

from __future__ import annotations

from typing import Final

from librt.vecs import append
from mypy_extensions import i64

from .arrays import pause
from .blocks import Blocks
from .packed import zeros
from .sorting import distinct, sort

_OFTEN: Final = 20_000
"""After so many visits of nodes, signals are handled and other threads can run."""


class Splitting(Blocks):
    """One run of the refinement; arguments and invariants are those of `refinement.Refinement`.

    Args:
        size: The number of nodes.
        visible: The visible steps. A code is a multiple of a number that is larger than any block's number.
        silent: The silent steps; each leads to a node with a smaller number.
    """

    def run(self, one: i64 = 0, other: i64 = 0) -> bool:
        """Refine until the partition is stable, or until two nodes are in different blocks.

        Returns:
            Whether the two nodes are in the same block.
        """
        block = self._block
        visited: i64 = 0
        while True:
            number = self._cheapest()
            if number < 0:
                return True
            visits = self._classify(number)
            visited += visits
            if visited > _OFTEN:
                visited = 0
                pause()
            self._split(number, visits)
            if block[one] != block[other]:
                return False

    def _classify(self, number: i64) -> i64:
        """Sort the dirty nodes of a block into classes by their signatures; class 0 is that of the other nodes.

        A silent step to class k of the same block stands in a signature as -1 - k.

        Returns:
            How many nodes were visited. `_visited` has them, and `_own` their classes.
        """
        begin, count = self._begin[number], self._dirty[number]
        self._dirty[number] = 0
        self._round += 1
        self._pool_end = 0
        self._classes = 0
        start = self._kept_at[number]
        at: i64 = 0
        size = self._kept_size[number]
        self._reserve(size)
        while at < size:
            self._pool[at] = self._kept[start + at]
            at += 1
        self._class_of(0, size)
        self._class_nodes[0] = 0
        visits: i64 = 0
        if not self._inert:
            while visits < count:
                node = self._nodes[begin + visits]
                self._visited[visits] = node
                own = self._class_of(self._pool_end, self._sign(node, number))
                self._own[node] = own + 1
                self._class_nodes[own] += 1
                visits += 1
            return visits
        return self._classify_upwards(number, begin, count)

    def _classify_upwards(self, number: i64, begin: i64, count: i64) -> i64:
        """Visit the dirty nodes against the direction of silent steps, and those that this changes."""
        visits: i64 = 0
        self._waits = 0
        at = begin
        while at < begin + count:
            self._push(self._nodes[at])
            at += 1
        while self._waits > 0:
            node = self._pop()
            if self._own[node] != 0:
                continue
            self._visited[visits] = node
            visits += 1
            own = self._class_with_silent(node, number)
            self._own[node] = own + 1
            self._class_nodes[own] += 1
            if own > 0:
                at = self._into_silently_first[node]
                while at < self._into_silently_first[node + 1]:
                    source = self._into_silently[at]
                    if self._block[source] == number and self._own[source] == 0:
                        self._push(source)
                    at += 1
        return visits

    def _class_with_silent(self, node: i64, number: i64) -> i64:
        """Return the class of a node: that of a silent successor if the node adds nothing to that signature."""
        size = self._sign(node, number)
        # If the node belongs to the class of any silent successor, it is the newest of these classes: each class has
        # silent steps to older classes only.
        newest: i64 = -1
        at = self._silent_first[node]
        while at < self._silent_first[node + 1]:
            target = self._silent_targets[at]
            if self._block[target] == number:
                own = self._own[target] - 1 if self._own[target] > 0 else 0
                if own > newest:
                    newest = own
            at += 1
        if newest >= 0 and size <= 1 + self._class_size[newest] and self._adds_nothing(size, newest):
            return newest
        return self._class_of(self._pool_end, size)

    def _sign(self, node: i64, number: i64) -> i64:
        """Write the signature of a node to the end of the pool; return its size."""
        first, silent_first, block = self._first, self._silent_first, self._block
        here = self._pool_end
        at, last = first[node], first[node + 1]
        silent, silent_last = silent_first[node], silent_first[node + 1]
        self._reserve(here + last - at + silent_last - silent)
        pool, codes, targets = self._pool, self._codes, self._targets
        end = here
        while at < last:
            pool[end] = codes[at] + block[targets[at]]
            end += 1
            at += 1
        while silent < silent_last:
            target = self._silent_targets[silent]
            own = block[target]
            if own == number:
                own = -self._own[target] if self._own[target] > 0 else -1
            pool[end] = own
            end += 1
            silent += 1
        if end - here > 1:
            sort(pool, here, end)
            end = distinct(pool, here, end)
        return end - here

    def _split(self, number: i64, visits: i64) -> None:
        """Make a block of each class, and mark the nodes whose signatures change by that."""
        rest = self._end[number] - self._begin[number] - visits
        older = rest + self._class_nodes[0]
        classes = self._classes
        if classes == 1 or (classes == 2 and older == 0):
            if classes == 2:  # all nodes have the same new signature; it contains no -1 - k
                self._store(number, 1)
            at: i64 = 0
            while at < visits:
                self._own[self._visited[at]] = 0
                at += 1
            return
        old_blocks = self._blocks
        self._arrange(number, visits)
        self._number(number, older)
        self._store_all(number, older)
        fresh = old_blocks
        while fresh < self._blocks:
            at = self._begin[fresh]
            while at < self._end[fresh]:
                self._block[self._nodes[at]] = fresh
                at += 1
            fresh += 1
        fresh = old_blocks
        while fresh < self._blocks:
            self._touch(fresh, number, old_blocks)
            fresh += 1

    def _number(self, number: i64, older: i64) -> None:
        """Give each class a range and a block's number; the largest one keeps the number of the old block.

        The nodes of class 0 are at the front of the range, and those of the other classes after them, in order.
        """
        self._class_nodes[0] = older
        largest: i64 = 0
        own: i64 = 1
        while own < self._classes:
            if self._class_nodes[own] > self._class_nodes[largest]:
                largest = own
            own += 1
        numbers = self._class_hash  # is not needed any more
        at = self._begin[number]
        own = 0
        while own < self._classes:
            size = self._class_nodes[own]
            numbers[own] = number
            if own != largest and size > 0:
                numbers[own] = self._blocks
                self._blocks += 1
            if size > 0:
                self._begin[numbers[own]] = at
                self._end[numbers[own]] = at + size
                at += size
            own += 1

    def _arrange(self, number: i64, visits: i64) -> None:
        """Sort the range of a block by classes; forget the classes of its nodes."""
        # The place of each class: after class 0 and the classes before it.
        end = self._end[number]
        places = self._class_next  # is not needed any more
        own = self._classes - 1
        while own > 0:
            end -= self._class_nodes[own]
            places[own] = end
            own -= 1
        # First the visited nodes of class 0 and those not visited come to the front.
        front = self._begin[number]
        last = self._end[number]
        nodes, place, owns = self._nodes, self._place, self._own
        if last - front > 2 * visits:
            self._arrange_few(number, visits, end)
            return
        at = front
        scratch = front
        while at < last:
            node = nodes[at]
            if owns[node] <= 1:
                owns[node] = 0
                nodes[scratch] = node
                place[node] = scratch
                scratch += 1
            at += 1
        self._place_visited(visits)

    def _arrange_few(self, number: i64, visits: i64, end: i64) -> None:
        """Sort the range of a block by classes, if few of its nodes were visited; class 0 ends at `end`."""
        nodes, place, owns = self._nodes, self._place, self._own
        # Nodes of class 0 behind `end` go to the places of nodes of other classes before it.
        free = zeros(visits)
        gaps: i64 = 0
        at: i64 = 0
        while at < visits:
            node = self._visited[at]
            if owns[node] > 1 and place[node] < end:
                free[gaps] = place[node]
                gaps += 1
            at += 1
        at = end
        while at < self._end[number]:
            node = nodes[at]
            if owns[node] <= 1:
                gaps -= 1
                nodes[free[gaps]] = node
                place[node] = free[gaps]
            at += 1
        self._place_visited(visits)

    def _place_visited(self, visits: i64) -> None:
        """Put the visited nodes of classes above 0 at the next places of their classes, and forget their classes."""
        nodes, place, owns, places = self._nodes, self._place, self._own, self._class_next
        at: i64 = 0
        while at < visits:
            node = self._visited[at]
            own = owns[node] - 1
            if own > 0:
                to = places[own]
                places[own] = to + 1
                nodes[to] = node
                place[node] = to
            owns[node] = 0
            at += 1

    def _store_all(self, number: i64, older: i64) -> None:
        """Store the signatures of the new blocks of a block; a silent step to a class now leads to its block."""
        numbers = self._class_hash
        if older > 1 and numbers[0] != number:
            self._kept_at[numbers[0]] = self._kept_at[number]
            self._kept_size[numbers[0]] = self._kept_size[number]
        own: i64 = 1
        while own < self._classes:
            if self._class_nodes[own] > 1:
                self._store(numbers[own], own)
            own += 1

    def _store(self, number: i64, own: i64) -> None:
        """Store the signature of a class as that of a block."""
        here, size = self._class_at[own], self._class_size[own]
        pool, numbers = self._pool, self._class_hash
        at: i64 = here
        while at < here + size and pool[at] < 0:
            pool[at] = numbers[-1 - pool[at]]
            at += 1
        if at > here:
            sort(pool, here, here + size)
            size = distinct(pool, here, here + size) - here
        if len(self._kept) > self._most_kept:
            self._tidy()
        self._kept_at[number] = len(self._kept)
        self._kept_size[number] = size
        kept = self._kept
        at = here
        while at < here + size:
            kept = append(kept, pool[at])
            at += 1
        self._kept = kept

    def _tidy(self) -> None:
        """Keep only the signatures of blocks with several nodes."""
        kept = zeros(0)
        number: i64 = 0
        while number < self._blocks:
            if self._end[number] - self._begin[number] > 1:
                at = self._kept_at[number]
                end = at + self._kept_size[number]
                self._kept_at[number] = len(kept)
                while at < end:
                    kept = append(kept, self._kept[at])
                    at += 1
            else:
                self._kept_size[number] = 0
            number += 1
        self._kept = kept
        self._most_kept = 2 * len(kept) + 4 * self._size + 1024

    def _touch(self, fresh: i64, number: i64, old_blocks: i64) -> None:
        """Mark the nodes with steps to a new block; silent steps inside the old block are in the signatures already."""
        # Marking changes the order of the nodes of a block.
        begin = self._begin[fresh]
        size = self._end[fresh] - begin
        moved = self._visited  # is not needed any more
        at: i64 = 0
        while at < size:
            moved[at] = self._nodes[begin + at]
            at += 1
        at = 0
        while at < size:
            node = moved[at]
            step = self._into_first[node]
            while step < self._into_first[node + 1]:
                self._mark(self._into[step])
                step += 1
            if self._inert:
                step = self._into_silently_first[node]
                while step < self._into_silently_first[node + 1]:
                    source = self._into_silently[step]
                    own = self._block[source]
                    if own != number and own < old_blocks:
                        self._mark(source)
                    step += 1
            at += 1

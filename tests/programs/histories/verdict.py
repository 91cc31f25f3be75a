"""Decides whether histories and rows agree with what is promised. Pure functions, each in O(n log n).

Labels are unique and each history entry has its sequence, so a history is its own witness: an order of all operations
is given, and no order has to be searched for. A write has the place of its entry, and a read lies just behind the
newest entry that it returned. This order is a linearisation exactly if no operation in it had been completed before
another one with a lower place was invoked: operations of one place, which are reads, can be ordered by their times.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from math import inf
from operator import itemgetter
from typing import Final, NamedTuple

from .history import START, Batch, Entry, Outcome, Read, Stored, Violation, Write

LOST: Final = "acknowledged is stored"
ONCE: Final = "exactly once"
SESSION: Final = "order of a session"
REAL_TIME: Final = "real-time order"
READS: Final = "reads show the history"
OWNERS: Final = "one owner at a time"
TIMERS: Final = "timers are reported once"
OF_A_LOSS: Final = frozenset({LOST, READS})
"""Rules that cannot hold where the store itself has lost committed batches."""


def judge(writes: Sequence[Write], reads: Sequence[Read], stored: Stored) -> list[Violation]:
    """Return all violations of what is promised of observations and reads."""
    by_instance: defaultdict[str, list[Write]] = defaultdict(list)
    for write in writes:
        by_instance[write.instance].append(write)
    reads_of: defaultdict[str, list[Read]] = defaultdict(list)
    for read in reads:
        reads_of[read.instance].append(read)
    found: list[Violation] = []
    for instance in sorted(by_instance.keys() | reads_of.keys() | stored.entries.keys()):
        entries = stored.entries.get(instance, [])
        of_it = by_instance[instance]
        found += lost(instance, of_it, entries)
        found += not_exactly_once(instance, of_it, entries)
        found += out_of_session_order(instance, of_it, entries)
        found += not_in_the_history(instance, reads_of[instance], entries)
        found += not_linearisable(instance, of_it, reads_of[instance], entries)
    return found + several_owners(stored)


def lost(instance: str, writes: Iterable[Write], entries: Iterable[Entry]) -> Iterator[Violation]:
    """Find acknowledged writes that are not stored."""
    there = {entry.label for entry in entries}
    for write in writes:
        if write.outcome is Outcome.ACKNOWLEDGED and write.label not in there:
            yield Violation(LOST, instance, f"{write.label} was acknowledged and is not stored")


def not_exactly_once(instance: str, writes: Iterable[Write], entries: Sequence[Entry]) -> Iterator[Violation]:
    """Find entries that are there twice, that nobody asked for, or that were refused; and gaps between entries."""
    outcomes = {write.label: write.outcome for write in writes}
    for label, count in Counter(entry.label for entry in entries).items():
        if count > 1:
            yield Violation(ONCE, instance, f"{label} is stored {count} times")
        if outcomes.get(label) is Outcome.REFUSED:
            yield Violation(ONCE, instance, f"{label} was refused and is stored")
        if label not in outcomes and label != START:
            yield Violation(ONCE, instance, f"{label} is stored and was never asked for")
    sequences = [entry.seq for entry in entries]
    if sequences != list(range(1, len(sequences) + 1)):
        gap = next(at for at, seq in enumerate(sequences, 1) if at != seq)
        yield Violation(ONCE, instance, f"the sequences of its entries have a gap at {gap}")


def out_of_session_order(instance: str, writes: Iterable[Write], entries: Iterable[Entry]) -> Iterator[Violation]:
    """Find writes of one session that are stored in another order than that of `writes`, in which they were invoked."""
    places = _places(entries)
    newest: dict[tuple[str, int], Write] = {}
    for write in writes:
        if write.label not in places:
            continue
        session = write.client, write.session
        before = newest.get(session)
        if before is not None and places[write.label] < places[before.label]:
            text = f"{write.label} was sent after {before.label}, and is stored before it"
            yield Violation(SESSION, instance, text)
        else:
            newest[session] = write


def not_in_the_history(instance: str, reads: Iterable[Read], entries: Sequence[Entry]) -> Iterator[Violation]:
    """Find reads that returned something that the final history does not have at one place."""
    places = _places(entries)
    labels = [entry.label for entry in entries]
    for read in reads:
        if not read.labels:
            yield Violation(READS, instance, f"{read.client} was told that there is no such instance")
            continue
        end = places.get(read.labels[-1])
        if end is None:
            yield Violation(READS, instance, f"{read.client} was shown {read.labels[-1]}, which is not stored")
        elif tuple(labels[max(0, end - len(read.labels)) : end]) != read.labels:
            yield Violation(READS, instance, f"{read.client} was shown {read.labels}, which the history does not have")


class _Placed(NamedTuple):
    place: float
    invoked: float
    completed: float
    text: str


def not_linearisable(
    instance: str, writes: Iterable[Write], reads: Iterable[Read], entries: Iterable[Entry]
) -> Iterator[Violation]:
    """Find operations that had been completed before another one, which lies before them, was invoked.

    So it finds writes that overtake others, reads that miss what was acknowledged before, that show what was not asked
    for yet, and that go backwards.
    """
    places = _places(entries)
    placed = [
        _Placed(places[write.label], write.invoked, write.completed, f"the write {write.label}")
        for write in writes
        if write.label in places and write.outcome is not Outcome.REFUSED
    ]
    for read in reads:
        if read.labels and read.labels[-1] in places:
            place = places[read.labels[-1]] + 0.5
            placed.append(_Placed(place, read.invoked, read.completed, f"a read of {read.labels[-1]} by {read.client}"))
    latest: _Placed | None = None
    told: _Placed | None = None  # one late operation lies before all that had ended: once is enough
    for _, group in groupby(sorted(placed, key=itemgetter(0)), itemgetter(0)):
        together = list(group)
        for one in together:
            if latest is not None and latest is not told and one.completed < latest.invoked:
                told = latest
                late = latest.invoked - one.completed
                text = f"{latest.text} was begun {late:.3f} s after {one.text} had ended, and lies before it"
                yield Violation(REAL_TIME, instance, text)
        newest = max(together, key=lambda one: one.invoked)
        if latest is None or newest.invoked > latest.invoked:
            latest = newest


def _places(entries: Iterable[Entry]) -> dict[str, int]:
    places: dict[str, int] = {}
    for place, entry in enumerate(entries, 1):
        places.setdefault(entry.label, place)
    return places


# ---------------------------------------------------------------------- owners


def several_owners(stored: Stored) -> list[Violation]:
    """Find batches of different owners that lie between each other, as the ledger and the rows' transactions tell."""
    found: list[Violation] = []
    of_shard: defaultdict[int, list[Batch]] = defaultdict(list)
    for batch in stored.batches:
        of_shard[batch.shard].append(batch)
    for shard, batches in sorted(of_shard.items()):
        found += _interleaved(f"shard {shard}", batches)
    for instance, entries in sorted(stored.entries.items()):
        found += _rewritten(instance, entries, of_shard.get(stored.shards[instance], []))
    return found


def _interleaved(where: str, batches: Sequence[Batch]) -> Iterator[Violation]:
    for before, batch in pairwise(batches):
        if batch.seq != before.seq + (not batch.claims):
            yield Violation(OWNERS, where, f"batch {batch.seq} follows batch {before.seq}")
        if batch.claims and batch.epoch <= before.epoch:
            yield Violation(OWNERS, where, f"a claim has epoch {batch.epoch} after epoch {before.epoch}")
        if not batch.claims and batch.epoch != before.epoch:
            yield Violation(OWNERS, where, f"batch {batch.seq} has epoch {batch.epoch} without a claim")
    left: set[int] = set()
    epochs: dict[int, int] = {}
    for before, batch in pairwise([None, *batches]):
        if before is not None and before.backend != batch.backend:
            left.add(before.backend)
        if batch.backend in left:
            left.discard(batch.backend)  # once is enough
            yield Violation(OWNERS, where, f"batch {batch.seq} is of a connection that another had followed")
        if epochs.setdefault(batch.backend, batch.epoch) != batch.epoch and not batch.claims:
            yield Violation(
                OWNERS, where, f"batch {batch.seq} is of a connection that had epoch {epochs[batch.backend]}"
            )
            epochs[batch.backend] = batch.epoch


def _rewritten(instance: str, entries: Sequence[Entry], batches: Sequence[Batch]) -> Iterator[Violation]:
    if not batches:
        return
    written = {batch.transaction: batch.at for batch in batches}
    newest = -1
    for entry in entries:
        at = written.get(entry.transaction)
        if at is None:
            yield Violation(OWNERS, instance, f"entry {entry.seq} was written by no batch of the shard")
        elif at < newest:
            text = f"entry {entry.seq} was written before entry {entry.seq - 1}, which a later batch replaced"
            yield Violation(OWNERS, instance, text)
        newest = newest if at is None else at


# ---------------------------------------------------------------------- timers


def wrong_timers(
    created: Iterable[str], heard: Mapping[str, int], allowed: Callable[[str], int] = lambda _: 1
) -> list[Violation]:
    """Find timeouts that were not reported, or too often.

    Args:
        created: The instances whose creation was acknowledged, and which stay in their first state.
        heard: Instance → how often its timeout was reported.
        allowed: Returns how many reports an instance may have. An application that ends between a report and its
            confirmation leaves the report to the next one.
    """
    found: list[Violation] = []
    for instance in created:
        count, most = heard.get(instance, 0), allowed(instance)
        if count == 0:
            found.append(Violation(TIMERS, instance, "its timeout was not reported"))
        elif count > most:
            found.append(Violation(TIMERS, instance, f"its timeout was reported {count} times; {most} are allowed"))
    return found


# ---------------------------------------------------------------------- where the store has lost something


def judge_loss(violations: Sequence[Violation], shards: Mapping[str, int], noticed: set[int]) -> list[Violation]:
    """Return what is wrong where a server has lost committed batches: a loss must be noticed, and all else must hold.

    Args:
        violations: The violations that `judge` has found.
        shards: Instance → its shard.
        noticed: The shards whose owner has said that the store lacks batches.
    """
    found = [one for one in violations if one.rule not in OF_A_LOSS]
    silent = {shards[one.where] for one in violations if one.rule == LOST} - noticed
    found += [Violation(LOST, f"shard {shard}", "acknowledged writes are lost, and nobody noticed") for shard in silent]
    return found


def longest_pause(writes: Iterable[Write], since: float, until: float) -> float:
    """Return the longest time in which a client that writes was not acknowledged anything, between two moments."""
    ends: defaultdict[str, list[float]] = defaultdict(list)
    for write in writes:
        if write.outcome is Outcome.ACKNOWLEDGED and since <= write.completed < min(until, inf):
            ends[write.client].append(write.completed)
    gaps = [0.0]
    for times in ends.values():
        gaps += [after - before for before, after in pairwise([since, *sorted(times)])]
    return max(gaps)

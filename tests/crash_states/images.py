"""Images of a folder that are legal after a power loss at some instant."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from ..simulation.disk import SECTOR, _put, _sectors
from .trace import Event, Trace

VARIANTS = ("all", "synced only", "some", "some", "torn")
Image = dict[str, bytes]


def images(trace: Trace, count: int, seed: int = 0) -> Iterator[tuple[float, str, Image]]:
    """Yield instants, what was kept of what was not synced, and images: `count` instants, each in all variants."""
    random = Random(seed)
    last = len(trace.events)
    places = sorted({random.randrange(last) for _ in range(count)} | {last - 1} if count < last else range(last))
    for place in places:
        instant = trace.events[place].end
        for variant in VARIANTS:
            yield instant, variant, image(trace.events[: place + 1], instant, variant, random)


def image(events: list[Event], instant: float, variant: str, random: Random) -> Image:
    """Return one image: what was synced before the instant, and of the rest what the variant says."""
    folder_synced = max((e.start for e in events if e.kind == "sync folder" and e.end <= instant), default=-1.0)
    syncs: dict[str, float] = {}
    for event in events:
        if event.kind == "sync" and event.end <= instant:
            syncs[event.name] = max(syncs.get(event.name, -1.0), event.start)
    files: dict[str, bytearray] = {}
    lost_from = _first_lost_entry(events, folder_synced, variant, random)
    for place, event in enumerate(events):
        if event.kind in ("create", "rename", "remove"):
            if place < lost_from:
                _entry(files, event)
        elif event.name in files and event.kind in ("write", "truncate"):
            name = event.name
            synced = event.at_once or event.end <= _covers(events, place, syncs, name)
            _apply(files[name], event, synced=synced, last=place == len(events) - 1, variant=variant, random=random)
    return {name: bytes(data) for name, data in files.items()}


def _covers(events: list[Event], place: int, syncs: dict[str, float], name: str) -> float:
    # A file that is renamed takes its syncs along.
    later = next((e.other for e in events[place:] if e.kind == "rename" and e.name == name), "")
    return max(syncs.get(name, -1.0), syncs.get(later, -1.0) if later else -1.0)


def _first_lost_entry(events: list[Event], folder_synced: float, variant: str, random: Random) -> int:
    entries = [n for n, e in enumerate(events) if e.kind in ("create", "rename", "remove") and e.end > folder_synced]
    if variant in ("all", "torn") or not entries:
        return len(events)
    return entries[0] if variant == "synced only" else random.choice([*entries, len(events)])


def _entry(files: dict[str, bytearray], event: Event) -> None:
    if event.kind == "create":
        files.setdefault(event.name, bytearray())
    elif event.kind == "rename" and event.name in files:
        files[event.other] = files.pop(event.name)
    elif event.kind == "remove":
        files.pop(event.name, None)


def _apply(data: bytearray, event: Event, *, synced: bool, last: bool, variant: str, random: Random) -> None:
    if event.kind == "truncate":
        del data[event.offset :]
        data.extend(bytes(event.offset - len(data)))
        return
    chunks = _sectors(event.offset, event.data)
    if not synced and variant == "synced only":
        chunks = []
    elif not synced and variant == "some":
        chunks = [chunk for chunk in chunks if random.random() < 0.5]
    elif not synced and variant == "torn" and last:
        chunks = chunks[: random.randint(0, len(chunks))]
    for offset, chunk in chunks:
        _put(data, offset, chunk)


__all__ = ["SECTOR", "images"]

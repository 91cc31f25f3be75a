"""The rules for all other rows: specifications, models, deviations, clients, answers, log records, counters."""

from __future__ import annotations

from typing import Any, Final

from ..checking.conformance import Verdict
from ..domain.impl_model import ImplModel
from ..domain.transition import Transition
from ..engine.catalogue import Entry
from ..engine.models import deviation_row
from ..errors import DataDirError, show
from ..messages.specifications import StoredSpecification
from ..runtime.hosting import SERVICE
from ..runtime.protocol import codec, records
from ..runtime.rows import named
from ..runtime.worker.outbox import LOST, NEXT
from ..runtime.worker.suspect_rows import SUSPECTS
from ..runtime.worker.suspects import Suspects
from .contents import TAKEN
from .reading import Reading, is_time, number, require

_COUNTERS: Final = (b"next instance", NEXT, LOST, b"checkpoint", b"checkpoint epoch", b"age")


def audit_specifications(reading: Reading) -> None:
    """Check that every specification can be read and has a number of its own; run before all other rules."""
    for key, row in reading.rows("specifications"):
        with reading.row("specifications", key.decode(errors="replace")):
            own, plain = records.unseal(row, "a specification")
            stored = StoredSpecification.of(plain)
            require(stored.declaration.name.encode() == key, f"the name {stored.declaration.name}")
            require(type(own) is int and own > 0, f"the number {own!r}")
            require(own not in reading.specifications, f"the number {own}, which another has too")
            reading.specifications[own] = Entry(own, stored, stored.digest())


def audit_jobs(reading: Reading) -> None:
    """Check that work done in portions belongs to a stored specification."""
    for key, value in reading.rows("jobs"):
        reading.settling.add(number(key))
        if len(key) != 4 or number(key) not in reading.specifications:
            reading.report("jobs", key, "its specification is stored", number(key))
        if value[:1] not in (b"", b"\0", b"\1"):
            reading.report("jobs", key, "its state is the key of an instance", value.hex())


def audit_models(reading: Reading) -> None:
    """Check that models are numbered without a gap, have a header each, and number their transitions without a gap."""
    names: set[str] = set()
    model, size = 0, 0
    known: set[Transition] = set()
    for key, row in reading.rows("models"):
        with reading.row("models", key):
            require(len(key) == 12, f"a key of {len(key)} bytes")
            here, place = number(key[:4]), number(key[4:])
            expected = (here, size + 1) if here == model else (model + 1, 0)
            if (here, place) != expected:
                rule = f"model {expected[0]}, transition {expected[1]} is next (0: the header)"
                reading.report("models", key, rule, f"model {here}, transition {place}")
            if here != model:
                known = set()
            model, size = here, place
            values = records.unseal(row, "a model")
            if place:
                _transition(known, values)
            else:
                [name] = values
                require(type(name) is str and name not in names, f"the name {name!r}, which another has too")
                names.add(name)


def _transition(known: set[Transition], values: Any) -> None:
    [transition] = ImplModel(specification="", transitions=frozenset([Transition._make(values)])).transitions
    require(transition not in known, f"the transition {values}, which is there already")
    known.add(transition)


def audit_deviations(reading: Reading) -> None:
    """Check that each deviation has exactly one row."""
    seen: set[tuple[str, Transition]] = set()
    for key, row in reading.rows("deviations"):
        with reading.row("deviations", key):
            name, transition, verdict, accepted, count, first, last, digest, judged = deviation_row(row)
            Verdict(verdict)
            require(len(key) == 8 and type(name) is str and type(accepted) is bool, f"{[name, accepted]}")
            require(type(count) is int and count > 0, f"the count {count!r}")
            require(is_time(first) and is_time(last) and first <= last, f"times {[first, last]}")
            require(type(digest) is bytes, f"the digest {digest!r}")
            require(type(judged) is bytes, f"what it was judged with, {judged!r}")
            both = (name, Transition._make(transition))
            require(both not in seen, f"{name}: {transition}, which is counted already")
            seen.add(both)


def audit_clients(reading: Reading) -> None:
    """Check that each answer belongs to a known client and to a request that was applied."""
    for key, row in reading.rows("clients"):
        with reading.row("clients", key):
            applied, events, gone = records.unseal(row, "a client")
            require(len(key) == 16, f"an id of {len(key)} bytes")
            # -1 means: this client's row was damaged and replaced, and the client will be told so.
            require(all(type(n) is int and n >= 0 for n in (applied + 1, events, gone)), f"{[applied, events, gone]}")
            reading.clients[key] = applied
    for key, row in reading.rows("answers"):
        with reading.row("answers", key):
            own = number(key[16:])
            entry = records.unseal(row, "an answer")
            require(len(key) == 24 and type(entry) is list and entry[0] == own, f"an answer to {entry[:1]}")
            if not 1 <= own <= reading.clients.get(key[:16], 0):
                rule = "it answers a request that its client's row counts as applied"
                reading.report("answers", key, rule, reading.clients.get(key[:16], "no such client"))


def audit_rows(reading: Reading) -> None:
    """Check that the rows of an application's service can be read, and lie where the service says, if that is known."""
    for place, row in reading.rows("rows"):
        with reading.row("rows", place):
            codec.decode(records.unseal(row, "a row of the service"))
            _, key = named(place)
            if reading.routed_by is not None:
                _row_place(reading, place, show(key))


def _row_place(reading: Reading, place: bytes, key: str) -> None:
    assert reading.routed_by is not None
    try:
        homes = reading.homes(reading.routed_by(place))
    except DataDirError as error:
        reading.report("rows", key, "its service says which key it belongs to", str(error))
        return
    if reading.shard not in homes:
        reading.report("rows", key, f"it lies on shard {min(homes)}, where its service has it", reading.shard)


def audit_counters(reading: Reading) -> None:
    """Check that waiting log records are numbered below their counter, and that every counter is known; run last."""
    counters = {name: number(reading.store.get("layout", name) or b"") for name in _COUNTERS}
    for key, row in reading.rows("outbox"):
        with reading.row("outbox", key):
            require(len(key) == 8 and type(records.unseal(row, "a log record")) is list, "no log record")
            if number(key) >= counters[NEXT]:
                reading.report("layout", "next report", f"it is above {number(key)}", counters[NEXT])
    for key, value in reading.rows("layout"):
        if key == SERVICE:
            with reading.row("layout", "service"):
                require(type(records.unseal(value, "the name of the service")) is str, "no name of a service")
        elif key == SUSPECTS:
            with reading.row("layout", "suspects"):
                Suspects.of(records.unseal(value, "the suspects"))
        elif (key not in _COUNTERS and not key.startswith(TAKEN)) or len(value) != 8:
            reading.report("layout", key.decode(errors="replace"), "it is a counter that is known", value.hex())

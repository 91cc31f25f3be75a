"""The inputs that mutations start from: valid inputs of each kind, and some nearly valid ones."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import UUID

import xxhash

import spex_shards as spex
from spex_shards.domain.instance import Instance, TransitionRecord
from spex_shards.engine.row_forms import INSTANCE_VERSION
from spex_shards.messages import operations as ops
from spex_shards.messages.specifications import describe
from spex_shards.messages.values import instance_plain
from spex_shards.runtime.protocol import codec, records
from spex_shards.runtime.protocol.operations import NOWAIT, STATS
from spex_shards.runtime.protocol.requests import DECLARE, HELLO, NOTICES, PROTOCOL_VERSION, SEEN
from spex_shards.runtime.protocol.session import frame
from spex_shards.runtime.store.lmdb_store import LmdbStore
from spex_shards.runtime.store.log_format import Header, pack_record
from spex_shards.runtime.store.meta_pages import DATA, RECORD, USED_BYTES
from tests.support.contract_specs import Order, Timed

MOMENT: Final = datetime(2024, 5, 6, 7, 8, 9, 10, UTC)
VALUES: Final[tuple[Any, ...]] = (
    None, True, -1, 1 << 70, 1.5, "text", b"bytes", ("a", 1, ("b", None)), UUID(int=7), MOMENT, Decimal("1.50"),
    spex.Verdict.VIOLATION, Order, {"k": [1, (2,)], "": {}},
)  # fmt: skip
ONE: Final = codec.canonical(("order", 1))
ERROR: Final = spex.InstanceNotFound("there is none", identifier=("order", 1), more=[MOMENT, {"a": 1}])
INSTANCE: Final = Instance(
    specification=Order.name, identifier=("order", 1), meta={"total": 12}, current_state="paid",
    history=[TransitionRecord("pay", "paid", MOMENT)],
)  # fmt: skip


def plain_requests() -> list[list[Any]]:
    """Return one request or notice of each kind."""
    stored = [describe(cls)[0].plain() for cls in (Order, Timed)]
    meta = codec.encode_meta({"total": 12, "tags": ["a", ("b", MOMENT)]})
    bodies: list[tuple[int, list[Any]]] = [
        (HELLO.code, [PROTOCOL_VERSION, 1, False, False, 0, 0]),
        (DECLARE.code, [_without_handler(stored[0]), None]),
        (DECLARE.code, [_without_handler(stored[1]), None]),
        (ops.INIT.code, [Order.name, ONE, meta, None]),
        (ops.INIT.code | NOWAIT, [Timed.name, codec.canonical(2), None, "a"]),
        (ops.TRANSITION.code, [ONE, "pay", "paid"]),
        (ops.TRANSITION.code | NOWAIT, [ONE, "explode", "nowhere"]),
        (ops.MOCK.code, [Order.name, ONE, None, "paid"]),
        (ops.DELETE.code, [ONE]),
        (ops.GET.code, [ONE, 100]),
        (ops.HISTORY.code, [ONE, 1, 1, 10]),
        (ops.PAGE.code, [None, None, 10]),
        (ops.PAGE.code, [Order.name, ONE, 0]),
        (ops.MODELS.code, []),
        (ops.DEVIATIONS.code, [None]),
        (ops.DEVIATIONS.code, [Order.name]),
        (ops.SPECIFICATION.code, [Order.name]),
        (STATS.code, []),
        (SEEN.code, [1]),
    ]
    requests, number = [], 0
    for code, arguments in bodies:
        notice = code in NOTICES
        number += not notice
        requests.append([0 if notice else number, 0, int(code), 7, *arguments])
    return requests


def _without_handler(plain: list[Any]) -> list[Any]:
    return [*plain[:-1], ["default", "", ""]]


def frames() -> list[bytes]:
    """Return streams of frames, each after a byte that says how to cut it."""
    whole = b"".join(frame(plain) for plain in plain_requests())
    return [
        b"\x00" + whole[:200],
        b"\xff" + whole,
        b"\x05" + frame(list(range(300))),
        b"\x20" + frame({"a": [None] * 50}),
    ]


def requests() -> list[bytes]:
    """Return requests."""
    return [codec.pack(plain) for plain in plain_requests()] + [b"\x91" * 1000 + b"\xc0"]


def shard() -> list[bytes]:
    """Return conversations with a shard."""
    plain = plain_requests()
    start = b"".join(frame(notice) for notice in plain[:3])
    return [b"".join(frame(one) for one in plain), *(start + frame(one) for one in plain[3:]), start]


def replies() -> list[bytes]:
    """Return replies."""
    error = records.error_plain(ERROR)
    return [
        codec.pack([1, []]),
        codec.pack([3, [[1, True, [1, 2], []], [2, False, error, []], [3, False, error, []]]]),
        codec.pack([-1, [[-1, False, error, []]]]),
        codec.pack([2, [[1, True, None, [["name", 20, "text", 1.5, "path", 3, "f", None, False]]]]]),
    ]


def messages() -> list[bytes]:
    """Return messages of the socket."""
    return [
        codec.pack(message)
        for message in (
            ["attach", PROTOCOL_VERSION, b"x" * 16],
            ["open", 0],
            ["revive", 0],
            ["status"],
            ["attach", PROTOCOL_VERSION, b"x" * 16, 1],
            ["channel", 0, 1, 2],
            ["channel", b"x" * 16, 1, True],
            ["attached", 2, 17, 2, 1000],
            ["refused", 1, 2],
            ["down", 0, 1, 17, "SIGKILL"],
            ["failed", 0, None, None],
            ["status", [[0, 17, "ready", 0, None]]],
            ["boot failed", records.error_plain(ERROR)],
            ["not yet", "why"],
            ["started", ["a warning"]],
            ["stopped", []],
        )
    ]


def identifiers() -> list[bytes]:
    """Return canonical bytes."""
    return [codec.canonical(value) for value in VALUES] + [codec.canonical(VALUES)]


def values() -> list[bytes]:
    """Return values with everything that may be sent."""
    others = (INSTANCE, ERROR, spex.Transition("a", "b", "c"), INSTANCE.history[0], [ERROR, (INSTANCE,)])
    return [records.encode_value(value) for value in (*VALUES, list(VALUES), *others)]


def rows() -> list[bytes]:
    """Return payloads of rows, each after the byte of its kind, and complete rows."""
    instance = [INSTANCE_VERSION, 1, 2, 3, 4, 5, None, False, "paid", None]
    plain = [instance, describe(Timed)[0].plain(), records.error_plain(ERROR), instance_plain(INSTANCE)]
    packed = [codec.pack(one) for one in plain]
    made = [bytes((kind,)) + payload for kind, payload in enumerate(packed)]
    return made + [bytes((128 | kind,)) + p + xxhash.xxh32_digest(p) for kind, p in enumerate(packed)]


def models() -> list[bytes]:
    """Return `.spex` texts."""
    model = spex.ImplModel(
        specification=Order.name,
        transitions=[spex.Transition(None, spex.INITIALISATION, "new"), spex.Transition("new", "pay", ' "q" ]-> \n')],
        learning_mode=True,
    )
    empty = spex.ImplModel(specification="", transitions=[], learning_mode=False)
    return [model.serialise().encode(), empty.serialise().encode(), model.serialise().replace("\n", "\r\n").encode()]


def _batch(number: int) -> bytes:
    return codec.pack({"instances": {b"k%d" % number: b"v" * number, b"gone": None}, "layout": {b"x": b"y"}})


def meta_pages() -> list[bytes]:
    """Return the record of an environment's meta pages, after its length, followed by the pages."""
    made = []
    with TemporaryDirectory() as name:
        for number in (1, 2):
            store = LmdbStore(Path(name), sync=False)
            store.apply({"instances": {b"key": bytes(number)}})
            store.close()
            record, pages = (Path(name) / RECORD).read_bytes(), (Path(name) / DATA).read_bytes()
            used = pages[:USED_BYTES] + pages[4096 : 4096 + USED_BYTES]
            made += [len(record).to_bytes(2, "big") + record + used, b"\0\0" + used]
    return made


def log() -> list[bytes]:
    """Return the two files of a log, after the position where the second one begins."""
    generation = 0x0102030405060708
    first = Header(1, generation, 1, 0).pack() + b"".join(
        pack_record(generation, n, n // 2, _batch(n)) for n in (1, 2, 3)
    )
    second = Header(2, 9 << 56, 4, 3).pack() + b"".join(pack_record(9 << 56, n, 3, _batch(n)) for n in (4, 5))
    both = len(first).to_bytes(2, "big") + first + second
    return [
        both,
        b"\x00\x00" + second,
        (len(first) + 5).to_bytes(2, "big") + first + bytes(5) + second,
        b"\0\0" + bytes(64),
    ]


def log_records() -> list[bytes]:
    """Return the numbers and separated payloads that `targets` makes a log from."""
    chunk = b"\x00\x00" + _batch(3)
    half = b"\x01\x05\x01\x00" + b"\xfe\xfe".join([chunk, chunk, b"\x00\x01" + _batch(1)])
    return [
        b"\x00" + half,
        b"\x00" + half + b"\xff\xff" + b"\x02\x06\x04\x00" + chunk,
        b"\x02" + half + b"\xff\xff" + half,
    ]

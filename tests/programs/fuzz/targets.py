"""The fuzz targets: functions that take any bytes, and accept or refuse them as their contract says.

A target raises nothing if it refuses its input properly; every exception is a failure.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from spex_shards.domain.impl_model import ImplModel
from spex_shards.engine.row_forms import instance_row
from spex_shards.errors import DataDirError, DeserialisationFailed, StoreError
from spex_shards.formats import spex_text
from spex_shards.messages import operations as ops
from spex_shards.messages.specifications import StoredSpecification
from spex_shards.messages.values import instance_of
from spex_shards.runtime.protocol import codec, records
from spex_shards.runtime.protocol.control import OF_WORKER, TO_CLIENT, TO_OWNER, TO_SUPERVISOR, TO_WORKER, Attach
from spex_shards.runtime.protocol.requests import ProtocolError, read_request
from spex_shards.runtime.protocol.sent import Sent
from spex_shards.runtime.protocol.session import ClientSession
from spex_shards.runtime.protocol.wire import FrameReader, receive_message
from spex_shards.runtime.store.log_format import HEADER_BYTES, Header, pack_record
from spex_shards.runtime.store.meta_pages import DATA, RECORD, USED_BYTES, MetaPages
from spex_shards.runtime.store.recovery import Checkpoint, recover
from spex_shards.runtime.supervisor.attach import NoCommonVersion, agree
from tests.support.asking import OPERATIONS

from . import seeds
from .shard import ShardTarget

LIMIT: Final = 16384
"""Most bytes of a frame here."""
CORPUS: Final = Path(__file__).parent / "corpus"


@dataclass(frozen=True, slots=True)
class Target:
    """One reader of bytes.

    Attributes:
        make: Returns the function for one process; that function returns whether it accepted the bytes.
        seeds: Returns the inputs that mutations start from.
        share: The weight of its inputs, 1 for most targets; less for targets that write files.
    """

    name: str
    make: Callable[[], Callable[[bytes], bool]]
    seeds: Callable[[], list[bytes]]
    share: float = 1.0

    def corpus(self) -> list[bytes]:
        """Return the seeds, and inputs that were found earlier."""
        found = sorted((CORPUS / self.name).glob("*")) if (CORPUS / self.name).is_dir() else []
        return [*self.seeds(), *(path.read_bytes() for path in found)]


def _frames(data: bytes) -> bool:
    """The first byte says in which portions the rest arrives."""
    reader, step = FrameReader(LIMIT), 1 + (data[0] if data else 0) * 8
    stream = data[1:]
    try:
        for start in range(0, len(stream), step):
            reader.feed(stream[start : start + step])
            held = len(reader._buffer)
            if held > LIMIT + 4 + step:
                raise AssertionError(f"{held} bytes are held back")
    except ProtocolError:
        return False
    return True


def _requests(data: bytes) -> bool:
    try:
        request = read_request(codec.unpack(data), OPERATIONS)
        request.operation.check(request.arguments)
    except ValueError:
        return False
    return True


def _replies(data: bytes) -> bool:
    """A shard's reply, read by a client with three requests on their way."""
    session = ClientSession()
    sent = [Sent(ops.TRANSITION, 0, (b"\x01", "a", "b"), waits=waits) for waits in (True, True, False)]
    for one in sent:
        session.add(one)
    try:
        session.receive(codec.unpack(data))
        for one in sent[:2]:
            if one.answer is not None and one.answer[1] is False:
                records.error_of(one.answer[2])
    except ValueError:
        return False
    return True


_DIRECTIONS = (TO_SUPERVISOR, TO_CLIENT, TO_WORKER, OF_WORKER, TO_OWNER)


def _read(direction: Any, plain: list[Any]) -> Any:
    try:
        return direction.read(plain)
    except ProtocolError:
        return None


class _Messages:
    """The bytes are one message of the supervisor or to it, in any direction."""

    def __init__(self) -> None:
        self._ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def __call__(self, data: bytes) -> bool:
        ours, theirs = self._ends
        ours.send(data)
        try:
            received = receive_message(theirs)
            if received is None:
                raise AssertionError("a message was sent, and nothing is there")
            plain, _ = received
            read = [message for direction in _DIRECTIONS if (message := _read(direction, plain)) is not None]
            for message in read:
                if isinstance(message, Attach):
                    agree(message)
        except (ProtocolError, EOFError, NoCommonVersion):
            return False
        return bool(read)

    def __del__(self) -> None:
        for end in self._ends:
            end.close()


def _identifiers(data: bytes) -> bool:
    """An accepted identifier must have exactly these canonical bytes."""
    try:
        identifier = codec.identifier_of(data)
        again = codec.canonical(identifier)
    except (ValueError, TypeError):
        return False
    if again == data and codec.identifier_of(again) != identifier and "nan" not in repr(identifier).lower():
        raise AssertionError("it does not come back as it was")
    return again == data


def _values(data: bytes) -> bool:
    try:
        value = records.decode_value(data)
    except ValueError:
        return False
    try:
        encoded = records.encode_value(value)
    except (ValueError, TypeError):
        return False  # nested deeper than may be written
    if repr(records.decode_value(encoded)) != repr(value):
        raise AssertionError("it does not come back as it was")
    return True


def _rows(data: bytes) -> bool:
    """The first byte says which kind of row it is, and whether its checksum is right."""
    kind, payload = (data[0], data[1:]) if data else (0, b"")
    row = payload if kind & 128 else payload + records.xxhash.xxh32_digest(payload)
    try:
        match kind % 4:
            case 0:
                instance_row(row)
            case 1:
                StoredSpecification.of(records.unseal(row, "a specification")).digest()
            case 2:
                records.error_of(records.unseal(row, "an error"))
            case _:
                instance_of(records.unseal(row, "an instance"))
    except (StoreError, ValueError):
        return False
    return True


def _models(data: bytes) -> bool:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    spex_text.specification_named_in(text)
    try:
        model = ImplModel.deserialise(text)
    except DeserialisationFailed as error:
        if not 1 <= error.context["line"] <= text.count("\n") + 1:
            raise AssertionError(f"there is no line {error.context['line']}") from error
        return False
    if ImplModel.deserialise(model.serialise()) != model:
        raise AssertionError("it does not come back as it was")
    return True


def _log(data: bytes) -> bool:
    """Two files with any bytes; the first two bytes say where the second one begins."""
    cut = int.from_bytes(data[:2], "big")
    rest = data[2:]
    try:
        recover({"log-0": rest[:cut], "log-1": rest[cut:]}, Checkpoint(0, 0))
    except DataDirError:
        return False
    return True


def _log_records(data: bytes) -> bool:
    """Two files with right checksums, and any numbers and payloads."""
    files, checkpoint = {}, data[0] % 4 if data else 0
    for index, half in enumerate(data[1:].split(b"\xff\xff", 1)):
        head = half[:4].ljust(4, b"\1")
        epoch, generation, first, synced = head
        parts = [Header(epoch, generation << 56, first, synced).pack()]
        for number, chunk in enumerate(half[4:].split(b"\xfe\xfe")):
            if len(chunk) > 2:
                sequence = first + number + (chunk[0] if chunk[0] < 3 else 0)
                parts.append(pack_record(generation << 56, sequence, chunk[1], chunk[2:]))
        files[f"log-{index}"] = b"".join(parts)
    try:
        found = recover(files, Checkpoint(checkpoint, 0))
    except DataDirError:
        return False
    if found.last < checkpoint or found.batches != found.last - checkpoint:
        raise AssertionError("the batches do not follow one another")
    return found.batches > 0 or len(files["log-0"]) == HEADER_BYTES


class _MetaPages:
    """A record after its length in two bytes, followed by the meaningful parts of the two meta pages."""

    def __init__(self) -> None:
        self._place = TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        folder = Path(self._place.name)
        self._pages = MetaPages(folder, sync=False)
        self._record, self._data = (os.open(folder / name, os.O_RDWR | os.O_CREAT) for name in (RECORD, DATA))
        os.ftruncate(self._data, 1 << 16)

    def __call__(self, data: bytes) -> bool:
        cut = 2 + int.from_bytes(data[:2], "big")
        record, pages = data[2:cut], data[cut : cut + 2 * USED_BYTES].ljust(2 * USED_BYTES, b"\0")
        os.ftruncate(self._record, len(record))
        os.pwrite(self._record, record, 0)
        os.pwrite(self._data, pages[:USED_BYTES], 0)
        os.pwrite(self._data, pages[USED_BYTES:], 4096)
        try:
            return self._pages.check()
        except DataDirError:
            return False

    def __del__(self) -> None:
        os.close(self._record)
        os.close(self._data)
        self._place.cleanup()


def _same(function: Callable[[bytes], bool]) -> Callable[[], Callable[[bytes], bool]]:
    return lambda: function


TARGETS: Final[dict[str, Target]] = {
    target.name: target
    for target in (
        Target("frames", _same(_frames), seeds.frames),
        Target("requests", _same(_requests), seeds.requests),
        Target("shard", ShardTarget, seeds.shard),
        Target("replies", _same(_replies), seeds.replies),
        Target("messages", _Messages, seeds.messages),
        Target("identifiers", _same(_identifiers), seeds.identifiers),
        Target("values", _same(_values), seeds.values),
        Target("rows", _same(_rows), seeds.rows),
        Target("models", _same(_models), seeds.models),
        Target("meta-pages", _MetaPages, seeds.meta_pages, 0.2),
        Target("log", _same(_log), seeds.log),
        Target("log-records", _same(_log_records), seeds.log_records),
    )
}


def run_one(name: str, data: bytes) -> Any:
    """Give one input to a target."""
    return TARGETS[name].make()(data)

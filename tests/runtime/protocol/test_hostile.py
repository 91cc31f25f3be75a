"""Hostile bytes and hostile users: what reaches a running shard, and what another user of the machine can reach."""

from __future__ import annotations

import ast
import os
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.engine.row_forms import instance_row
from spex_shards.messages import operations as ops
from spex_shards.messages.specifications import StoredSpecification, describe
from spex_shards.messages.values import instance_of
from spex_shards.runtime.protocol import codec, records
from spex_shards.runtime.protocol.answers import NOT_ANSWERED
from spex_shards.runtime.protocol.operations import STATS
from spex_shards.runtime.protocol.requests import (
    DECLARE,
    HELLO,
    OLDEST_PROTOCOL,
    PROTOCOL_VERSION,
    ProtocolError,
    read_request,
)
from spex_shards.runtime.protocol.session import ClientSession, frame
from spex_shards.runtime.system.stream import Descriptor
from tests.support.asking import OPERATIONS
from tests.support.helper_specs import Door
from tests.support.processes import wait_until
from tests.support.raw_client import RawClient

PACKAGE = Path(spex.__file__).parent
DEEP = b"\x91" * 1000 + b"\xc0"
"""A thousand lists in one another: msgpack reads them, Python's `repr` gives up."""


def framed(payload: bytes) -> bytes:
    """Return a frame of any payload."""
    return len(payload).to_bytes(4, "big") + payload


def spoilt_specification(**changes: Any) -> list[Any]:
    """Return a specification's plain form with some of its nine entries replaced, by index."""
    plain = describe(Door)[0].plain()
    for index, value in changes.items():
        plain[int(index.removeprefix("at"))] = value
    return plain


HOSTILE = {
    "no msgpack": framed(b"\xc1"),
    "longer than a frame may be": b"\xff\xff\xff\xff",
    "nested too deeply to be shown": framed(DEEP),
    "a dict": framed(b"\x80"),
    "an unknown code": frame([1, 0, 63, 0]),
    "a request before the hello": frame([1, 0, STATS.code, 0]),
    "a hello with nested arguments": framed(b"\x98" + codec.pack([0, 0, HELLO.code, 0, 1, 1, False])[1:] + DEEP),
    "a timeout of 1e300 s": frame([0, 0, DECLARE.code, 0, spoilt_specification(at4=1e300), None]),
    "a timeout that is a list": frame([0, 0, DECLARE.code, 0, spoilt_specification(at4=[]), None]),
    "a number for transitions": frame([0, 0, DECLARE.code, 0, spoilt_specification(at2=3), None]),
    "a specification without entries": frame([0, 0, DECLARE.code, 0, [], None]),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a manager with one shard, and its directory."""
    folder = tmp_path_factory.mktemp("served")
    with spex.ShardedInstanceManager(
        data_dir=folder / "data",
        impl_models_dir=folder / "models",
        distribution_factor=1,
        learning_mode=True,
        call_timeout=20,
        max_restarts=0,
    ) as manager:
        yield manager, folder / "data"


@pytest.mark.process
@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_bytes_cost_their_sender_its_channel_and_nobody_anything(served: Any, what: str) -> None:
    """The sender gets the reason and is disconnected; the shard keeps its process."""
    manager, data_dir = served
    pid = manager.shards()[0].pid
    client = RawClient(data_dir, greet=False)
    os.write(client.requests, HOSTILE[what])
    upto, [[number, ok, error, _]] = client.answer()
    assert (upto, number, ok) == (NOT_ANSWERED, NOT_ANSWERED, False)
    assert isinstance(records.error_of(error), spex.ShardDown)
    wait_until(lambda: Descriptor(client.replies).read() == b"", "the channel is closed")
    client.close()
    manager.init_instance_nowait(Door, what)
    manager.flush()
    assert manager.shards()[0].pid == pid


@pytest.mark.process
def test_a_client_that_dies_within_a_frame_changes_nothing(served: Any) -> None:
    """Half a request has no effect; complete requests before it are applied."""
    manager, data_dir = served
    client = RawClient(data_dir)
    whole = codec.canonical("whole"), "half"
    client.send(0, 0, DECLARE.code, 0, describe(Door)[0].plain(), None)
    client.send(1, 0, ops.INIT.code, 0, Door.name, whole[0], None, None)
    half = frame([2, 0, ops.INIT.code, 0, Door.name, codec.canonical(whole[1]), None, None])
    os.write(client.requests, half[: len(half) // 2])
    assert client.answer() == [1, []]
    client.close()
    manager.init_instance(Door, "after")
    assert manager.get_instance("whole").current_state == "closed"
    with pytest.raises(spex.InstanceNotFound):
        manager.get_instance("half")


@pytest.mark.process
@pytest.mark.parametrize(
    "message",
    [b"\xc1", DEEP, *map(codec.pack, (7, ["open"], ["open", "x"], ["attach", 99, b"x" * 16]))],
    ids=lambda message: repr(message[:20]),
)
def test_a_hostile_message_on_the_socket_costs_its_sender_the_connection(served: Any, message: bytes) -> None:
    """The supervisor keeps serving all others."""
    manager, data_dir = served
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(20)
        connection.connect(str(data_dir / "run" / "socket"))
        connection.send(message)
        answers = list(iter(lambda: connection.recv(1000), b""))  # then the connection is closed
        assert answers == ([codec.pack(["refused", OLDEST_PROTOCOL, PROTOCOL_VERSION])] if b"attach" in message else [])
    assert manager.shards()[0].status is spex.ShardStatus.READY


@pytest.mark.parametrize(
    "plain", [codec.unpack(DEEP), {"a": 1}, [1], None, [1, 0, [], 0], [-1, 0, 3, 0], [0, 0, 3, 0], [1, 0, 0, 0]]
)
def test_what_is_no_request_is_a_protocol_error(plain: Any) -> None:
    """This holds for any bytes and any depth."""
    with pytest.raises(ProtocolError):
        read_request(plain, OPERATIONS)


def test_arguments_of_any_depth_are_refused_by_name() -> None:
    """The error names argument and rule, and shows at most a part of the value."""
    with pytest.raises(ValueError, match="identifier must be 1 to 65536 bytes") as caught:
        ops.GET.check([codec.unpack(DEEP), 1])
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "reply", [codec.unpack(DEEP), [codec.unpack(DEEP), []], [0, [{}]], [0, [[]]], [0, [[1, False]]], 7]
)
def test_what_is_no_reply_is_a_protocol_error(reply: Any) -> None:
    """This is the client's side."""
    with pytest.raises(ProtocolError):
        ClientSession().receive(reply)


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (StoredSpecification.of, codec.unpack(DEEP)),
        (StoredSpecification.of, spoilt_specification(at4=1e300)),
        (StoredSpecification.of, spoilt_specification(at8=codec.unpack(DEEP))),
        (records.error_of, 1.5),
        (records.error_of, ["store_error", "text", b"", None]),
        (records.error_of, ["store_error", 7, {}, None]),
        (instance_of, None),
        (instance_of, ["n", b"\x01", None, "s", [[2**62, "a", "b"]]]),
    ],
)
def test_plain_forms_of_a_wrong_shape_are_value_errors(read: Callable[[Any], Any], value: Any) -> None:
    """A part may have another type, or be a time outside the calendar."""
    with pytest.raises(ValueError):
        read(value)


def test_an_instances_row_of_a_wrong_shape_is_a_store_error() -> None:
    """Its checksum is right."""
    with pytest.raises(spex.StoreError, match="unknown form"):
        instance_row(records.seal(7))


def test_a_small_frame_takes_little_memory_whatever_it_claims() -> None:
    """A claimed length without content is refused before anything is allocated for it."""
    import tracemalloc

    tracemalloc.start()
    try:
        for claim in (
            b"\xdd\xff\xff\xff\xff",
            b"\xdf\xff\xff\xff\xff",
            b"\xc6\xff\xff\xff\xff",
            b"\xdb\xff\xff\xff\xff",
        ):
            with pytest.raises(ValueError):
                codec.unpack(claim)
            with pytest.raises(ValueError):
                codec.decode(claim)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.long
def test_bytes_are_unpickled_where_the_design_says_and_nowhere_else() -> None:
    """These are predicates of `delete_instances` and handlers that cannot be imported; only `shipping` uses dill."""
    importers, callers = set(), []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = str(path.relative_to(PACKAGE))
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            modules = {node.module or ""} if isinstance(node, ast.ImportFrom) else set(names)
            if {m.partition(".")[0] for m in modules} & {
                "pickle",
                "_pickle",
                "dill",
                "marshal",
                "shelve",
                "cloudpickle",
            }:
                importers.add(name)
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                assert called not in ("eval", "exec") or isinstance(node.func, ast.Attribute), f"{name}:{node.lineno}"
                callers += [name] * (called == "unship")
    assert importers == {"runtime/protocol/shipping.py"}
    assert callers == ["engine/handlers.py", "engine/service.py", "runtime/hosting.py"]


@pytest.fixture
def open_place() -> Iterator[Path]:
    """Return a folder that every user can enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def a_directory_at_work(place: Path) -> Iterator[Path]:
    """Serve a data directory with two shards and an instance; its folder was created before, open to all."""
    data = place / "data"
    data.mkdir(mode=0o755)
    data.chmod(0o755)
    with spex.ShardedInstanceManager(
        data_dir=data, impl_models_dir=place / "models", distribution_factor=2, learning_mode=True, call_timeout=20
    ) as manager:
        for number in range(20):
            manager.init_instance(Door, number)
        yield data


@pytest.mark.process
@pytest.mark.usefixtures("no_process_left")
def test_nothing_in_a_data_directory_is_open_to_others(open_place: Path) -> None:
    """For every umask, files are 0600, folders 0700, and the socket is 0600 in a folder of its own."""
    before = os.umask(0)
    try:
        with a_directory_at_work(open_place) as data:
            modes = {path: path.lstat().st_mode for path in data.rglob("*")}
    finally:
        os.umask(before)
    assert len(modes) > 8
    open_ones = {str(path.relative_to(data)): oct(mode) for path, mode in modes.items() if stat.S_IMODE(mode) & 0o077}
    assert not open_ones
    assert stat.S_IMODE(modes[data / "run"]) == 0o700
    assert stat.S_IMODE(modes[data / "run" / "socket"]) == 0o600


def as_another_user(action: Callable[[], str]) -> str:
    """Return the result of `action` in a forked child that is another user."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.write(writing, action().encode())
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:  # noqa: PTH123
        said = file.read().decode()
    os.waitpid(pid, 0)
    return said


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")


@needs_root
@pytest.mark.process
@pytest.mark.usefixtures("no_process_left")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_another_user_can_read_nothing_and_attach_to_nothing(open_place: Path) -> None:
    """This holds even if that user may enter the data directory, which was created before."""

    def pry() -> str:
        opened = []
        for path in paths:
            try:
                os.close(os.open(path, os.O_RDONLY))
                opened.append(str(path))
            except PermissionError:
                pass
        try:
            spex.connect(data)
        except (spex.SpexError, OSError):
            return f"opened {opened}, not attached"
        return f"opened {opened}, attached"

    with a_directory_at_work(open_place) as data:
        paths = [path for path in data.rglob("*") if not path.is_socket()]
        assert as_another_user(pry) == "opened [], not attached"


@needs_root
@pytest.mark.process
@pytest.mark.usefixtures("no_process_left")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_another_user_who_reaches_the_socket_is_shown_out(open_place: Path) -> None:
    """The modes are open here: the supervisor asks the kernel who connects, and accepts only its own user."""

    def knock() -> str:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(20)
            connection.connect(str(data / "run" / "socket"))
            return f"was told {connection.recv(1000)!r}"

    with a_directory_at_work(open_place) as data:
        (data / "run").chmod(0o755)
        (data / "run" / "socket").chmod(0o666)
        assert as_another_user(knock) == "was told b''"
        client = RawClient(data)
        client.send(1, 0, STATS.code, 0)
        assert client.answer()[0] == 1
        client.close()


@pytest.mark.process
@pytest.mark.usefixtures("no_process_left")
def test_what_an_earlier_supervisor_left_at_the_sockets_place_is_replaced(places: dict[str, Path]) -> None:
    """A stale socket refuses connections, and a new supervisor replaces it."""
    with spex.ShardedInstanceManager(**places, distribution_factor=1):
        pass
    run = places["data_dir"] / "run"
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stale.bind(str(run / "socket"))
    stale.close()
    with pytest.raises(spex.ShardDown, match="no process serves"):
        spex.connect(places["data_dir"])
    with spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True) as manager:
        manager.init_instance(Door, 1)
        with spex.connect(places["data_dir"]) as client:
            assert client.get_instance(1).current_state == "closed"

"""`Shards`: runs a service of the application, for users of the runtime who need no specifications."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from ..errors import DataDirError, SpexError
from .lifetime import Lifetime, raise_unapplied
from .protocol.codec import canonical, encode
from .protocol.records import decode_value
from .shard_info import ShardInfo
from .transport import Transport

if TYPE_CHECKING:
    from .client import ClientOptions
    from .cluster.address import Address
    from .cluster.member import Member
    from .clusters import Cluster
    from .declared import Declared, OperationOf, Service

HOST: Final = "spex_shards.runtime.hosting:prepare"
LONGEST: Final = 30 * 86400.0
logger = logging.getLogger("spex_shards")


class Shards(Lifetime):
    """Runs a service on a number of shards: processes that each own a part of the state and are restarted on their own.

    Each command is applied exactly once, and is durable when `call` returns. A shard that is killed continues with
    everything that was acknowledged. The constructor checks its arguments and starts nothing; ``with`` or `start` does.
    Thread-safe. A forked child uses the same object as a new client. A program that creates one needs no ``if __name__
    == "__main__"`` guard for it: shards never import the program's main module.

    Args:
        service: A subclass of `Service`; a class that cannot be imported by its name is sent to the shards.
        data_dir: The directory that holds all state; it belongs to this service alone. None exactly if `cluster` is
            given.
        shards: The number of shards, 1 to 1024; fixed for a data directory.
        cluster: Use the shards of a cluster that others run; the options of shards are theirs then, and none may be
            given here. See ``docs/cluster.md``.
        member: Be a member of a cluster: run some of its shards here, and let clients of other machines in; needs
            `store`.
        store: The URL of a PostgreSQL database that holds the shards' state, ``postgresql://user@host/database``; None:
            the directory holds it. See ``docs/postgres.md``.
        namespace: The name of the schema there. Default: the URL's parameter ``namespace``, or "spex_shards".
        processes: False: run one shard in this process and start no other process; `shards` must be 1.
        durability: ``"process"`` (changes survive the death of any process) or ``"disk"`` (also a power loss); with
            `store` also ``"remote_apply"`` (also the loss of the database's machine, if it has a synchronous replica).
        call_timeout: Seconds that a call waits for its answer.
        max_unacknowledged: The most calls of `post` that may be on their way to a shard.
        max_frame_bytes: The most bytes of one call.
        spin: Seconds that a call looks for its answer before it sleeps (see docs/performance.md); 0: it sleeps at once.
        max_restarts, max_seconds: A shard that dies more than `max_restarts` times within `max_seconds` is given up,
            and started again after pauses that grow.
        hang_timeout: Seconds without progress after which a shard counts as hung and is killed; None: never.
        shutdown_timeout: Seconds that shards get to finish when they are closed.
        on_message: Called on one thread with each message that a service sends to this process.

    Raises:
        TypeError: `service` is not a service, or one of its operations has a form that is not allowed.
        ValueError: An argument breaks its rule; the text names the argument, the rule and the value.
    """

    what: ClassVar[str] = "shard runtime"
    opens_shards: ClassVar[str] = "shards={}"

    def __init__(
        self,
        service: type[Service],
        *,
        data_dir: str | os.PathLike[str] | None = None,
        shards: int = 4,
        cluster: Cluster | None = None,
        member: Member | None = None,
        store: str | None = None,
        namespace: str | None = None,
        processes: bool = True,
        durability: str = "process",
        call_timeout: float = 5.0,
        max_unacknowledged: int = 8192,
        max_frame_bytes: int = 16 * 1024 * 1024,
        spin: float = 0.000_05,
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        hang_timeout: float | None = 30.0,
        shutdown_timeout: float = 10.0,
        on_message: Callable[[Any], None] | None = None,
    ) -> None:
        most = 1024 if processes else 1
        _rule("shards", shards, f"an integer from 1 to {most}", type(shards) is int and 1 <= shards <= most)
        words = '"process" or "disk"' + (', or "remote_apply"' if store is not None else "")
        _rule("durability", durability, words, durability in ("process", "disk", *(["remote_apply"] if store else [])))
        if store is not None or namespace is not None:
            store = _store_of(store, namespace)
        for name, value in (("max_unacknowledged", max_unacknowledged), ("max_restarts", max_restarts)):
            _rule(name, value, "an integer, at least 1", type(value) is int and value >= 1)
        _rule("max_frame_bytes", max_frame_bytes, "an integer from 4096 to 1073741824", _is_frame(max_frame_bytes))
        for name, seconds in (
            ("call_timeout", call_timeout), ("max_seconds", max_seconds), ("shutdown_timeout", shutdown_timeout),
            ("hang_timeout", 1.0 if hang_timeout is None else hang_timeout),
        ):  # fmt: skip
            _rule(name, seconds, f"a number of seconds above 0, at most {LONGEST:.0f}", _is_wait(seconds))
        _rule("spin", spin, "a number of seconds from 0 to 0.01", type(spin) in (int, float) and 0 <= spin <= 0.01)
        _rule("on_message", on_message, "callable, or None", on_message is None or callable(on_message))
        self._options = {name: value for name, value in locals().items() if name in _KEPT}
        self._declared: Declared = _declared(service)
        if cluster is not None:
            _check_of_cluster({name: value for name, value in locals().items() if name in _OF_SHARDS})
        elif data_dir is None:
            raise ValueError("data_dir must be given: the directory that holds all state")
        _rule("member", member, "None without store and processes", member is None or (store is not None and processes))
        if member is not None:
            member.hosted(shards)
        self._cluster, self._member = cluster, member
        super().__init__(
            self._join if cluster is not None else self._own if processes else self._open_here,
            data_dir=data_dir if data_dir is not None else os.curdir,
            shutdown_timeout=shutdown_timeout,
            on_message=on_message,
        )

    # ------------------------------------------------------------------ calls

    def call(self, key: Any, operation: str, *arguments: Any, **named: Any) -> Any:
        """Have the shard of a key carry out an operation, and return its answer.

        A command is durable when this returns.

        Args:
            key: What the operation is about; its types are those of identifiers.
            operation: The operation's name.
            arguments: The operation's arguments after the key.
            named: More arguments, by name.

        Raises:
            AttributeError: The service has no such operation, or the operation takes no key.
            TypeError: The arguments do not match the operation's parameters.
            ServiceError: The service raised one of the classes that it declares in `errors`; this is that class.
            OperationFailed: The service raised something else; the remote traceback is the ``__cause__``.
            ShardError: The shard gave no answer; `maybe_executed` says whether the operation may still be applied.
        """
        found = self._declared.operation(operation, keyed=True)
        packed = encode([key, *found.bound(arguments, named)])
        with self._declared.their_errors():
            return decode_value(self._open.call(canonical(key), found.wire, (packed,)))

    def post(self, key: Any, operation: str, *arguments: Any, **named: Any) -> None:
        """Send an operation as `call` does, without waiting for its answer.

        Calls of this process to the same key are carried out in their order. Errors are logged, and raised by the next
        `flush` or `close`.

        Raises:
            AttributeError: The service has no such operation, or the operation takes no key.
            TypeError: The arguments do not match the operation's parameters.
            CallTimeout: Too many calls were on their way for `call_timeout` seconds; nothing was sent.
        """
        found = self._declared.operation(operation, keyed=True)
        packed = encode([key, *found.bound(arguments, named)])
        self._open.post(canonical(key), found.wire, (packed,))

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything that this process has posted is applied and durable.

        Raises:
            CallTimeout: It took longer than `timeout` seconds.
            ExceptionGroup: The errors of calls that could not be applied since the last `flush`.
        """
        raise_unapplied(self._open.flush(timeout))

    def call_all(self, operation: str, *arguments: Any, **named: Any) -> list[Any]:
        """Have all shards carry out an operation that takes no key; return their answers in the order of the shards.

        Raises:
            SpexError: A shard failed; other shards may have carried the operation out.
        """
        found = self._declared.operation(operation, keyed=False)
        return self._of_all(found, found.bound(arguments, named))

    def iterate(self, operation: str, *arguments: Any, **named: Any) -> Iterator[Any]:
        """Iterate over items of all shards, one page at a time, so that memory stays bounded.

        Args:
            operation: A query that takes no key but a parameter ``after`` (at first None). It returns a page and the
                ``after`` of the next page, ``([…], after)``, with None for the last page.
            arguments: The query's other arguments.
            named: More arguments, by name.
        """
        found = self._declared.operation(operation, keyed=False)
        for shard in range(self._open.shard_count):
            after: Any = None
            while True:
                packed = encode(found.bound(arguments, {**named, "after": after}))
                page, after = self._answers(found, {shard: (packed,)})[0]
                yield from page
                if after is None:
                    break

    def messages(self, timeout: float = 0) -> Iterator[Any]:
        """Iterate over messages that the service sent by ``call.send``; see `InstanceManager.messages`.

        Args:
            timeout: Seconds to wait for another message.
        """
        self._open.check()
        return self.mailbox.messages(timeout)

    # ------------------------------------------------------------------ processes

    def shards(self) -> list[ShardInfo]:
        """Return the status of each shard's process."""
        return self._open.shards()

    def stats(self) -> list[dict[str, Any]]:
        """Return the counters of each shard; see `InstanceManager.stats`."""
        return [{"shard": index, **report} for index, report in enumerate(self._open.stats())]

    def revive(self, index: int) -> None:
        """Restart a shard that was given up, and wait until it is ready."""
        count = self._open.shard_count
        _rule("index", index, f"a shard's, 0 to {count - 1}", type(index) is int and 0 <= index < count)
        self._open.revive(index)

    @property
    def address(self) -> Address | None:
        """The address by which clients reach this member of a cluster, once it is started; None: it is none."""
        return None if self._member is None else self._member.address

    def close(self) -> None:
        """Let no client of other machines in any more, and close as `Lifetime.close` does."""
        if self._member is not None:
            self._member.close()
        super().close()

    # ------------------------------------------------------------------ inside

    def _of_all(self, found: OperationOf, arguments: list[Any]) -> list[Any]:
        packed = encode(arguments)
        return self._answers(found, dict.fromkeys(range(self._open.shard_count), (packed,)))

    def _answers(self, found: OperationOf, arguments: dict[int, tuple[Any, ...]]) -> list[Any]:
        with self._declared.their_errors():
            answers = self._open.call_shards(found.wire, arguments)
            for answer in answers.values():
                if isinstance(answer, SpexError):
                    raise answer
        return [decode_value(answer) for answer in answers.values()]

    def _own(self) -> Transport:
        from .client.opening import owned
        from .hosting import reference_to

        options, host = {**self._options, "retry_failed": 1.0}, (HOST, reference_to(self._declared.cls))
        of_client = self._client_options(options["shards"])
        member = self._member
        if member is None:
            return owned(self.directory, of_client, self.mailbox, host, options)
        idle = replace(of_client, idle=True)
        return member.run(
            self.directory.socket, options["shards"],
            lambda more: owned(self.directory, idle, self.mailbox, host, {**options, **more}),
        )  # fmt: skip

    def _join(self) -> Transport:
        assert self._cluster is not None
        return self._cluster.client(self._client_options, self.mailbox)

    def _attach(self) -> Transport:
        from .client.opening import attached

        shards = self.directory.shards()
        if shards is None:
            raise DataDirError(f"there is no data directory at {self.directory.path}: start its shards first")
        return attached(self.directory, self._client_options(shards), self.mailbox)

    def _client_options(self, shards: int) -> ClientOptions:
        from .client import ClientOptions

        options = self._options
        names = ("call_timeout", "max_unacknowledged", "max_frame_bytes", "spin")
        return ClientOptions(shards, **{name: options[name] for name in names})

    def _open_here(self) -> Transport:
        from .hosting import HostOf, reference_to
        from .local.local_shard import LocalOptions
        from .local.transport import LocalTransport

        cls = self._declared.cls
        module, name, _ = reference_to(cls)
        host = HostOf(lambda: cls, f"{module}:{name}")
        options = self._options
        local = LocalOptions(lambda _: host, options["durability"], options["shutdown_timeout"], options["store"])
        return LocalTransport(self.directory, local, self.mailbox)


_OF_SHARDS: Final = (
    "data_dir", "shards", "member", "store", "namespace", "processes", "durability", "max_restarts", "max_seconds",
    "hang_timeout",
)  # fmt: skip
_KEPT: Final = frozenset({
    "shards", "store", "durability", "call_timeout", "max_unacknowledged", "max_frame_bytes", "spin",
    "max_restarts", "max_seconds", "hang_timeout", "shutdown_timeout",
})  # fmt: skip


def run_partition(
    service: str, *, hosts: list[int], partitions: int, listen: str, token: str, **options: Any
) -> Shards:
    """Return `Shards` that run one shard of a cluster, for an actor that Ray has placed.

    Args:
        service: The service, as ``module:name``.
        hosts: The shard.
        partitions: The number of all shards.
        listen: The address of the gate.
        token: The secret of the cluster.
        **options: Further options of `Shards`.
    """
    from .cluster.member import Member
    from .hosting import loaded

    module, _, name = service.partition(":")
    member = Member(hosts=hosts, listen=listen, token=token)
    return Shards(loaded([module, name, None]), shards=partitions, member=member, **options)


def connect(
    service: type[Service],
    data_dir: str | os.PathLike[str],
    *,
    call_timeout: float = 5.0,
    on_message: Callable[[Any], None] | None = None,
) -> Shards:
    """Return started `Shards` that use the shards of another process; `close` detaches from them.

    Raises:
        DataDirError: There is no data directory.
        ShardDown: No process runs the shards.
    """
    shards = Shards(service, data_dir=data_dir, call_timeout=call_timeout, on_message=on_message)
    shards._connect = shards._attach
    return shards.start()


def _check_of_cluster(given: dict[str, Any]) -> None:
    parameters = inspect.signature(Shards.__init__).parameters
    for name, value in given.items():
        if value != parameters[name].default:
            raise ValueError(
                f"{name} is an option of the members that run the shards, and cluster is given: leave it out"
            )


def _declared(service: type[Service]) -> Declared:
    from .declared import declared

    return declared(service)


def _store_of(store: Any, namespace: Any) -> str:
    from .store.postgres.namespace import Namespace

    if store is None:
        raise ValueError("namespace names a part of the database that the argument store gives, and there is no store")
    if not isinstance(store, str):
        raise ValueError(f"store must be a URL like postgresql://user@host/database, got a {type(store).__name__}")
    return Namespace.of(store, namespace).text


def _rule(name: str, value: Any, rule: str, holds: bool) -> None:
    if not holds:
        raise ValueError(f"{name} must be {rule}, got: {value!r}")


def _is_frame(value: Any) -> bool:
    return type(value) is int and 4096 <= value <= 1 << 30


def _is_wait(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value <= LONGEST

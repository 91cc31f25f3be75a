"""Shards with a service of the application's on them: what `runtime` offers to those who want no specification."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Final

from ..errors import DataDirError, SpexError
from .lifetime import Lifetime, raise_unapplied
from .protocol.codec import canonical, encode
from .protocol.records import decode_value
from .shard_info import ShardInfo
from .transport import Transport

if TYPE_CHECKING:
    from .client import ClientOptions
    from .declared import Declared, OperationOf, Service

HOST: Final = "spex_shards.runtime.hosting:prepare"
LONGEST: Final = 30 * 86400.0
logger = logging.getLogger("spex_shards")


class Shards(Lifetime):
    """A service on a number of shards: processes that own a part of its state each, and are restarted alone.

    Each command is applied exactly once, and durable when `call` returns; a shard that is killed goes on with
    everything
    that was acknowledged. The constructor checks its arguments and starts nothing; ``with`` or `start` does.
    Thread-safe;
    a forked child uses the same object as a new client. Where the program's main module starts it, that must be guarded
    by ``if __name__ == "__main__"`` only as far as the program itself needs it: shards never import it.

    Args:
        service: A subclass of `Service`; one that cannot be imported by its name is sent to the shards.
        data_dir: Where everything is kept: a directory of this service alone.
        shards: Their number, 1 to 1024; fixed for a data directory.
        processes: False: the one shard is open in this process, without any other; `shards` must be 1 then.
        durability: ``"process"`` (survives the death of any process) or ``"disk"`` (a power loss as well).
        call_timeout: Seconds that a call waits for its answer.
        max_unacknowledged: Most calls on their way to a shard that nobody waits for.
        max_frame_bytes: Most bytes of one call.
        max_restarts, max_seconds: A shard that dies more often within that time is given up, and tried again with
        growing
            pauses.
        hang_timeout: Seconds after which a shard without progress counts as hung, and is killed; None: never.
        shutdown_timeout: Seconds that shards have to finish when they are closed.
        on_message: Called with each message that a service sends to the caller, on one thread.

    Raises:
        TypeError: `service` is no service, or an operation of it cannot be one.
        ValueError: A value against its rule; names it, the rule and the value.
    """

    what: ClassVar[str] = "shard runtime"

    def __init__(
        self,
        service: type[Service],
        *,
        data_dir: str | os.PathLike[str],
        shards: int = 4,
        processes: bool = True,
        durability: str = "process",
        call_timeout: float = 5.0,
        max_unacknowledged: int = 8192,
        max_frame_bytes: int = 16 * 1024 * 1024,
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        hang_timeout: float | None = 30.0,
        shutdown_timeout: float = 10.0,
        on_message: Callable[[Any], None] | None = None,
    ) -> None:
        most = 1024 if processes else 1
        _rule("shards", shards, f"an integer from 1 to {most}", type(shards) is int and 1 <= shards <= most)
        _rule("durability", durability, '"process" or "disk"', durability in ("process", "disk"))
        for name, value in (("max_unacknowledged", max_unacknowledged), ("max_restarts", max_restarts)):
            _rule(name, value, "an integer, at least 1", type(value) is int and value >= 1)
        _rule("max_frame_bytes", max_frame_bytes, "an integer from 4096 to 1073741824", _is_frame(max_frame_bytes))
        for name, seconds in (
            ("call_timeout", call_timeout), ("max_seconds", max_seconds), ("shutdown_timeout", shutdown_timeout),
            ("hang_timeout", 1.0 if hang_timeout is None else hang_timeout),
        ):  # fmt: skip
            _rule(name, seconds, f"a number of seconds above 0, at most {LONGEST:.0f}", _is_wait(seconds))
        _rule("on_message", on_message, "callable, or None", on_message is None or callable(on_message))
        self._options = {name: value for name, value in locals().items() if name in _KEPT}
        self._declared: Declared = _declared(service)
        super().__init__(
            self._own if processes else self._open_here,
            data_dir=data_dir,
            shutdown_timeout=shutdown_timeout,
            on_message=on_message,
        )

    # ------------------------------------------------------------------ calls

    def call(self, key: Any, operation: str, *arguments: Any, **named: Any) -> Any:
        """Have the shard of a key carry an operation out; return its answer. A command is durable then.

        Args:
            key: What the operation is about; what identifiers may be.
            operation: Its name.
            arguments: Its arguments behind the key.
            named: More of them, by name.

        Raises:
            AttributeError: The service has no such operation, or it belongs to no key.
            TypeError: The arguments are not what it takes.
            ServiceError: What the service raised, as a class that it declares in `errors`.
            OperationFailed: It raised something else; the remote traceback is the ``__cause__``.
            ShardError: A shard could not be reached; `maybe_executed` says whether it may be applied all the same.
        """
        found = self._declared.operation(operation, keyed=True)
        packed = encode([key, *found.bound(arguments, named)])
        with _TheirErrors(self._declared):
            return decode_value(self._open.call(canonical(key), found.wire, (packed,)))

    def post(self, key: Any, operation: str, *arguments: Any, **named: Any) -> None:
        """Do as `call` without waiting: in the order of the calls of this process to that key.

        What could not be applied is logged, and raised by the next `flush` or `close`.

        Raises:
            CallTimeout: Too much was on its way for `call_timeout`; nothing was sent.
        """
        found = self._declared.operation(operation, keyed=True)
        packed = encode([key, *found.bound(arguments, named)])
        self._open.post(canonical(key), found.wire, (packed,))

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything that this process has posted is applied and durable.

        Raises:
            CallTimeout: It took longer than `timeout` seconds.
            ExceptionGroup: What could not be applied since the last `flush`.
        """
        raise_unapplied(self._open.flush(timeout))

    def call_all(self, operation: str, *arguments: Any, **named: Any) -> list[Any]:
        """Have all shards carry an operation out that belongs to no key; return the answers by shard.

        Raises:
            SpexError: One could not; the others may have.
        """
        found = self._declared.operation(operation, keyed=False)
        return self._of_all(found, found.bound(arguments, named))

    def iterate(self, operation: str, *arguments: Any, **named: Any) -> Iterator[Any]:
        """Iterate over what all shards hold, in pages, with bounded memory.

        Args:
            operation: A query that belongs to no key, with a parameter ``after`` (at first None), which returns a page
                and the ``after`` of the next one: ``([…], after)``, with None for the last.
            arguments: Its other arguments.
            named: More of them, by name.
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
        """Give out what the service has sent by ``call.send``, and what arrives soon; as those of managers."""
        self._open.check()
        return self.mailbox.messages(timeout)

    # ------------------------------------------------------------------ processes

    def shards(self) -> list[ShardInfo]:
        """Return what is known of each shard's process."""
        return self._open.shards()

    def stats(self) -> list[dict[str, Any]]:
        """Return the counters of each shard; see `InstanceManager.stats`."""
        return [{"shard": index, **report} for index, report in enumerate(self._open.stats())]

    def revive(self, index: int) -> None:
        """Start a shard again that was given up, and wait until it is ready."""
        count = self._open.shard_count
        _rule("index", index, f"a shard's, 0 to {count - 1}", type(index) is int and 0 <= index < count)
        self._open.revive(index)

    # ------------------------------------------------------------------ inside

    def _of_all(self, found: OperationOf, arguments: list[Any]) -> list[Any]:
        packed = encode(arguments)
        return self._answers(found, dict.fromkeys(range(self._open.shard_count), (packed,)))

    def _answers(self, found: OperationOf, arguments: dict[int, tuple[Any, ...]]) -> list[Any]:
        with _TheirErrors(self._declared):
            answers = self._open.call_shards(found.wire, arguments)
            for answer in answers.values():
                if isinstance(answer, SpexError):
                    raise answer
        return [decode_value(answer) for answer in answers.values()]

    def _own(self) -> Transport:
        from .client.opening import owned
        from .hosting import reference_to

        options, host = self._options, (HOST, reference_to(self._declared.cls))
        of_client = self._client_options(options["shards"])
        return owned(self.directory, of_client, self.mailbox, host, {**options, "retry_failed": 1.0})

    def _attach(self) -> Transport:
        from .client.opening import attached

        shards = self.directory.shards()
        if shards is None:
            raise DataDirError(f"there is no data directory at {self.directory.path}: start its shards first")
        return attached(self.directory, self._client_options(shards), self.mailbox)

    def _client_options(self, shards: int) -> ClientOptions:
        from .client import ClientOptions

        options = self._options
        return ClientOptions(shards, options["call_timeout"], options["max_unacknowledged"], options["max_frame_bytes"])

    def _open_here(self) -> Transport:
        from .hosting import HostOf, reference_to
        from .local.local_shard import LocalOptions
        from .local.transport import LocalTransport

        cls = self._declared.cls
        module, name, _ = reference_to(cls)
        host = HostOf(lambda: cls, f"{module}:{name}")
        options = self._options
        local = LocalOptions(lambda _: host, options["durability"], options["shutdown_timeout"])
        return LocalTransport(self.directory, local, self.mailbox)


_KEPT: Final = frozenset({
    "shards", "durability", "call_timeout", "max_unacknowledged", "max_frame_bytes", "max_restarts", "max_seconds",
    "hang_timeout", "shutdown_timeout",
})  # fmt: skip


def connect(
    service: type[Service],
    data_dir: str | os.PathLike[str],
    *,
    call_timeout: float = 5.0,
    on_message: Callable[[Any], None] | None = None,
) -> Shards:
    """Return started `Shards` on those that another process runs; `close` detaches.

    Raises:
        DataDirError: There is no data directory.
        ShardDown: No process runs them.
    """
    shards = Shards(service, data_dir=data_dir, call_timeout=call_timeout, on_message=on_message)
    shards._connect = shards._attach
    return shards.start()


def _declared(service: type[Service]) -> Declared:
    from .declared import declared

    return declared(service)


class _TheirErrors:
    """Makes a service's errors what they were, where the service declares their classes."""

    def __init__(self, declared: Declared) -> None:
        self._classes = {f"{cls.__module__}.{cls.__qualname__}": cls for cls in declared.cls.errors}

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, SpexError) or type(error) in self._classes.values():
            return
        cls = self._classes.get(str(error.context.get("class")))
        if cls is not None:
            from ..errors import rebuild

            context = {name: value for name, value in error.context.items() if name != "class"}
            raise rebuild(cls, str(error), context) from None


def _rule(name: str, value: Any, rule: str, holds: bool) -> None:
    if not holds:
        raise ValueError(f"{name} must be {rule}, got: {value!r}")


def _is_frame(value: Any) -> bool:
    return type(value) is int and 4096 <= value <= 1 << 30


def _is_wait(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value <= LONGEST

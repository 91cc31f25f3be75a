"""The control messages between a supervisor, its workers, its clients and its owner.

A message on the wire is a list: its word, then its fields. Each direction has a `Vocabulary` of the messages and field
types that it allows; anything else is a `ProtocolError`. A field with a default may be missing, because an older
version that does not know the field may have sent the message.
"""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, Final, NamedTuple, Protocol, get_args, get_origin, get_type_hints

from ...errors import show
from .requests import OLDEST_PROTOCOL, ProtocolError


class Message(Protocol):
    """A control message: a NamedTuple of plain values."""

    def __len__(self) -> int: ...

    def _asdict(self) -> dict[str, Any]: ...


# ---------------------------------------------------------------------- a client to the supervisor


class Attach(NamedTuple):
    """A client asks to be attached; it names its protocol versions and its unique id of 16 bytes."""

    newest: int
    client_id: bytes
    oldest: int | None = None


class Open(NamedTuple):
    """A client asks for a channel to a shard.

    The channel's worker ends (requests, replies, events) may come with the message: then they were made elsewhere, and
    `Ends` brings none.
    """

    shard: int


class Revive(NamedTuple):
    """A client asks to restart a shard that was given up."""

    shard: int


class AskStatus(NamedTuple):
    """A client asks for the status of all shards."""


# ---------------------------------------------------------------------- the supervisor to a client


class Attached(NamedTuple):
    """The client is attached; says the number of shards, the protocol version and the largest request in bytes."""

    shards: int
    pid: int
    version: int = OLDEST_PROTOCOL
    limit: int | None = None


class Refused(NamedTuple):
    """The client is refused: the supervisor speaks none of its protocol versions, only `oldest` to `newest`."""

    oldest: int
    newest: int


class Ends(NamedTuple):
    """The client gets a channel to a shard; its pipe ends (requests, replies, events) come with the message."""

    shard: int
    generation: int
    pid: int


class Down(NamedTuple):
    """A shard's process has ended."""

    shard: int
    generation: int
    pid: int
    exit: str | None


class Failed(NamedTuple):
    """A shard is given up."""

    shard: int
    pid: int | None
    exit: str | None


class Moved(NamedTuple):
    """The supervisor does not run the shard, or not any more: another process has claimed it. Ask for it elsewhere."""

    shard: int
    why: str


class Up(NamedTuple):
    """A shard that was given up is ready again."""

    shard: int


class Revived(NamedTuple):
    """A shard is being restarted at this client's request; the answer to `Revive`."""

    shard: int


class Status(NamedTuple):
    """The status of all shards, one row each; the answer to `AskStatus`."""

    rows: list[Any]


# ---------------------------------------------------------------------- the supervisor to a worker, and back


class Serve(NamedTuple):
    """The worker gets a new client; the shard's pipe ends (requests, replies, events) come with the message."""

    client_id: bytes
    pid: int
    owner: bool


class Ping(NamedTuple):
    """The supervisor asks for a sign of life."""


class Drain(NamedTuple):
    """The worker must answer all requests that have arrived, then end."""


class Ready(NamedTuple):
    """The worker has opened its shard, under a claim that has this number, or 0."""

    claim: int


class Suspected(NamedTuple):
    """The worker has found in the store what workers of other supervisors died with; carries the plain suspects."""

    suspects: list[Any]


class Pong(NamedTuple):
    """The worker gives a sign of life."""


class BootFailed(NamedTuple):
    """The worker cannot open its shard, and another attempt would fail too; carries an error's plain form."""

    error: list[Any]


class NotYet(NamedTuple):
    """The worker lacks a resource to open its shard that may become available later."""

    why: str


class Fenced(NamedTuple):
    """The worker is about to end, because another process has claimed its shard."""

    why: str


class Dying(NamedTuple):
    """The worker says why it is about to end."""

    why: str


# ---------------------------------------------------------------------- the supervisor to its owner


class Started(NamedTuple):
    """Every shard is ready or given up."""

    warnings: list[Any]


class StartFailed(NamedTuple):
    """The supervisor could not start; carries an error's plain form."""

    error: list[Any]


class Stopped(NamedTuple):
    """All workers have ended; `abnormal` lists those that did not end properly."""

    abnormal: list[Any]


class Died(NamedTuple):
    """The supervisor says why it is about to end."""

    why: str


class Vocabulary:
    """The messages that are allowed in one direction.

    Args:
        words: Word on the wire → message class.
    """

    def __init__(self, words: dict[str, type[Any]]) -> None:
        self._words = {cls: word for word, cls in words.items()}
        self._classes = {word: (cls, _types(cls)) for word, cls in words.items()}

    def plain(self, message: Message) -> list[Any]:
        """Return a message in the form in which it is sent."""
        return [self._words[type(message)], *message]  # type: ignore[misc]

    def knows(self, plain: list[Any]) -> bool:
        """Return whether a message's word belongs to this direction."""
        return plain[0] in self._classes

    def read(self, plain: Any) -> Any:
        """Return the message of a plain value.

        Raises:
            ProtocolError: The value is no message of this direction; names the field, its type and the value got.
        """
        try:
            word, *values = plain
            cls, types = self._classes[word]
            message = cls(*values)
        except (TypeError, ValueError, LookupError):
            raise ProtocolError(f"a malformed message: {show(plain)}") from None
        for name, value, allowed in zip(cls._fields, message, types, strict=True):
            if type(value) not in allowed:
                kinds = " or ".join(kind.__name__ for kind in allowed)
                raise ProtocolError(f"a malformed message: {name} of {word!r} must be {kinds}, got: {show(value)}")
        return message


def _types(cls: type[Any]) -> list[tuple[type, ...]]:
    hints = get_type_hints(cls)
    return [_plain_types(hints[name]) for name in cls._fields]


def _plain_types(hint: Any) -> tuple[type, ...]:
    if isinstance(hint, UnionType):
        return tuple(kind for part in get_args(hint) for kind in _plain_types(part))
    return (NoneType if hint is None else get_origin(hint) or hint,)


TO_SUPERVISOR: Final = Vocabulary({"attach": Attach, "open": Open, "revive": Revive, "status": AskStatus})
TO_CLIENT: Final = Vocabulary(
    {
        "attached": Attached, "refused": Refused, "channel": Ends, "down": Down, "failed": Failed, "up": Up,
        "moved": Moved, "revived": Revived, "status": Status,
    }
)  # fmt: skip
TO_WORKER: Final = Vocabulary({"channel": Serve, "ping": Ping, "drain": Drain})
OF_WORKER: Final = Vocabulary(
    {
        "ready": Ready, "pong": Pong, "boot failed": BootFailed, "not yet": NotYet, "suspected": Suspected,
        "fenced": Fenced, "dying": Dying,
    }
)  # fmt: skip
TO_OWNER: Final = Vocabulary({"started": Started, "failed": StartFailed, "stopped": Stopped, "died": Died})

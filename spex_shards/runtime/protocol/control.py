"""What a supervisor, its workers, its clients and its owner say to each other.

A message on the wire is a list: its word, then its fields. Each direction has a `Vocabulary`, which says what may come
and of which types; whatever else comes is a `ProtocolError`. A field with a default may be missing: a version that did
not know it may have sent the message.
"""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, Final, NamedTuple, Protocol, get_args, get_origin, get_type_hints

from ...errors import show
from .requests import OLDEST_PROTOCOL, ProtocolError


class Message(Protocol):
    """A message: a NamedTuple of plain values."""

    def __len__(self) -> int: ...

    def _asdict(self) -> dict[str, Any]: ...


# ---------------------------------------------------------------------- a client to the supervisor


class Attach(NamedTuple):
    """Take this process in: its protocol versions, and 16 bytes that no other client has."""

    newest: int
    client_id: bytes
    oldest: int | None = None


class Open(NamedTuple):
    """Give this client a channel to a shard."""

    shard: int


class Revive(NamedTuple):
    """Start a shard again that was given up."""

    shard: int


class AskStatus(NamedTuple):
    """Tell the status of all shards."""


# ---------------------------------------------------------------------- the supervisor to a client


class Attached(NamedTuple):
    """This process is taken in: how many shards there are, the version that is spoken, most bytes of a request."""

    shards: int
    pid: int
    version: int = OLDEST_PROTOCOL
    limit: int | None = None


class Refused(NamedTuple):
    """None of the client's protocol versions is spoken here."""

    oldest: int
    newest: int


class Ends(NamedTuple):
    """A channel to a shard; its ends (requests, replies, events) come beside the message."""

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


class Up(NamedTuple):
    """A shard that was given up is there again."""

    shard: int


class Revived(NamedTuple):
    """A shard is started again, as this client wished; the answer to `Revive`."""

    shard: int


class Status(NamedTuple):
    """The status of all shards, a row each; the answer to `AskStatus`."""

    rows: list[Any]


# ---------------------------------------------------------------------- the supervisor to a worker, and back


class Serve(NamedTuple):
    """Take a client; the shard's ends of its channel (requests, replies, events) come beside the message."""

    client_id: bytes
    pid: int
    owner: bool


class Ping(NamedTuple):
    """Give a sign of life."""


class Drain(NamedTuple):
    """Answer what has arrived, and end."""


class Ready(NamedTuple):
    """The shard is open."""


class Pong(NamedTuple):
    """A sign of life."""


class BootFailed(NamedTuple):
    """The shard cannot be opened, and trying again would not help; an error's plain form."""

    error: list[Any]


class NotYet(NamedTuple):
    """The shard cannot be opened for want of something that may come back."""

    why: str


class Dying(NamedTuple):
    """Why the process is about to end."""

    why: str


# ---------------------------------------------------------------------- the supervisor to its owner


class Started(NamedTuple):
    """Every shard is ready or given up."""

    warnings: list[Any]


class StartFailed(NamedTuple):
    """There is no supervisor; an error's plain form."""

    error: list[Any]


class Stopped(NamedTuple):
    """All workers have ended; what was not as it should be."""

    abnormal: list[Any]


class Died(NamedTuple):
    """Why the supervisor ends."""

    why: str


class Vocabulary:
    """The messages that may go in one direction.

    Args:
        words: The word of each message.
    """

    def __init__(self, words: dict[str, type[Any]]) -> None:
        self._words = {cls: word for word, cls in words.items()}
        self._classes = {word: (cls, _types(cls)) for word, cls in words.items()}

    def plain(self, message: Message) -> list[Any]:
        """Return a message as it goes over the wire."""
        return [self._words[type(message)], *message]  # type: ignore[misc]

    def knows(self, plain: list[Any]) -> bool:
        """Return whether a message's word is one of this direction."""
        return plain[0] in self._classes

    def read(self, plain: Any) -> Any:
        """Return the message that a plain value is.

        Raises:
            ProtocolError: It is none of this direction; names the field, its type and the value got.
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
        "revived": Revived, "status": Status,
    }
)  # fmt: skip
TO_WORKER: Final = Vocabulary({"channel": Serve, "ping": Ping, "drain": Drain})
OF_WORKER: Final = Vocabulary(
    {"ready": Ready, "pong": Pong, "boot failed": BootFailed, "not yet": NotYet, "dying": Dying}
)
TO_OWNER: Final = Vocabulary({"started": Started, "failed": StartFailed, "stopped": Stopped, "died": Died})

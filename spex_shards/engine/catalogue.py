"""The specifications that a shard knows: name → declaration and handler, kept in the store.

A specification is data here. User code is imported only when a handler of its own must run.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..checking.runs import RunChecker
from ..domain.declaration import ALL, Declaration, Prunable
from ..domain.specification import has_own_handler, registered
from ..errors import StoreError
from ..messages.specifications import StoredSpecification, lts_digest
from ..runtime.protocol import records
from ..runtime.store import Batch
from .handlers import Handler, default_word, resolve
from .telling import Outline


@dataclass(slots=True)
class Entry:
    """One specification of a shard.

    Attributes:
        number: Stands for it in keys.
        stored: The specification as data.
        digest: Changes with anything in it.
        shipped: The bytes of a handler that a client has sent.
        judges_runs: Whether each instance's run is followed through the specification.
        declaration: What it declares.
        name: Its name.
    """

    number: int
    stored: StoredSpecification
    digest: bytes
    shipped: bytes | None = None
    judges_runs: bool = field(init=False)
    declaration: Declaration = field(init=False)
    name: str = field(init=False)
    _handler: Handler | None = None
    _prunable: frozenset[str] | None = None
    _lts_digest: bytes | None = None
    _runs: RunChecker | None = None
    _outline: Outline | None = None

    def __post_init__(self) -> None:
        self.declaration = self.stored.declaration
        self.name = self.declaration.name
        self.judges_runs = self.declaration.judge != "model"

    @property
    def lts_digest(self) -> bytes:
        """Changes with what models are judged by."""
        if self._lts_digest is None:
            self._lts_digest = lts_digest(self.declaration)
        return self._lts_digest

    @property
    def runs(self) -> RunChecker:
        """Follows runs through it."""
        if self._runs is None:
            self._runs = RunChecker(self.declaration.lts)
        return self._runs

    @property
    def outline(self) -> Outline:
        """What it allows in each of its states, by name."""
        if self._outline is None:
            self._outline = Outline(self.declaration)
        return self._outline

    def prunes_in(self, state: str | None) -> bool:
        """Whether an idle instance may be pruned in `state`."""
        prunable = self.declaration.prunable_states
        if prunable is ALL:
            return True
        if self._prunable is None:
            self._prunable = frozenset(self.declaration.terminal_states if isinstance(prunable, Prunable) else prunable)
        return state in self._prunable

    @property
    def waits_for_handler(self) -> bool:
        """Whether its handler can only come from a client, and none has sent it since this shard started."""
        return self.stored.handler.kind == "shipped" and self.shipped is None and self._live() is None

    def handler(self) -> Handler:
        """Return its handler, imported or unpacked at the first call."""
        live = self._live()
        if live is not None:
            return live
        if self._handler is None:
            self._handler = resolve(self.stored.handler, self.shipped)
        return self._handler

    def _live(self) -> Handler | None:
        # The class itself, where the engine runs in the process that defines it, or where the shard has imported it.
        if self.stored.handler.kind == "default":
            return default_word
        cls = registered(self.name)
        return cls.error_handler if cls is not None and has_own_handler(cls) else None


class Catalogue:
    """All specifications of one shard.

    Args:
        batch: The batch that reads and changes go through.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._by_name: dict[str, Entry] = {}
        self._by_number: dict[int, Entry] = {}
        for key, row in batch.range("specifications", b""):
            self._take(_entry(key, row))

    def get(self, name: str) -> Entry | None:
        """Return the entry of that name, or None."""
        return self._by_name.get(name)

    def by_number(self, number: int) -> Entry:
        """Return the entry that `number` stands for."""
        try:
            return self._by_number[number]
        except KeyError:
            text = f"a damaged row: it names specification {number}, which is not stored"
            raise StoreError(text, row="an instance") from None

    def register(self, stored: StoredSpecification, shipped: bytes | None) -> tuple[Entry, Entry | None]:
        """Take a specification as a client declares it; kept with the batch.

        Returns:
            The entry as it is now, and as it was (None: new).
        """
        name, digest = stored.declaration.name, stored.digest()
        old = self._by_name.get(name)
        if old is not None and old.digest == digest and (shipped is None or shipped == old.shipped):
            return old, old
        number = old.number if old is not None else 1 + max(self._by_number, default=0)
        entry = Entry(number, stored, digest, shipped)
        self._batch.put_in(self._by_name, entry.name, entry)
        self._batch.put_in(self._by_number, entry.number, entry)
        if old is None or old.digest != digest:
            self._batch.put("specifications", name.encode(), records.seal([number, stored.plain()]))
        return entry, old

    def _take(self, entry: Entry) -> None:
        self._by_name[entry.name] = entry
        self._by_number[entry.number] = entry


def _entry(key: bytes, row: bytes) -> Entry:
    what = f"the specification {key.decode(errors='replace')}"
    number, plain = records.unseal(row, what)
    try:
        stored = StoredSpecification.of(plain)
    except (ValueError, TypeError) as error:
        raise StoreError(f"a damaged row: {what}: {error}", row=what) from None
    return Entry(number, stored, stored.digest())

"""The catalogue of a shard: the specifications that it knows, with their handlers, kept in the store.

A specification is plain data here. The application's code is imported only when a handler of its own must run.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..checking.runs import RunChecker
from ..domain.declaration import ALL, Declaration, Prunable
from ..domain.run_property import RunProperty
from ..domain.specification import has_own_handler, registered
from ..errors import StoreError
from ..messages.specifications import StoredSpecification, lts_digest, run_digest
from ..runtime.protocol import records
from ..runtime.store import Batch
from .handlers import Handler, default_word, resolve
from .telling import Outline


@dataclass(slots=True)
class Entry:
    """One specification of a shard.

    Attributes:
        number: Identifies the specification in the keys of rows.
        stored: The specification as data.
        digest: The digest of everything in it.
        shipped: The handler that a client has sent, as bytes; None: no client has since the shard started.
        judges_runs: Whether each instance's run is followed through the specification.
        runs: Follows runs through the specification; only if they are judged, as the next two.
        run_digest: Changes with anything that the run of an instance depends on.
        properties: The properties that every run must have.
        declaration: The specification's declaration.
        name: The specification's name.
    """

    number: int
    stored: StoredSpecification
    digest: bytes
    shipped: bytes | None = None
    judges_runs: bool = field(init=False)
    runs: RunChecker = field(init=False)
    run_digest: bytes = field(init=False)
    properties: tuple[RunProperty, ...] = field(init=False)
    declaration: Declaration = field(init=False)
    name: str = field(init=False)
    _handler: Handler | None = None
    _prunable: frozenset[str] | None = None
    _lts_digest: bytes | None = None
    _outline: Outline | None = None

    def __post_init__(self) -> None:
        self.declaration = self.stored.declaration
        self.name = self.declaration.name
        self.judges_runs = self.declaration.judge != "model"
        if self.judges_runs:
            self.runs = RunChecker(self.declaration.lts)
            self.run_digest = run_digest(self.declaration)
            self.properties = self.declaration.properties

    @property
    def lts_digest(self) -> bytes:
        """The digest of the part that decides verdicts: the LTS and the equivalence."""
        if self._lts_digest is None:
            self._lts_digest = lts_digest(self.declaration)
        return self._lts_digest

    @property
    def outline(self) -> Outline:
        """What the specification allows in each of its states, by name; made on first access."""
        if self._outline is None:
            self._outline = Outline(self.declaration)
        return self._outline

    def prunes_in(self, state: str | None) -> bool:
        """Return whether an idle instance may be pruned in `state`."""
        prunable = self.declaration.prunable_states
        if prunable is ALL:
            return True
        if self._prunable is None:
            self._prunable = frozenset(self.declaration.terminal_states if isinstance(prunable, Prunable) else prunable)
        return state in self._prunable

    @property
    def waits_for_handler(self) -> bool:
        """Whether the handler must be sent by a client, and no client has sent it since this shard started."""
        return self.stored.handler.kind == "shipped" and self.shipped is None and self._live() is None

    def handler(self) -> Handler:
        """Return the handler, imported or unpacked at the first call.

        If that fails, the handler returned answers each error with a `HandlerError`.
        """
        live = self._live()
        if live is not None:
            return live
        if self._handler is None:
            self._handler = resolve(self.stored.handler, self.shipped)
        return self._handler

    def _live(self) -> Handler | None:
        # This process may have the class: the application's own process does, and a shard that has imported it.
        if self.stored.handler.kind == "default":
            return default_word
        cls = registered(self.name)
        return cls.error_handler if cls is not None and has_own_handler(cls) else None


class Catalogue:
    """All specifications of one shard.

    Args:
        batch: The shard's batch.

    Raises:
        StoreError: A row is damaged.
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
        """Return the entry with that number.

        Raises:
            StoreError: There is none, so the row that holds the number is damaged.
        """
        try:
            return self._by_number[number]
        except KeyError:
            text = f"a damaged row: it names specification {number}, which is not stored"
            raise StoreError(text, row="an instance") from None

    def register(self, stored: StoredSpecification, shipped: bytes | None) -> tuple[Entry, Entry | None]:
        """Add or replace a specification that a client declares, in the batch.

        Returns:
            The entry now, and the entry before (None: it is new; the same object: nothing has changed).
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

"""The engine: the behaviour of one shard. It knows no pipe, process or frame, and no clock: time is an argument."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from ..checking.conformance import Verdict
from ..domain.impl_model import ImplModel
from ..domain.instance import Deviation, Instance
from ..domain.transition import INITIALISATION, Transition
from ..errors import (
    DeviationNotEquivalent,
    DeviationStillEquivalent,
    IdentifierInUse,
    ImplModelNotFound,
    InstanceNotFound,
    PredicateError,
    RemoteTraceback,
    SpecificationError,
    SpexError,
    show,
    words,
)
from ..log_fields import about
from ..messages.specifications import StoredSpecification
from ..messages.values import Item, instance_of
from ..runtime.call import Call
from ..runtime.protocol import codec
from ..runtime.store import Batch
from ..runtime.system.user_code import in_handler
from ..runtime.watch import NOBODY, Watch
from . import handlers
from .catalogue import Catalogue, Entry
from .checks import Checks
from .following import Deviating, Follower, deviation
from .models import Model, ModelBook, ModelSource
from .rows import Found, Instances
from .sightings import Sightings
from .telling import told
from .timers import Timers

logger = logging.getLogger("spex_shards")
CONTEXT_HISTORY: Final = 100
"""The instance in an error's context has at most this many entries of its history, the newest ones."""
PAGE_INSTANCES: Final = 256
"""A page of instances has at most this many of them."""
PAGE_ENTRIES: Final = 8192
"""A page also ends when its history entries and kilobytes of meta together reach this number."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """The options of an engine.

    Attributes:
        prune_interval_us: Microseconds between pruning passes; None: there is only the pass at the start.
        silent_before_us: Timeouts due before that time are marked as reported, without a report; 0: none.
        watch: Notes which handlers the engine calls, and the progress of long work.
        sightings: Whether to note what is seen, for a test run that asks for it.
    """

    prune_interval_us: int | None = None
    silent_before_us: int = 0
    watch: Watch = NOBODY
    sightings: bool = False


class Engine:
    """One shard: its instances, models, specifications and timers, in a batch.

    Every method changes the batch only; the caller commits it. Times are microseconds since the epoch. Methods that
    observe return the answer of the error handler: None, or the error that the application's caller must get. The
    observation is part of the batch either way. If a method raises, the caller must roll the batch back to a mark that
    it took before the call; then nothing has changed.

    Attributes:
        batch: The shard's batch.
        catalogue: The specifications.
        timers: Timeouts, pruning, and work that is done in portions.
        watch: Notes which handlers the engine calls, and the progress of long work.
        deviations_seen: How many deviations were observed since the start.

    Raises:
        StoreError: A row that must be read at the start is damaged.
    """

    def __init__(self, batch: Batch, source: ModelSource, options: EngineOptions, now: int) -> None:
        self.batch = self._batch = batch
        self.catalogue = Catalogue(self._batch)
        self._instances = Instances(self._batch, self.catalogue)
        self._models = ModelBook(self._batch, source)
        self._follower = Follower(self._instances, options.watch)
        self.timers = Timers(
            self._batch, self.catalogue, self._instances, self._snapshot, options.prune_interval_us,
            options.silent_before_us, options.watch, now,
        )  # fmt: skip
        self.watch = self._watch = options.watch
        self._sightings = Sightings(batch) if options.sightings else None
        self.deviations_seen = 0
        self._files, self._learns = source.files, source.learning_mode
        self._told: set[str] = set()

    @property
    def checks(self) -> Checks:
        """The large checks, which may be deferred."""
        return self._models.checks

    def register(self, stored: StoredSpecification, shipped: bytes | None) -> None:
        """Add or replace a specification that a client declares; `shipped` is its handler, if the client sends it."""
        entry, old = self.catalogue.register(stored, shipped)
        if old is entry:
            self.timers.handler_declared(entry)
            return
        if old is None or old.lts_digest != entry.lts_digest:
            self._models.specification_changed(entry.name)
            self._batch.on_undo(lambda: self._models.specification_changed(entry.name))
        self.timers.specification_changed(entry, old)

    def keys_to_read(self, identifiers: Iterable[bytes]) -> list[bytes]:
        """Return the keys of those instances whose rows are not in memory."""
        return self._instances.unread(identifiers)

    def knows(self, name: str) -> StoredSpecification | None:
        """Return a specification as data, or None."""
        entry = self.catalogue.get(name)
        return None if entry is None else entry.stored

    def init_instance(
        self,
        name: str,
        identifier: bytes,
        meta: bytes | None,
        initial_state: str | None,
        now: int,
        caller: Call | None = None,
    ) -> SpexError | None:
        """Create an instance and move it into its initial state; return the handler's answer.

        Raises:
            ValueError: `initial_state` is None, and the specification has no initial state.
            SpexError: The instance cannot be created (`DeserialisationFailed`, `StoreError`, or `SpecificationError`:
                the specification is unknown). No handler was called.
        """
        entry = self._entry(name)
        state = entry.declaration.initial_state if initial_state is None else initial_state
        if state is None:
            raise ValueError(f"no initial state is known for an instance of {name}: give initial_state")
        found = self._instances.find(identifier)
        if found is not None:
            return handlers.ask(entry.handler(), self._in_use(found, identifier, entry), caller)
        model = self._models.get(entry.name) or self._without_model(entry, identifier, caller)
        if isinstance(model, SpexError):
            return model
        if model is not None and model.learning and entry.name not in self._told and not self._learns:
            self._tell_that_nothing_is_judged(entry)
        found = self._instances.create(entry, identifier, meta, None, now)
        if self._sightings is not None:
            self._sightings.created(identifier)
        return self._observe(found, entry, model, INITIALISATION, state, now, caller)

    def _in_use(self, found: Found, identifier: bytes, entry: Entry) -> IdentifierInUse:
        shown, there = codec.identifier_of(identifier), self.catalogue.by_number(found.row.specification)
        return IdentifierInUse(
            f"{entry.name} cannot get an instance {show(shown)}: there is one already, of {there.name}, in the state "
            f"{show(found.row.state)}. Go on with it by transition; or delete it first by delete_instance; or give the "
            "new one another identifier",
            identifier=shown,
        )

    def transition(
        self, identifier: bytes, action: str, to_state: str, now: int, caller: Call | None = None
    ) -> SpexError | None:
        """Record that an instance went to `to_state` by `action`, and judge that; return the handler's answer.

        Raises:
            SpexError: The transition cannot be recorded (`DeserialisationFailed`, `StoreError`). No handler was called.
        """
        found = self._instances.find(identifier)
        if found is None:
            return handlers.ask(handlers.default_word, _not_found(identifier), caller)
        entry = self.catalogue.by_number(found.row.specification)
        model = self._models.get(entry.name) or self._without_model(entry, identifier, caller)
        if isinstance(model, SpexError):
            return model
        return self._observe(found, entry, model, action, to_state, now, caller)

    def mock_instance(self, name: str, identifier: bytes, meta: bytes | None, state: str, now: int) -> None:
        """Create an instance in a state, with an empty history; an existing one of that identifier is deleted."""
        entry = self._entry(name)
        self.delete_instance(identifier)
        self._instances.create(entry, identifier, meta, state, now)
        if self._sightings is not None:
            self._sightings.created(identifier)

    def delete_instance(self, identifier: bytes) -> None:
        """Delete an instance, if it exists."""
        found = self._instances.find(identifier)
        if found is not None:
            self._instances.remove(found)

    def delete_instances(self, predicate: Callable[[Instance], Any]) -> int:
        """Delete the instances for which `predicate` is true; return how many there were.

        Raises:
            PredicateError: The predicate raised, or returned an awaitable; nothing was deleted.
        """
        doomed = []
        for found in self._instances.walk(None, None):
            self._watch.bump()
            try:
                if in_handler(_holds, predicate, self._snapshot(found, found.row.seq)):
                    doomed.append(found)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                failure = PredicateError(f"the predicate raised {words(error)}", deleted=0)
                failure.__cause__ = RemoteTraceback.of(error)
                raise failure from failure.__cause__
        for found in doomed:
            self._watch.bump()
            self._instances.remove(found)
        return len(doomed)

    def owner(self, identifier: bytes) -> str | None:
        """Return the name of the specification of an instance, or None if there is no such instance."""
        found = self._instances.find(identifier)
        return found and self.catalogue.by_number(found.row.specification).name

    def get_instance(self, identifier: bytes, newest: int) -> Item:
        """Return an instance with up to `newest` entries of its history.

        Raises:
            InstanceNotFound: There is no such instance.
        """
        found = self._instances.find(identifier)
        if found is None:
            raise _not_found(identifier)
        return self._item(found, newest)

    def history(self, identifier: bytes, number: int, start: int, stop: int) -> list[Any] | None:
        """Return entries ``start <= sequence < stop`` of an instance's history.

        Returns:
            The entries, oldest first; None if there is no such instance any more. The number tells it from a newer
            instance of the same identifier.
        """
        found = self._instances.find(identifier)
        if found is None or found.row.number != number:
            return None
        return self._instances.history(number, start, min(stop, found.row.seq + 1))

    def page(self, name: str | None, after: bytes | None, newest: int) -> tuple[list[Item], bytes | None]:
        """Return a page of instances in key order.

        Args:
            name: The specification, or None for all.
            after: The key after which the page begins; None: at the first instance.
            newest: How many entries of each history.

        Returns:
            The instances, and the key after which the next page begins (None: this is the last page).
        """
        specification = None
        if name is not None:
            entry = self.catalogue.get(name)
            if entry is None:
                return [], None
            specification = entry.number
        items: list[Item] = []
        weight = 0
        for found in self._instances.walk(specification, after):
            item = self._item(found, newest)
            items.append(item)
            weight += len(item.instance.history) + len(item.instance.meta or b"") // 1024
            if len(items) >= PAGE_INSTANCES or weight >= PAGE_ENTRIES:
                return items, found.key
        return items, None

    def impl_models(self) -> list[ImplModel]:
        """Return all models of this shard."""
        return self._models.models()

    def deviations(self, name: str | None) -> list[Deviation]:
        """Return the deviations counted on this shard, of one specification or of all (None)."""
        return self._models.deviations(name, self.catalogue.get)

    def take_sightings(self) -> tuple[list[tuple[str, Transition]], list[bytes]]:
        """Return the steps seen and the identifiers of instances created since the last call; empty without them."""
        return ([], []) if self._sightings is None else self._sightings.take()

    def _entry(self, name: str) -> Entry:
        entry = self.catalogue.get(name)
        if entry is None:
            raise SpecificationError(f"the shard does not know the specification {name}", specification=name)
        return entry

    def _without_model(self, entry: Entry, identifier: bytes, caller: Call | None) -> Model | SpexError | None:
        """Call the handler because there is no model of a specification.

        Returns:
            A new empty model, if the handler accepts that there was none; else the handler's error. None: only runs are
            judged, so no model is needed.
        """
        if entry.declaration.judge == "run":
            return None
        shown = codec.identifier_of(identifier)
        text = f"there is no implementation model of {entry.name} (asked for by instance {show(shown)}): "
        text += "let a test suite or learning_mode=True make one; until then nothing that it does is judged"
        error = ImplModelNotFound(text, specification=entry.name, identifier=shown)
        self._told.add(entry.name)
        return handlers.ask(entry.handler(), error, caller) or self._models.create(entry.name)

    def _tell_that_nothing_is_judged(self, entry: Entry) -> None:
        """Log, once per start, that a model learns which neither a file nor an option has told to learn."""
        self._told.add(entry.name)
        if entry.declaration.transitions and entry.name not in self._files:
            logger.warning(
                "the model of %s is in no model file and still learns: nothing that its instances do is judged. Save "
                "it with `spex-shards export`, and set its learning mode to false; or give learning_mode=True, if it "
                "is to go on", entry.name, extra=about("nothing_judged", specification=entry.name),
            )  # fmt: skip

    def _observe(
        self, found: Found, entry: Entry, model: Model | None, action: str, target: str, now: int, caller: Call | None
    ) -> SpexError | None:
        step = found.row.state, action, target
        if entry.judges_runs:
            run, deviating = self._follower.step(found, entry, action, target)
            moved = self._instances.append(found, entry, action, target, now, run)
            if deviating is not None:
                return self._left_specification(deviating, moved, entry, Transition(*step), caller)
        else:
            moved = self._instances.append(found, entry, action, target, now)
        if self._sightings is not None:
            self._sightings.step(entry.name, Transition(*step))
        if model is None or step in model.transitions:  # a plain tuple is quicker to make than a `Transition`
            return None
        transition = Transition(*step)
        if model.learning:
            self._models.learn(model, transition)
            return None
        if entry.declaration.judge == "run":
            return None
        verdict = self._models.judge(model, entry, transition)
        word = self._ask_about(moved, entry, model, transition, verdict, caller)
        self.deviations_seen += 1
        self._models.record(model, transition, verdict, moved.row.last, passed=word is None)
        return word

    def _left_specification(
        self, step: Deviating, moved: Found, entry: Entry, transition: Transition, caller: Call | None
    ) -> SpexError | None:
        """Count a step that deviates from the specification, and return the handler's answer to the error."""
        error = deviation(step, entry, self._snapshot(moved, CONTEXT_HISTORY), transition)
        self.deviations_seen += 1
        self._models.count_run(entry.name, transition, moved.row.last)
        return handlers.ask(entry.handler(), error, caller)

    def _ask_about(
        self, moved: Found, entry: Entry, model: Model, transition: Transition, verdict: Verdict, caller: Call | None
    ) -> SpexError | None:
        instance = self._snapshot(moved, CONTEXT_HISTORY)
        cls = DeviationStillEquivalent if verdict is Verdict.EQUIVALENT else DeviationNotEquivalent
        error = cls(
            told(show(instance.identifier), entry.outline, transition, verdict, self._models.standing(model)),
            instance=instance,
            deviating_transition=transition,
            verdict=verdict,
        )
        return handlers.ask(entry.handler(), error, caller)

    def _snapshot(self, found: Found, newest: int) -> Instance:
        plain = self._instances.plain(found, newest)
        return instance_of(plain, self.catalogue.by_number(found.row.specification).declaration)

    def _item(self, found: Found, newest: int) -> Item:
        return Item(found.row.number, found.row.seq, self._instances.plain(found, min(newest, PAGE_ENTRIES)))


def _not_found(identifier: bytes) -> InstanceNotFound:
    shown = codec.identifier_of(identifier)
    text = f"there is no instance {show(shown)}: create it first, by init_instance(SPECIFICATION, {show(shown)})"
    if isinstance(shown, (int, str)):
        text += "; identifiers are told apart by type as well, so that 1 and '1' are two"
    return InstanceNotFound(text, identifier=shown)


def _holds(predicate: Callable[[Instance], Any], instance: Instance) -> bool:
    word = predicate(instance)
    if inspect.isawaitable(word):
        # An unawaited coroutine is true: everything would be deleted.
        if inspect.iscoroutine(word):
            word.close()
        raise TypeError("the predicate must say whether, and not be async")
    return bool(word)

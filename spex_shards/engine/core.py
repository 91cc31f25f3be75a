"""The engine: the behaviour of one shard. No pipe, process, frame or clock: time is an argument."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ..checking.conformance import Verdict
from ..checking.runs import Position, where
from ..domain.impl_model import ImplModel
from ..domain.instance import Deviation, Instance
from ..domain.transition import INITIALISATION, Transition
from ..errors import (
    DeviationFromSpecification,
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
from ..messages.specifications import StoredSpecification
from ..messages.values import Item, instance_of
from ..runtime.protocol import codec
from ..runtime.service import NOBODY, Call, Watch
from ..runtime.store import Batch
from ..runtime.system.user_code import in_handler
from . import handlers
from .catalogue import Catalogue, Entry
from .checks import Checks
from .models import Model, ModelBook, ModelSource
from .rows import Found, Instances, RunRow
from .telling import told
from .timers import Timers

CONTEXT_HISTORY: Final = 100
"""So many newest entries has the instance in an error's context."""
PAGE_INSTANCES: Final = 256
PAGE_ENTRIES: Final = 8192
"""A page of instances ends after so many of them, or so many history entries or kilobytes of meta."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What an engine must know beside its store.

    Attributes:
        prune_interval_us: Microseconds between pruning passes, or None (only the pass at the start).
        silent_before_us: Timeouts due before that time are done in silence; 0: none.
        watch: Is told what the engine executes.
    """

    prune_interval_us: int | None = None
    silent_before_us: int = 0
    watch: Watch = NOBODY


class Engine:
    """One shard: its instances, models, specifications and timers, over a batch.

    Every method works in the batch; whoever calls it keeps that. Times are microseconds since the epoch. Methods that
    observe return the handler's word: None, or the error that the caller is to get; what was observed is kept either
    way. What a method raises has changed nothing once the batch was rolled back to the mark taken before it.

    Attributes:
        batch: The batch.
        timers: What happens by itself.
    """

    def __init__(self, batch: Batch, source: ModelSource, options: EngineOptions, now: int) -> None:
        self.batch = self._batch = batch
        self.catalogue = Catalogue(self._batch)
        self._instances = Instances(self._batch, self.catalogue)
        self._models = ModelBook(self._batch, source)
        self.timers = Timers(
            self._batch, self.catalogue, self._instances, self._snapshot, options.prune_interval_us,
            options.silent_before_us, options.watch, now,
        )  # fmt: skip
        self._watch = options.watch
        self.deviations_seen = 0

    @property
    def checks(self) -> Checks:
        """Where long checks wait, for whoever does them elsewhere."""
        return self._models.checks

    def register(self, stored: StoredSpecification, shipped: bytes | None) -> None:
        """Take a specification as a client declares it."""
        entry, old = self.catalogue.register(stored, shipped)
        if old is entry:
            self.timers.handler_declared(entry)
            return
        if old is None or old.lts_digest != entry.lts_digest:
            self._models.specification_changed(entry.name)
            self._batch.on_undo(lambda: self._models.specification_changed(entry.name))
        self.timers.specification_changed(entry, old)

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
        """Make an instance and move it into its initial state.

        Raises:
            ValueError: No initial state is known.
            SpexError: It cannot be done at all (`DeserialisationFailed`, `StoreError`); no handler was asked.
        """
        entry = self._entry(name)
        state = entry.declaration.initial_state if initial_state is None else initial_state
        if state is None:
            raise ValueError(f"no initial state is known for an instance of {name}: give initial_state")
        if self._instances.find(identifier) is not None:
            shown = codec.identifier_of(identifier)
            error = IdentifierInUse(f"there is an instance {show(shown)} already", identifier=shown)
            return handlers.ask(entry.handler(), error, caller)
        model = self._models.get(entry.name) or self._without_model(entry, identifier, caller)
        if isinstance(model, SpexError):
            return model
        found = self._instances.create(entry, identifier, meta, None, now)
        return self._observe(found, entry, model, INITIALISATION, state, now, caller)

    def transition(
        self, identifier: bytes, action: str, to_state: str, now: int, caller: Call | None = None
    ) -> SpexError | None:
        """Observe that an instance went to `to_state` by `action`.

        Raises:
            SpexError: It cannot be done at all (`DeserialisationFailed`, `StoreError`); no handler was asked.
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
        """Put an instance into a state, with an empty history, over whatever was there."""
        entry = self._entry(name)
        self.delete_instance(identifier)
        self._instances.create(entry, identifier, meta, state, now)

    def delete_instance(self, identifier: bytes) -> None:
        """Delete an instance, if it is there."""
        found = self._instances.find(identifier)
        if found is not None:
            self._instances.remove(found)

    def delete_instances(self, predicate: Callable[[Instance], Any]) -> int:
        """Delete the instances for which `predicate` is true; return how many.

        Raises:
            PredicateError: The predicate raised; nothing was deleted.
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
                failure.__cause__ = RemoteTraceback(_traceback(error))
                raise failure from failure.__cause__
        for found in doomed:
            self._watch.bump()
            self._instances.remove(found)
        return len(doomed)

    def get_instance(self, identifier: bytes, newest: int) -> Item:
        """Return an instance with up to `newest` entries of its history.

        Raises:
            InstanceNotFound: There is none.
        """
        found = self._instances.find(identifier)
        if found is None:
            raise _not_found(identifier)
        return self._item(found, newest)

    def history(self, identifier: bytes, number: int, start: int, stop: int) -> list[Any] | None:
        """Return entries ``start <= sequence < stop`` of an instance's history, or None when it is another by now."""
        found = self._instances.find(identifier)
        if found is None or found.row.number != number:
            return None
        return self._instances.history(number, start, min(stop, found.row.seq + 1))

    def page(self, name: str | None, after: bytes | None, newest: int) -> tuple[list[Item], bytes | None]:
        """Return the items of the instances behind the key `after`, and the key to go on with (None: that was all)."""
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
        """Return the deviations counted on this shard."""
        return self._models.deviations(name, self.catalogue.get)

    def _entry(self, name: str) -> Entry:
        entry = self.catalogue.get(name)
        if entry is None:
            raise SpecificationError(f"the shard does not know the specification {name}", specification=name)
        return entry

    def _without_model(self, entry: Entry, identifier: bytes, caller: Call | None) -> Model | SpexError | None:
        """Return a new model if the specification's handler accepts that there is none, else the handler's error.

        Where only runs are judged no model is needed: then it is None.
        """
        if entry.declaration.judge == "run":
            return None
        shown = codec.identifier_of(identifier)
        text = f"there is no implementation model of {entry.name} (asked for by instance {show(shown)}): "
        text += "let a test suite or learning_mode=True make one; until then nothing that it does is judged"
        error = ImplModelNotFound(text, specification=entry.name, identifier=shown)
        return handlers.ask(entry.handler(), error, caller) or self._models.create(entry.name)

    def _observe(
        self, found: Found, entry: Entry, model: Model | None, action: str, target: str, now: int, caller: Call | None
    ) -> SpexError | None:
        transition = Transition(found.row.state, action, target)
        if entry.judges_runs:
            position, allowed = self._follow(found, entry, action, target)
            run = RunRow(entry.lts_digest, position)
            moved = self._instances.append(found, entry, action, target, now, run)
            if not allowed:
                return self._left_specification(found, moved, entry, transition, caller)
        else:
            moved = self._instances.append(found, entry, action, target, now)
        if model is None or transition in model.transitions:
            return None
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

    def _follow(self, found: Found, entry: Entry, action: str, target: str) -> tuple[Position, bool]:
        """Return where an instance's run is after a step, and whether the specification allows the step."""
        if action == INITIALISATION:
            return entry.runs.start, True
        return entry.runs.follow(self._position(found, entry), action, target)

    def _position(self, found: Found, entry: Entry) -> Position:
        """Return where an instance's run is.

        It stands in the instance's row, unless the specification has changed since, or runs were not judged before:
        then the history is followed anew. A mocked instance starts in the specified state of its name.
        """
        row, runs = found.row, entry.runs
        if row.run is not None and row.run.digest == entry.lts_digest and runs.holds(row.run.position):
            return row.run.position
        position: Position | None = None
        for start in range(1, row.seq + 1, PAGE_ENTRIES):
            self._watch.bump()
            for _, action, state in self._instances.history(row.number, start, min(start + PAGE_ENTRIES, row.seq + 1)):
                if action == INITIALISATION:
                    position = runs.start
                elif position is None:  # it was mocked, and its history does not say in which state
                    return runs.named(row.state or "")
                else:
                    position, _ = runs.follow(position, action, state)
        return runs.named(row.state or "") if position is None else position

    def _left_specification(
        self, found: Found, moved: Found, entry: Entry, transition: Transition, caller: Call | None
    ) -> SpexError | None:
        """Ask the handler about a step that the specification does not allow, and count it."""
        instance, before = self._snapshot(moved, CONTEXT_HISTORY), self._position(found, entry)
        possible, allowed = entry.runs.states(before), entry.runs.allowed(before)
        error = DeviationFromSpecification(
            f"instance {show(instance.identifier)} of {entry.name} did {transition.action} (from {transition.source} "
            f"to {transition.target}), which its specification does not allow there: {where(possible, allowed)}",
            instance=instance,
            deviating_transition=transition,
            verdict=Verdict.VIOLATION,
            possible=possible,
            allowed=allowed,
        )
        self.deviations_seen += 1
        self._models.count_run(entry.name, transition, moved.row.last)
        return handlers.ask(entry.handler(), error, caller)

    def _ask_about(
        self, moved: Found, entry: Entry, model: Model, transition: Transition, verdict: Verdict, caller: Call | None
    ) -> SpexError | None:
        instance = self._snapshot(moved, CONTEXT_HISTORY)
        equivalent = verdict is Verdict.EQUIVALENT
        cls = DeviationStillEquivalent if equivalent else DeviationNotEquivalent
        before = self._models.standing(model)
        error = cls(
            told(show(instance.identifier), entry.outline, transition, verdict, before),
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
    return InstanceNotFound(f"there is no instance {show(shown)}", identifier=shown)


def _holds(predicate: Callable[[Instance], Any], instance: Instance) -> bool:
    word = predicate(instance)
    if inspect.isawaitable(word):
        # An unawaited coroutine is true: everything would be deleted.
        if inspect.iscoroutine(word):
            word.close()
        raise TypeError("the predicate must say whether, and not be async")
    return bool(word)


def _traceback(error: BaseException) -> str:
    import traceback  # needed when a predicate fails, and heavy

    return "".join(traceback.format_exception(error))

"""The engine compared with a model in plain Python, for any order of calls, failures and restarts."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import spex_shards as spex
from spex_shards.engine import Engine, EngineOptions, ModelSource
from spex_shards.engine.row_forms import instance_row
from spex_shards.messages.specifications import describe
from spex_shards.messages.values import instance_of
from spex_shards.runtime.protocol.codec import canonical
from spex_shards.runtime.store import Batch
from spex_shards.runtime.store.keys import u32, u64
from tests.engine.test_engine import SECOND, Counting
from tests.support.contract_specs import model
from tests.support.places import LONG

STEPS = [("a", "go", "b"), ("b", "go", "a"), ("b", "end", "c")]


def _define(name: str, **options: Any) -> type[spex.Specification]:
    return spex.Specification.define(name, STEPS, error_handler=_accept, **options)


def _accept(error: spex.SpexError, caller: Any) -> None:
    pass


PLAIN = _define("model.Plain")
TIMED = _define("model.Timed", transition_timeout=3)
PRUNED = _define("model.Pruned", prune_timeout=5, prunable_states=spex.TERMINAL)
BOTH = _define("model.Both", transition_timeout=4, prune_timeout=6, prunable_states=["a", "x"])
SPECIFICATIONS = [PLAIN, TIMED, PRUNED, BOTH]
LEARNING = {TIMED.name: model(TIMED, ("a", "go", "b"), learning_mode=True)}
KNOWN = {cls.name: model(cls, ("a", "go", "b")) for cls in (PLAIN, BOTH)}
IDENTIFIERS = [1, ("x", 2), "y" * 600]


@dataclass
class Expected:
    """The expected state of one instance."""

    specification: type[spex.Specification]
    state: str
    history: list[tuple[int, str, str]] = field(default_factory=list)
    meta: bytes | None = None
    reported: bool = False

    @property
    def deadline(self) -> int | None:
        """When its timeout is due."""
        timeout = self.specification.transition_timeout
        if timeout is None or not self.history or self.reported:
            return None
        return self.history[-1][0] + int(timeout.total_seconds()) * SECOND  # type: ignore[union-attr]

    @property
    def prune(self) -> int | None:
        """When it may be pruned."""
        timeout = self.specification.prune_timeout
        prunable = self.specification.prunable_states
        states = self.specification.terminal_states if prunable is spex.TERMINAL else prunable
        if timeout is None or not self.history or self.state not in states:
            return None
        return self.history[-1][0] + int(timeout.total_seconds()) * SECOND  # type: ignore[union-attr]


@dataclass
class World:
    """The expected content of the engine."""

    instances: dict[Any, Expected] = field(default_factory=dict)
    learned: dict[str, set[Any]] = field(default_factory=dict)
    counts: dict[tuple[str, Any], int] = field(default_factory=dict)


class EngineMachine(RuleBasedStateMachine):
    """Requests, ticks, rollbacks, failed commits and restarts, in any order."""

    @initialize()
    def start(self) -> None:
        """Open an engine on an empty store."""
        self.store = Counting()
        self.now = 1000 * SECOND
        self.world, self.kept = World(), World()
        self.timeouts = 0
        self.open()

    def open(self) -> None:
        """Open an engine on what is stored."""
        source = ModelSource(files={**KNOWN, **LEARNING})
        self.engine = Engine(Batch(self.store), source, EngineOptions(prune_interval_us=4 * SECOND), self.now)
        self.next_prune = self.now
        for cls in SPECIFICATIONS:
            self.engine.register(describe(cls)[0], None)
        self.engine.batch.commit()
        self.settle()

    # ------------------------------------------------------------------ requests

    def observed(self, identifier: Any, source: str | None, action: str, target: str) -> None:
        """Move an instance in the model."""
        expected = self.world.instances[identifier]
        last = expected.history[-1][0] if expected.history else 0
        expected.history.append((max(self.now, last), action, target))
        expected.state, expected.reported = target, False
        name = expected.specification.name
        transition = spex.Transition(source, action, target)
        if name not in KNOWN:
            self.world.learned.setdefault(name, set()).add(transition)
        elif transition not in KNOWN[name].transitions:
            key = (name, transition)
            self.world.counts[key] = self.world.counts.get(key, 0) + 1

    @rule(identifier=st.sampled_from(IDENTIFIERS), cls=st.sampled_from(SPECIFICATIONS), meta=st.booleans())
    def init(self, identifier: Any, cls: Any, meta: bool) -> None:
        """Initialise an instance, or find that its identifier is in use."""
        data = b"\x81\xa1a\x01" if meta else None
        word = self.engine.init_instance(cls.name, canonical(identifier), data, None, self.now)
        assert word is None
        if identifier not in self.world.instances:
            self.world.instances[identifier] = Expected(cls, "a", meta=data)
            self.observed(identifier, None, spex.INITIALISATION, "a")

    @rule(
        identifier=st.sampled_from(IDENTIFIERS),
        action=st.sampled_from(["go", "end", "odd"]),
        state=st.sampled_from(["a", "b", "c", "x"]),
    )
    def move(self, identifier: Any, action: str, state: str) -> None:
        """Observe a transition."""
        word = self.engine.transition(canonical(identifier), action, state, self.now)
        if identifier not in self.world.instances:
            assert isinstance(word, spex.InstanceNotFound)
            return
        assert word is None
        self.observed(identifier, self.world.instances[identifier].state, action, state)

    @rule(identifier=st.sampled_from(IDENTIFIERS), cls=st.sampled_from(SPECIFICATIONS))
    def mock(self, identifier: Any, cls: Any) -> None:
        """Put an instance into a state."""
        self.engine.mock_instance(cls.name, canonical(identifier), None, "b", self.now)
        self.world.instances[identifier] = Expected(cls, "b")

    @rule(identifier=st.sampled_from(IDENTIFIERS))
    def delete(self, identifier: Any) -> None:
        """Delete an instance, if it exists."""
        self.engine.delete_instance(canonical(identifier))
        self.world.instances.pop(identifier, None)

    @rule(state=st.sampled_from("abcx"))
    def delete_where(self, state: str) -> None:
        """Delete all instances in a state."""
        doomed = [key for key, expected in self.world.instances.items() if expected.state == state]
        assert self.engine.delete_instances(lambda instance: instance.current_state == state) == len(doomed)
        for key in doomed:
            del self.world.instances[key]

    @rule(identifier=st.sampled_from(IDENTIFIERS))
    def make_it_old(self, identifier: Any) -> None:
        """Give an instance a history that is removed in portions."""
        if identifier in self.world.instances:
            for _ in range(70):
                self.move(identifier, "go", "b")

    # ------------------------------------------------------------------ batches and time

    @rule()
    def commit(self) -> None:
        """Commit the batch."""
        self.engine.batch.commit()
        self.kept = deepcopy(self.world)

    @rule()
    def fail(self) -> None:
        """Let the store refuse the batch."""
        dirty = self.engine.batch.dirty
        self.store.failing = True
        if dirty:
            with pytest.raises(spex.StoreError):
                self.engine.batch.commit()
        self.store.failing = False
        self.world = deepcopy(self.kept) if dirty else self.world

    @rule(identifier=st.sampled_from(IDENTIFIERS), cls=st.sampled_from(SPECIFICATIONS))
    def roll_one_request_back(self, identifier: Any, cls: Any) -> None:
        """Undo one request within the batch."""
        before, mark = deepcopy(self.world), self.engine.batch.mark()
        self.mock(identifier, cls)
        self.move(identifier, "odd", "x")
        self.engine.batch.rollback(mark)
        self.world = before

    @rule()
    def restart(self) -> None:
        """Lose what was not committed, and continue from the store."""
        self.world = deepcopy(self.kept)
        self.open()

    @rule(seconds=st.integers(1, 4))
    def wait(self, seconds: int) -> None:
        """Let time pass, and do what is due."""
        self.commit()
        self.now += seconds * SECOND
        self.settle()

    def settle(self) -> None:
        """Tick until nothing is due, in the engine and in the model."""
        before = self.engine.timers.timeouts_seen
        for _ in range(1000):
            due = self.engine.timers.next_due()
            if due is None or due > self.now:
                break
            self.engine.timers.tick(self.now)
            self.engine.batch.commit()
        reported = 0
        for expected in self.world.instances.values():
            if expected.deadline is not None and expected.deadline < self.now:
                expected.reported = True
                reported += 1
        assert self.engine.timers.timeouts_seen - before == reported
        if self.next_prune <= self.now:
            self.next_prune = self.now + 4 * SECOND
            self.world.instances = {
                key: expected
                for key, expected in self.world.instances.items()
                if expected.prune is None or expected.prune >= self.now
            }
        self.kept = deepcopy(self.world)

    # ------------------------------------------------------------------ what must hold

    @invariant()
    def instances_are_as_expected(self) -> None:
        """Each instance reads as in the model, alone and in pages."""
        found = {}
        items, after = self.engine.page(None, None, 1 << 60)
        assert after is None
        for _, seq, plain in items:
            identifier = instance_of(plain).identifier
            found[identifier] = (plain[0], plain[2], plain[3], [tuple(entry) for entry in plain[4]])
            assert seq == len(plain[4])
        assert found == {
            key: (expected.specification.name, expected.meta, expected.state, expected.history)
            for key, expected in self.world.instances.items()
        }
        for cls in SPECIFICATIONS:
            mine = {canonical(k) for k, expected in self.world.instances.items() if expected.specification is cls}
            assert {plain[1] for _, _, plain in self.engine.page(cls.name, None, 0)[0]} == mine

    @invariant()
    def models_and_counts_are_as_expected(self) -> None:
        """Learned transitions and deviations are as in the model."""
        learned = {m.specification: m.transitions for m in self.engine.impl_models() if m.specification not in KNOWN}
        expected = {name: set(transitions) for name, transitions in self.world.learned.items()}
        for name, of_file in LEARNING.items():
            expected[name] = expected.get(name, set()) | of_file.transitions
        assert learned == expected
        counts = {(seen.specification, seen.transition): seen.count for seen in self.engine.deviations(None)}
        assert counts == self.world.counts

    @invariant()
    def nothing_is_left_over_in_the_indexes(self) -> None:
        """Every index row belongs to an instance, and every due time has its row."""
        rows = {key: instance_row(row) for key, row in self.engine.batch.range("instances", b"")}
        numbers = {row.number for row in rows.values()}
        assert len(numbers) == len(rows)
        assert {key for key, _ in self.engine.batch.range("by_spec", b"")} == {
            u32(row.specification) + key for key, row in rows.items()
        }
        for table, column in (("deadlines", "deadline"), ("prunable", "prune")):
            expected = {
                u64(getattr(row, column)) + u64(row.number): key
                for key, row in rows.items()
                if getattr(row, column) is not None
            }
            assert dict(self.engine.batch.range(table, b"")) == expected
        due = sorted(e.deadline for e in self.world.instances.values() if e.deadline is not None)
        assert sorted(row.deadline for row in rows.values() if row.deadline is not None) == due
        prune = sorted(e.prune for e in self.world.instances.values() if e.prune is not None)
        assert sorted(row.prune for row in rows.values() if row.prune is not None) == prune
        garbage = {int.from_bytes(key, "big") for key, _ in self.engine.batch.range("garbage", b"")}
        for table in ("history", "metas"):
            kept = {int.from_bytes(key[:8], "big") for key, _ in self.engine.batch.range(table, b"")}
            assert kept <= numbers | (garbage if table == "history" else set())
        assert not garbage & numbers


EngineMachine.TestCase.settings = settings(max_examples=120 if LONG else 25, stateful_step_count=50, deadline=None)
TestEngineModel = EngineMachine.TestCase

"""Replaying event logs: what is observed and learned, without loss while workers are killed."""

from __future__ import annotations

import gzip
import random
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import spex_shards as spex
from spex_shards.event_log import Attributes, EventLog, LogError, read_log
from spex_shards.event_log.replay import check_log, replay
from spex_shards.review.offline import held, learned_models, shards_of
from tests.support.places import SHARED
from tests.support.processes import kill_worker

LOG = EventLog(
    ["a", "b", "empty"], [(0, "pay", "paid"), (1, "pay", "paid"), (0, "ship", "shipped"), (1, "pay", "paid twice")]
)


class Shop(spex.Specification):
    """The behaviour that LOG shows, with other names of states."""

    name = "tests.replay.Shop"
    transitions = [("new", "pay", "paid"), ("paid", "ship", "gone"), ("paid", "pay", "gone")]


class Strict(spex.Specification):
    """Forbids paying twice."""

    name = "tests.replay.Strict"
    transitions = [("new", "pay", "paid"), ("paid", "ship", "gone")]


class Large(spex.Specification):
    """Allows more than LOG shows."""

    name = "tests.replay.Large"
    transitions = [*Shop.transitions, ("gone", "return", "new")]


def steps(instance: spex.Instance) -> list[tuple[str, str]]:
    """Return an instance's history without times and without its initialisation."""
    assert instance.history[0][:2] == (spex.INITIALISATION, "start")
    return [(entry.action, entry.to_state) for entry in instance.history[1:]]


@pytest.mark.process
def test_every_case_becomes_an_instance_and_every_event_a_transition(make_manager: Any) -> None:
    """This includes a case without events; identifiers are the names of the cases, the initial state is `start`."""
    manager = make_manager(learning_mode=True)
    done = replay(LOG, manager, Shop)
    assert {instance.identifier: steps(instance) for instance in manager.all_instances(Shop)} == {
        "a": [("pay", "paid"), ("ship", "shipped")],
        "b": [("pay", "paid"), ("pay", "paid twice")],
        "empty": [],
    }
    assert (done.events, done.instances, done.deviations, done.restarts) == (4, 3, 0, 0)
    assert done.seconds > 0
    assert done.events_per_second == pytest.approx(4 / done.seconds)


@pytest.mark.process
def test_the_model_is_learned_and_judged(make_manager: Any) -> None:
    """It has one initialisation and each step once, and is equivalent although its states have other names."""
    done = replay(LOG, make_manager(learning_mode=True), Shop)
    [learned] = done.models
    assert learned.model.transitions == {
        (None, spex.INITIALISATION, "start"),
        ("start", "pay", "paid"),
        ("paid", "ship", "shipped"),
        ("paid", "pay", "paid twice"),
    }
    assert not learned.model.learning_mode
    assert learned.verdict is spex.Verdict.EQUIVALENT
    assert done.conforms
    assert done.plain()["models"] == [{"specification": Shop.name, "transitions": 4, "verdict": "equivalent"}]


@pytest.mark.parametrize(("specification", "verdict"), [(Strict, "violation"), (Large, "incomplete")])
def test_a_log_that_shows_too_much_or_too_little_does_not_conform(
    specification: Any, verdict: str, places: dict[str, Path]
) -> None:
    """Each has its own verdict."""
    with spex.SimpleInstanceManager(**places, learning_mode=True) as manager:
        done = replay(LOG, manager, specification)
    assert done.models[0].verdict == verdict
    assert not done.conforms


def test_a_model_that_is_not_judged_has_no_verdict(places: dict[str, Path]) -> None:
    """This is the case if it is only to be learned."""
    with spex.SimpleInstanceManager(**places, learning_mode=True) as manager:
        done = replay(LOG, manager, Strict, judge=False)
    assert done.models[0].verdict is None
    assert done.conforms


def test_a_log_without_cases_teaches_nothing(places: dict[str, Path]) -> None:
    """The model is empty, and incomplete."""
    with spex.SimpleInstanceManager(**places, learning_mode=True) as manager:
        done = replay(EventLog([], []), manager, Shop)
    assert (done.events, done.instances, done.models[0].verdict) == (0, 0, "incomplete")


def test_the_model_is_that_of_the_log_though_the_directory_knows_more(places: dict[str, Path]) -> None:
    """Transitions of other cases are left out."""
    with spex.SimpleInstanceManager(**places, learning_mode=True) as manager:
        manager.init_instance(Strict, "before", initial_state="elsewhere")
        manager.transition("before", "steal", "gone")
        done = replay(EventLog(["a"], [*LOG.events[:1], (0, "ship", "gone")]), manager, Strict)
        assert len(manager.all_impl_models()[0].transitions) == 5
    assert len(done.models[0].model.transitions) == 3
    assert done.models[0].verdict == "equivalent"


def test_deviations_of_before_are_not_counted(places: dict[str, Path]) -> None:
    """Only deviations during the replay are counted."""
    places["impl_models_dir"].mkdir()
    model = spex.ImplModel(specification=Strict.name, transitions=[(None, spex.INITIALISATION, "start")])
    (places["impl_models_dir"] / f"{Strict.name}.spex").write_text(model.serialise())
    with spex.SimpleInstanceManager(**places) as manager:
        manager.init_instance(Strict, "before", initial_state="start")
        manager.try_transition("before", "pay", "paid")
        done = replay(LOG, manager, Strict)
    assert done.deviations == 4


def test_progress_counts_events_and_may_end_the_replay_between_two(places: dict[str, Path]) -> None:
    """Every history is a prefix then."""
    seen: list[int] = []

    def progress(events: int) -> None:
        seen.append(events)
        if events == 3:
            raise InterruptedError

    with spex.SimpleInstanceManager(**places, learning_mode=True) as manager:
        with pytest.raises(InterruptedError):
            replay(LOG, manager, Shop, progress=progress)
        assert seen == [1, 2, 3]
        histories = {instance.identifier: steps(instance) for instance in manager.all_instances()}
    assert histories == {"a": [("pay", "paid"), ("ship", "shipped")], "b": [("pay", "paid")]}


def test_what_cannot_be_observed_is_found_before_anything_is_sent() -> None:
    """The error names the case and the event."""
    with pytest.raises(LogError) as raised:
        check_log(EventLog(["a", "b"], [(0, "pay", "x"), (1, "pay", "x"), (1, spex.INITIALISATION, "x")]))
    assert str(raised.value) == (
        "case 'b', event 2 in time order: the action must not be the reserved '__initialisation__'"
    )
    with pytest.raises(LogError, match=r"^case 'x{90,}… \(70002 characters\): its name cannot be an identifier: "):
        check_log(EventLog(["x" * 70_000], []))


@pytest.mark.process
def test_a_directory_is_read_offline_whatever_its_number_of_shards(make_manager: Any, places: dict[str, Path]) -> None:
    """The result has the united models of all shards, and the known identifiers."""
    manager = make_manager(learning_mode=True)
    shards = len(manager.shards())
    replay(LOG, manager, Shop)
    [model] = manager.all_impl_models()
    manager.close()
    assert shards_of(places["data_dir"]) == shards
    assert learned_models(places["data_dir"]) == {Shop.name: model.transitions}
    assert sorted(held(places["data_dir"], ["other", "empty", "a", "x" * 600])) == ["a", "empty"]


def test_a_place_without_a_layout_is_no_data_directory(tmp_path: Path) -> None:
    """Nothing is created there."""
    assert shards_of(tmp_path / "nothing") is None
    with pytest.raises(spex.DataDirError, match=r"there is no data directory at .*nothing; give the directory"):
        learned_models(tmp_path / "nothing")
    assert not list(tmp_path.iterdir())


def reference(path: Path, keys: tuple[str, ...]) -> dict[str, list[str]]:
    """Return case → actions in time order, computed without the library: one process, one dict."""
    cases: dict[str, list[str]] = {}
    with gzip.open(path) as file:
        for _, trace in ET.iterparse(file):
            if trace.tag.rpartition("}")[2] != "trace":
                continue
            name, events = "", []
            for child in trace:
                if child.tag.rpartition("}")[2] == "event":
                    values = {attribute.get("key"): attribute.get("value", "") for attribute in child}
                    moment = datetime.fromisoformat(values["time:timestamp"])
                    events.append((moment, "/".join(values[key] for key in keys)))
                elif child.get("key") == "concept:name":
                    name = child.get("value", "")
            events.sort(key=lambda event: event[0])
            cases[name] = [action for _, action in events]
            trace.clear()
    return cases


def model_of(cases: dict[str, list[str]]) -> Iterator[tuple[str | None, str, str]]:
    """Yield the transitions that the reference's cases show."""
    yield None, spex.INITIALISATION, "start"
    for actions in cases.values():
        yield from zip(["start", *actions], actions, actions, strict=False)


@pytest.mark.shared
@pytest.mark.process
@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_the_incidents_survive_a_worker_killed_after_every_3000_events(places: dict[str, Path]) -> None:
    """All 7,554 instances have exactly their 65,533 events in order, and the model equals the reference."""
    path, keys = SHARED / "data" / "bpic2013_incidents.xes.gz", ("concept:name", "lifecycle:transition")
    log = read_log(path, Attributes.of(path, action="+".join(keys)))
    chance, kills = random.Random(2013), Counter[int]()

    def progress(events: int) -> None:
        if events % 3000 == 0:
            manager.flush()  # these are acknowledged now
            victim = chance.randrange(4)
            kill_worker(manager, victim)
            kills[victim] += 1

    with spex.ShardedInstanceManager(
        **places, distribution_factor=4, learning_mode=True, max_restarts=1000, call_timeout=30.0
    ) as manager:
        done = replay(log, manager, spex.Specification.define("tests.Incident", ()), judge=False, progress=progress)
        histories = {instance.identifier: steps(instance) for instance in manager.iter_instances()}
        assert [shard.restarts for shard in manager.shards()] == [kills[index] for index in range(4)]
    expected = reference(path, keys)
    assert kills.total() >= 20
    assert done.restarts == kills.total()
    assert (done.instances, done.events) == (7554, 65533)
    assert histories == {case: [(action, action) for action in actions] for case, actions in expected.items()}
    assert len(histories) == 7554
    assert sum(map(len, histories.values())) == 65533
    assert done.models[0].model.transitions == set(model_of(expected))

"""Sightings: what a test run learns of each test from its shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.manager.sightings import delete_created, take_sightings
from tests.support.helper_specs import Door

OPENED = spex.Transition("closed", "open", "opened")
STARTED = spex.Transition(None, spex.INITIALISATION, "closed")


@pytest.fixture(params=["simple", "sharded"])
def noting(request: pytest.FixtureRequest, tmp_path: Path, no_process_left: None) -> Any:
    """Return a learning manager that notes what it sees."""
    cls = spex.SimpleInstanceManager if request.param == "simple" else spex.ShardedInstanceManager
    options: Any = {} if request.param == "simple" else {"distribution_factor": 2}
    manager = cls(data_dir=tmp_path / "data", impl_models_dir=tmp_path / "models", learning_mode=True, **options)
    manager.notes_sightings = True
    with manager:
        yield manager


@pytest.mark.process
def test_each_answer_has_what_was_seen_since_the_one_before(noting: Any) -> None:
    """Known steps are seen again, and observations that nobody waited for are in the answer."""
    assert take_sightings(noting) == (frozenset(), frozenset())
    noting.init_instance(Door, 1)
    noting.transition_nowait(1, "open", "opened")
    first = take_sightings(noting)
    assert first.steps == {("tests.Door", STARTED), ("tests.Door", OPENED)}
    assert len(first.created) == 1
    noting.mock_instance(Door, 2, "closed")
    noting.transition(2, "open", "opened")
    second = take_sightings(noting)
    assert second.steps == {("tests.Door", OPENED)}
    assert len(second.created) == 1
    assert not second.created & first.created
    delete_created(noting, first.created | second.created)
    delete_created(noting, first.created)
    assert noting.all_instances() == []
    assert take_sightings(noting) == (frozenset(), frozenset())


def test_a_call_that_fails_was_not_seen(places: dict[str, Path]) -> None:
    """A second instance of an identifier, and a step of none, are refused and leave no sighting."""
    manager = spex.SimpleInstanceManager(**places, learning_mode=True)  # type: ignore[arg-type]
    manager.notes_sightings = True
    with manager:
        manager.init_instance(Door, 1)
        take_sightings(manager)
        assert isinstance(manager.try_init_instance(Door, 1), spex.IdentifierInUse)
        assert isinstance(manager.try_transition(2, "open", "opened"), spex.InstanceNotFound)
        assert take_sightings(manager) == (frozenset(), frozenset())


def test_a_manager_that_was_not_told_notes_nothing(places: dict[str, Path]) -> None:
    """Programs in production pay nothing."""
    with spex.SimpleInstanceManager(**places, learning_mode=True) as manager:  # type: ignore[arg-type]
        manager.init_instance(Door, 1)
        assert take_sightings(manager) == (frozenset(), frozenset())

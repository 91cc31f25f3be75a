"""What the clients of histories record of calls that end in an error, and when they use another manager."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

import spex_shards as spex
from tests.programs.histories.clients import ROLES, Board, Client
from tests.programs.histories.history import Outcome
from tests.support.processes import wait_until

UNKNOWN = spex.CallTimeout("too late", maybe_executed=True)
NOT_SENT = spex.CallTimeout("no room", maybe_executed=False)
REFUSED = spex.StoreError("the disk is full")
DOWN = spex.ShardDown("gone", maybe_executed=True)


class Scripted:
    """A manager whose calls end as they are told to; a call without an order succeeds."""

    def __init__(self, ends: dict[str, list[Any]]) -> None:
        self._ends = ends
        self.closed = False

    def _call(self, name: str) -> None:
        ends = self._ends.get(name)
        end = ends.pop(0) if ends else None
        if end is not None:
            raise end

    def transition(self, *_: Any) -> None:
        self._call("transition")

    def transition_nowait(self, *_: Any) -> None:
        self._call("post")

    def transition_many(self, transitions: Iterable[Any]) -> None:
        list(transitions)
        self._call("many")

    def flush(self, _within: float) -> None:
        self._call("flush")

    def close(self) -> None:
        self.closed = True


class Place:
    """A deployment of scripted managers.

    Attributes:
        managers: Those that clients were given.
        where: What `place` returns.
    """

    def __init__(self, **ends: list[Any]) -> None:
        self._ends = ends
        self.managers: list[Scripted] = []
        self.where = 0

    def connect(self) -> Scripted:
        self.managers.append(Scripted(self._ends))
        return self.managers[-1]

    def place(self) -> int:
        return self.where


def client_of(role: str, place: Place, together: bool = False) -> Client:
    """Return a client that is connected; a pipelined one posts, or sends many together."""
    board = Board()
    board.instances = ("it",)
    client = ROLES[role](place, board, "c", "seed")
    client._random.random = lambda: 0.0 if together else 1.0  # type: ignore[method-assign]
    assert client._connected()
    return client


def outcomes(client: Client) -> list[Outcome]:
    """Return what became of the writes."""
    return [write.outcome for write in client.writes]


@pytest.mark.parametrize(
    ("error", "outcome", "goes"),
    [
        (None, Outcome.ACKNOWLEDGED, False),
        (UNKNOWN, Outcome.UNKNOWN, False),
        (NOT_SENT, Outcome.REFUSED, False),
        (REFUSED, Outcome.REFUSED, False),
        (DOWN, Outcome.UNKNOWN, True),
        (spex.ShardFailed("given up", maybe_executed=False), Outcome.REFUSED, True),
        (ConnectionResetError(), Outcome.UNKNOWN, True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_a_write_has_the_outcome_that_its_error_tells(error: Any, outcome: Outcome, goes: bool) -> None:
    """A client whose shard is down uses another manager, and begins another session."""
    place = Place(transition=[error])
    client = client_of("w", place)
    client.turn()
    client._connected()
    client.turn()
    assert outcomes(client) == [outcome, Outcome.ACKNOWLEDGED]
    assert [write.session for write in client.writes] == [1, 1 + goes]
    assert all(write.completed < float("inf") for write in client.writes if write.outcome is not Outcome.UNKNOWN)


def test_posts_are_acknowledged_by_a_flush_and_stay_open_until_then() -> None:
    """A flush that takes too long decides nothing, while the same place serves."""
    place = Place(flush=[UNKNOWN, None])
    client = client_of("p", place)
    client.turn()
    assert outcomes(client) == []
    client.turn()
    assert set(outcomes(client)) == {Outcome.ACKNOWLEDGED}
    assert len(client.writes) > 100


def posts_after(end: Callable[[Place, Client], Any], **ends: list[Any]) -> set[Outcome]:
    """Return the outcomes of posts that were open when something happened."""
    place = Place(**ends)
    client = client_of("p", place)
    client.turn()
    end(place, client)
    return set(outcomes(client))


def test_posts_are_unknown_if_a_flush_reports_errors_or_another_place_serves() -> None:
    """The errors do not say which posts they are of."""

    def moved(place: Place, client: Client) -> None:
        place.where = 1
        client._connected()

    assert posts_after(lambda *_: None, flush=[ExceptionGroup("two", [REFUSED, DOWN])]) == {Outcome.UNKNOWN}
    assert posts_after(moved, flush=[UNKNOWN]) == {Outcome.UNKNOWN}


def test_a_post_that_had_no_room_is_refused_and_those_before_it_are_not() -> None:
    """It was not sent."""
    client = client_of("p", Place(post=[None, None, NOT_SENT]))
    client.turn()
    assert sorted(outcomes(client), key=str) == [Outcome.ACKNOWLEDGED, Outcome.ACKNOWLEDGED, Outcome.REFUSED]


def test_observations_that_are_sent_together_are_unknown_if_one_of_them_failed() -> None:
    """All are acknowledged if none has."""
    client = client_of("p", Place(many=[ExceptionGroup("one", [UNKNOWN]), None]), together=True)
    client.turn()
    assert set(outcomes(client)) == {Outcome.UNKNOWN}
    client.writes.clear()
    client.turn()
    assert set(outcomes(client)) == {Outcome.ACKNOWLEDGED}


def test_managers_that_are_left_are_closed_only_when_the_client_settles() -> None:
    """What was sent through them must have its chance to be applied late."""
    place = Place(transition=[DOWN])
    client = client_of("w", place)
    client.turn()
    client._connected()
    assert [manager.closed for manager in place.managers] == [False, False]
    client._settle()
    wait_until(lambda: [manager.closed for manager in place.managers] == [True, False], "the manager is closed")
    assert client.ended == 1

"""The conditions that a simulated machine must meet when all its activity has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .client import SimClient
from .reference import State, cuts
from .specs import Noisy

if TYPE_CHECKING:
    from .world import World


def check(world: World) -> None:
    """Compare the stored data with what was requested: kept, applied once and in order, timers reported once."""
    engine = world.worker._service.engine
    found = {item[2][1]: tuple((a, s) for _, a, s in item[2][4]) for item in engine.page(None, None, 10**6)[0]}
    states = {key: State(True, history) for key, history in found.items()}
    everybody = world.clients + world.dead
    for client in everybody:
        check_client(world, client, states)
    issued = {one.key: one for client in everybody for one in client.instances}
    assert found.keys() <= issued.keys(), "instances that nobody made"
    world.counts["not kept"] = sum(client.refused for client in everybody)
    check_farewells(world)
    check_timers(world, found, issued)
    check_model(world, found, issued)


def check_client(world: World, client: SimClient, states: dict[bytes, State]) -> None:
    """Compare the instances of one client with the answers that it got."""
    ends = [(one, states.get(one.key, State())) for one in client.instances]
    if client.alive:
        for one, state in ends:
            assert one.state == state, f"instance {one.identifier} is {state}, not {one.state}"
            one.settled()
        client.read_rest()
        assert client.messages == client.sent, "messages were lost, doubled or out of order"
        return
    full_at = world.disk.full_at
    possible = cuts(client.instances, client.session.acknowledged)
    assert any(all(one.may_be(state, upto, full_at=full_at) for one, state in ends) for upto in possible), (
        f"what was left behind is nothing that can be: "
        f"{[(one.identifier, state, one.state, one.unanswered) for one, state in ends if state != one.state]}"
    )


def check_farewells(world: World) -> None:
    """Check that clients whose farewell the current worker has read have no rows, and that no answer lacks a client."""
    batch = world.worker._batch
    remembered = {key for key, _ in batch.range("clients", b"")}
    answered = {key[:16] for key, _ in batch.range("answers", b"")}
    assert answered <= remembered, "answers are remembered of clients that are not"
    present = world.policy.generation
    # If a farewell lies behind other bytes that were never read, it is not read either: the client expires after a day.
    gone = {client for client, pipe, generation in world.farewells if generation == present and not pipe.data}
    assert not gone & remembered, "a client is remembered that has said its farewell"


def check_timers(world: World, stored: Any, issued: Any) -> None:
    """Check that each newest entry is reported at most once, and exactly once if it still is the newest."""
    texts = [record[2] for record in world.reports.values()]
    seen: list[tuple[str, str]] = []
    for text in texts:
        if "has been in state" in text:
            name = text.split(" of simulation.Timed")[0].removeprefix("instance ").split("] ")[-1]
            seen.append((name.removeprefix("instance "), text.split("has been in state ")[1].split("'")[1]))
    fresh = [one for one in seen if one[1] != "start"]
    assert len(fresh) == len(set(fresh)), f"a timeout was reported twice: {seen}"
    for key, history in stored.items():
        one = issued[key]
        if one.specification.name == "simulation.Timed" and history:
            assert (repr(one.identifier), history[-1][1]) in seen, f"a timeout was not reported: {one.identifier}"


def check_model(world: World, stored: Any, issued: Any) -> None:
    """Check that the learned models have what the histories show, and nothing that was never observed."""
    learned = {m.specification: m.transitions for m in world.worker._service.engine.impl_models()}
    refused = {target for one in issued.values() for target in one.refused if target}
    assert refused.isdisjoint(t.target for known in learned.values() for t in known), "what was refused is learned"
    for key, history in stored.items():
        source = None
        if issued[key].specification is Noisy or not history or history[0][0] != "__initialisation__":
            continue
        for action, state in history:
            assert (source, action, state) in learned[issued[key].specification.name], "what was learned is lost"
            source = state

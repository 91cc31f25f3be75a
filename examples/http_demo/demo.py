"""The demo from start to end."""

import socket
import sys
import tempfile
import time
from pathlib import Path

import spex_shards as spex

from .endpoint import Tally
from .processes import CONTEXT, kill_shards, start
from .report import diagram, differences
from .specification import INITIAL_STATE, HttpConnection

SHARDS, SERVERS, CLIENTS = 4, 2, 2
KILLS, PAUSE = 12, 0.4


def main() -> int:
    """Run the demo; return 0 when nothing was lost and the model is equivalent to the specification."""
    with tempfile.TemporaryDirectory(prefix="spex-demo-") as folder:
        return run(Path(folder))


def run(folder: Path) -> int:
    """Run the demo with its data in `folder`."""
    print(f"{CLIENTS} client and {SERVERS} server processes, {SHARDS} shards, {KILLS} times SIGKILL …", flush=True)
    with spex.ShardedInstanceManager(
        distribution_factor=SHARDS,
        data_dir=folder / "data",
        impl_models_dir=folder / "models",
        learning_mode=True,
        max_restarts=KILLS,  # every kill may hit the same shard
        call_timeout=30.0,
    ) as manager:
        started = time.monotonic()
        tally, killed = observe(manager)
        seconds = time.monotonic() - started
        restarts = sum(shard.restarts for shard in manager.shards())
        lost = differences(tally, manager.all_instances(HttpConnection))
        (model,) = (model for model in manager.all_impl_models() if model.specification == HttpConnection.name)

    equivalent = show(model)
    print(f"\nobservations  {sum(map(len, tally.values()))} of {len(tally)} ends of connections, in {seconds:.1f} s")
    print(f"killed        {len(killed)} times a shard, with SIGKILL: {', '.join(map(str, killed))}")
    print(f"restarts      {restarts}")
    print(f"lost          {len(lost) or 'nothing: every history is exactly what its process has counted'}")
    for line in lost[:10]:
        print(f"              {line}")
    print(f"verdict       {'' if equivalent else 'NOT '}branching bisimilar to the specification")
    return 0 if equivalent and not lost else 1


def observe(manager: spex.ShardedInstanceManager) -> tuple[Tally, list[int]]:
    """Run the processes while shards are killed; return the tallies of all processes, and the shards that were hit."""
    stop = CONTEXT.Event()
    listener, servers, clients = start(manager, SERVERS, CLIENTS, stop)
    try:
        killed = kill_shards(manager, KILLS, PAUSE)
    finally:
        stop.set()
    tally: Tally = {}
    for client in clients:
        tally |= client.result()
    listener.shutdown(socket.SHUT_RDWR)  # wakes the servers' threads; by now every connection is closed
    for server in servers:
        tally |= server.result()
    return tally, killed


def show(model: spex.ImplModel) -> bool:
    """Print the model and its specification; return whether they are equivalent."""
    learned = [(t.source, t.action, t.target) for t in model.transitions if t.source is not None]
    declared = list(HttpConnection.transitions)
    for title, transitions, initial in (
        ("learned: the states of client/server, as h11 reports them", learned, INITIAL_STATE),
        ("specified", declared, HttpConnection.initial_state),
    ):
        states = {state for source, _, target in transitions for state in (source, target)}
        print(f"\n{title} ({len(states)} states, {len(transitions)} transitions; τ is internal)\n")
        print(diagram(transitions, initial))
    return spex.check(model, HttpConnection).equivalent


if __name__ == "__main__":
    sys.exit(main())

"""The director: the actor that starts the shards of a cluster, spreads them over its machines, and moves them.

It decides nothing that safety rests on. Which process owns a shard is decided by the database alone: whoever has
claimed it last. So the director may be gone, be started again, or act on an old picture; the worst that follows is that
a shard is claimed once more.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Collection
from typing import Any, Final

from ...errors import ShardDown, words
from ...log_fields import about
from ..shard_info import ShardStatus
from .partition import Partition
from .session import RAY_NAMESPACE, actor_name, actors_of, answer, director_name, imported, note, noted

_START_WITHIN: Final = 60.0
_BALANCE_EVERY: Final = 5.0
_MOST_APART: Final = 1
"""By how many shards two machines may differ before one is moved."""
_OF_ACTORS: Final = ("member", "num_cpus", "resources")
_LEFT_ALONE: Final = 300.0
"""Seconds in which no shard is moved, to spread them, to a machine on which one could not be started."""
logger = logging.getLogger("spex_shards")


class Director:
    """Starts and moves the shards of one namespace.

    Args:
        name: The name of the database's namespace.
        shards: The number of shards.
        made: How shards are run: `member`, what makes the member that runs one, as ``module:name``; `num_cpus` and
            `resources`, what its actor needs of Ray; and the member's arguments, among them `token`.
    """

    def __init__(self, name: str, shards: int, made: dict[str, Any]) -> None:
        self._ray = imported()
        self._name, self._shards = name, shards
        self._changing = threading.RLock()
        self._unfit_until: dict[str, float] = {}
        known = noted(self._ray, director_name(name)) or [False, [], made]  # Ray has started it anew
        self._is_up: bool = known[0]
        self._drained: set[str] = set(known[1])
        self._made: dict[str, Any] = known[2]
        threading.Thread(target=self._balance, name="spex-shards-director", daemon=True).start()

    def token(self) -> bytes:
        """Return the secret that the gates ask for."""
        return str(self._made["token"]).encode()

    def adopt(self, made: dict[str, Any], typed: list[str]) -> list[str]:
        """Run shards otherwise from now on, if none runs; return the typed values that running ones do not have.

        Args:
            made: As for the director.
            typed: The names of those that somebody has asked for; the others are defaults, and change nothing.
        """
        with self._changing:
            if self._all_actors():
                return [name for name in typed if self._made.get(name) != made[name]]
            self._made = made
            self._note()
            return []

    def up(self) -> list[str]:
        """Start the shards that have no actor; return the addresses of all when they are ready.

        A shard that was claimed by a process which Ray does not know is taken back.

        Raises:
            DataDirError: One could not be started; names it and says why.
        """
        with self._changing:
            counts = self._counts()
            for row in self.status()["shards"]:
                if row["status"] == ShardStatus.MOVED:
                    self._move(row["shard"], min(counts, key=lambda node: counts[node]))
            actors = self._actors()
            for shard in range(self._shards):
                if shard not in actors:
                    node = min(counts, key=lambda node: counts[node])
                    counts[node] += 1
                    actors[shard] = self._start(shard, node)
        waiting = [actor.ready.remote(_START_WITHIN) for actor in actors.values()]
        found = [answer(self._ray, one, _START_WITHIN + 10) for one in waiting]
        self._is_up = True
        self._note()
        return found

    def status(self) -> dict[str, Any]:
        """Return the shards' rows, and the machines with what is known of each."""
        asked = [(shard, actor.info.remote()) for shard, actor in sorted(self._actors().items())]
        rows = []
        for shard, question in asked:
            try:
                rows.append(answer(self._ray, question, 2.0))
            except ShardDown as error:
                rows.append({"shard": shard, "node": None, "address": None, "status": "RESTARTING", "pid": None,
                             "why": str(error).splitlines()[0]})  # fmt: skip
        nodes = [
            {
                "node": node["NodeID"], "host": node["NodeManagerAddress"], "alive": node["Alive"],
                "drained": node["NodeID"] in self._drained,
                "shards": [row["shard"] for row in rows if row["node"] == node["NodeID"]],
            }
            for node in self._ray.nodes()
        ]  # fmt: skip
        return {"namespace": self._name, "partitions": self._shards, "shards": rows, "nodes": nodes}

    def drain(self, node: str) -> list[int]:
        """Move all shards away from a machine, and place none there any more; return which were moved.

        Args:
            node: Its id, or its address.

        Raises:
            ShardDown: There is no such machine, or no other one.
        """
        found = self._living(node)
        with self._changing:
            self._drained |= set(found)
            if not self._usable():
                self._drained -= set(found)
                raise ShardDown(f"no machine is left for the shards of {node}", maybe_executed=False)
            self._note()
            return self._leave(found)

    def move(self, shard: int, node: str) -> bool:
        """Move a shard to a machine; return whether it was elsewhere.

        Args:
            shard: The shard.
            node: The machine's id, or its address.

        Raises:
            ShardDown: There is no such shard or no such machine, or the machine is drained.
        """
        found = self._living(node)
        with self._changing:
            if found[0] in self._drained:
                text = f"the machine {node} is drained: have it take shards again first, by spex-shards cluster resume"
                raise ShardDown(text, maybe_executed=False)
            rows = [row for row in self.status()["shards"] if row["shard"] == shard]
            if not rows:
                raise ShardDown(f"the cluster runs no shard {shard}", maybe_executed=False)
            if rows[0]["node"] in found:
                return False
            self._move(shard, found[0])
        return True

    def resume(self, node: str) -> None:
        """Place shards on a drained machine again."""
        with self._changing:
            self._drained -= {one["NodeID"] for one in self._alive() if _is(one, node)}
            self._note()

    def down(self) -> None:
        """Stop all shards, after what has arrived is carried out; their state stays in the database."""
        with self._changing:
            self._is_up = False
            self._drained.clear()
            note(self._ray, director_name(self._name), None)
            actors = [actor for several in self._all_actors().values() for actor in several]
            for stopping in [actor.stop.remote() for actor in actors]:
                try:
                    answer(self._ray, stopping)
                except ShardDown:
                    continue
            for actor in actors:
                self._ray.kill(actor, no_restart=True)

    # ------------------------------------------------------------------ inside

    def _note(self) -> None:
        note(self._ray, director_name(self._name), (self._is_up, sorted(self._drained), self._made))

    def _alive(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _living(self, node: str) -> list[str]:
        """Return the ids of the living machines that an id or address means.

        Raises:
            ShardDown: There is none.
        """
        found = [one["NodeID"] for one in self._alive() if _is(one, node)]
        if not found:
            raise ShardDown(f"the cluster has no living machine {node}", maybe_executed=False)
        return found

    def _usable(self) -> list[str]:
        """Return the machines that shards may be placed on: not drained, and with what a shard needs."""
        needed = {"CPU": self._made["num_cpus"], **self._made["resources"]}
        return [
            node["NodeID"]
            for node in self._alive()
            if node["NodeID"] not in self._drained
            and all(node["Resources"].get(name, 0) >= amount for name, amount in needed.items())
        ]

    def _actors(self) -> dict[int, Any]:
        """Return the actor of each shard that has one: the youngest, if a move has not ended yet."""
        return {shard: actors[-1] for shard, actors in self._all_actors().items()}

    def _all_actors(self) -> dict[int, list[Any]]:
        """Return the actors of each shard that has any, the youngest last."""
        found: dict[int, list[Any]] = {}
        for shard, actors in actors_of(self._ray, self._name).items():
            for _, name in actors:
                try:
                    found.setdefault(shard, []).append(self._ray.get_actor(name, namespace=RAY_NAMESPACE))
                except ValueError:
                    continue  # it has just ended
        return found

    def _start(self, shard: int, node: str) -> Any:
        affinity = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        remote = self._ray.remote(Partition).options(
            num_cpus=self._made["num_cpus"], resources=self._made["resources"],
            name=actor_name(self._name, shard, time.time_ns()), namespace=RAY_NAMESPACE, lifetime="detached",
            max_restarts=-1, max_task_retries=0, max_concurrency=4,
            # Soft: when that machine is gone, Ray starts the actor on another one.
            scheduling_strategy=affinity(node_id=node, soft=True),
        )  # fmt: skip
        options = {name: value for name, value in self._made.items() if name not in _OF_ACTORS}
        return remote.remote(shard, self._made["member"], {**options, "partitions": self._shards}, self._name)

    def _counts(self) -> dict[str, int]:
        """Return how many shards each machine has, of those that may get more.

        Raises:
            ShardDown: There is none.
        """
        counts = Counter(row["node"] for row in self.status()["shards"])
        nodes = {node: counts[node] for node in self._usable()}
        if not nodes:
            text = "the cluster has no living machine that is not drained and has what a shard needs"
            raise ShardDown(text, maybe_executed=False)
        return nodes

    def _move(self, shard: int, node: str) -> None:
        """Have another machine claim a shard, and end the actors that had it; calls wait a moment, and none fails.

        If the shard cannot be started there, it stays where it is.
        """
        before = self._all_actors().get(shard, [])
        new = self._start(shard, node)
        try:
            answer(self._ray, new.ready.remote(_START_WITHIN), _START_WITHIN + 10)
        except BaseException:
            # Else the one that has the shard would take itself for replaced, and others would ask the wrong one.
            self._ray.kill(new, no_restart=True)
            self._unfit_until[node] = time.monotonic() + _LEFT_ALONE
            raise
        for old in before:
            self._ray.kill(old, no_restart=True)

    def _leave(self, machines: Collection[str]) -> list[int]:
        """Move all shards away from some machines; return which were there.

        A shard that a process has which Ray does not know is left to it.
        """
        moved = [row["shard"] for row in self.status()["shards"] if _is_run_on(row, machines)]
        counts = self._counts()
        for shard in moved:
            emptiest = min(counts, key=lambda node: counts[node])
            counts[emptiest] += 1
            self._move(shard, emptiest)
        return moved

    def _balance(self) -> None:
        """Move one shard at a time from the fullest to the emptiest machine, as when one has joined."""
        while True:
            time.sleep(_BALANCE_EVERY)
            try:
                with self._changing:
                    if self._is_up:
                        self._balance_once()
            except Exception as error:  # whatever the cluster's state is: the next attempt has another one
                logger.warning("the shards could not be spread: %s", words(error), extra=about("not_spread"))

    def _balance_once(self) -> None:
        rows = [row for row in self.status()["shards"] if row["node"]]
        now = time.monotonic()
        nodes = [node for node in self._usable() if self._unfit_until.get(node, now) <= now]
        if len(rows) < self._shards or not nodes:
            return
        if any(_is_run_on(row, self._drained) for row in rows):  # Ray has started an actor again there
            self._leave(self._drained)
            return
        counts = Counter(dict.fromkeys(nodes, 0))
        counts.update(row["node"] for row in rows)
        fullest, emptiest = max(counts, key=lambda n: counts[n]), min(nodes, key=lambda n: counts[n])
        if counts[fullest] - counts[emptiest] > _MOST_APART:
            for shard in [row["shard"] for row in rows if _is_run_on(row, [fullest])][:1]:
                self._move(shard, emptiest)


def _is_run_on(row: dict[str, Any], machines: Collection[str]) -> bool:
    return row["node"] in machines and row["status"] != ShardStatus.MOVED


def _is(row: dict[str, Any], node: str) -> bool:
    return node in (row["NodeID"], row["NodeManagerAddress"])


def started(ray: Any, name: str, shards: int, made: dict[str, Any]) -> Any:
    """Return the director of a namespace, started if there is none yet."""
    remote = ray.remote(Director).options(
        name=director_name(name), namespace=RAY_NAMESPACE, lifetime="detached", get_if_exists=True, num_cpus=0,
        max_restarts=-1, max_concurrency=8,
    )  # fmt: skip
    return remote.remote(name, shards, made)

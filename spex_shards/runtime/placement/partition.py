"""The actor that runs one shard: a thin parent of a supervisor, which dies with it.

A process of Ray's has threads, and must not fork. So the actor starts a supervisor, as a manager does, and the
supervisor forks the worker: a request that kills workers, and one that hangs, are treated as on one machine.
"""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

from ...errors import DataDirError, ShardDown, SpexError, words
from ..shard_info import ShardStatus
from .session import RAY_NAMESPACE, actors_of, answer, imported

_AGAIN: Final = 0.5
_LOOK_EVERY: Final = 1.0
_KILLED_WITHIN: Final = 10.0
_SAID_WITHIN: Final = 5.0
logger = logging.getLogger("spex_shards")


class Partition:
    """Runs one shard of a cluster.

    It starts on a thread of its own and tries until that succeeds: Ray does not start an actor again whose constructor
    has raised, and a database that cannot be reached now may be there a second later.

    Args:
        shard: The shard.
        member: What makes the member that runs it, as ``module:name``: a class or a function.
        options: Its arguments, but `hosts`, `listen` and `data_dir`.
        name: The name of the database's namespace.
    """

    def __init__(self, shard: int, member: str, options: dict[str, Any], name: str) -> None:
        self._shard, self._options, self._name = shard, options, name
        module, _, made_by = member.partition(":")
        self._make = getattr(importlib.import_module(module), made_by)
        self._ray = imported()
        self._address = self._ray.util.get_node_ip_address()
        self._member: Any = None
        self._why = ""
        self._ready = threading.Event()
        self._stopping = threading.Event()
        threading.Thread(target=self._run, name="spex-shards-partition", daemon=True).start()

    def ready(self, within: float) -> str:
        """Wait until the shard is claimed; return the address of its gate.

        Raises:
            DataDirError: It could not be claimed in time; the text says why.
        """
        if not self._ready.wait(within):
            raise DataDirError(f"shard {self._shard} could not be started within {within:g} s: {self._why}")
        return str(self._member.address)

    def info(self) -> dict[str, Any]:
        """Return where the shard runs, and how it is."""
        member = self._member
        rows = [] if member is None or not self._ready.is_set() else member.shards()
        return {
            "shard": self._shard,
            "node": self._ray.get_runtime_context().get_node_id(),
            "address": None if not rows else str(member.address),
            "status": str(rows[0].status.value) if rows else ShardStatus.STARTING.value,
            "pid": rows[0].pid if rows else None,
            "why": self._why or None,
        }

    def stop(self) -> None:
        """Stop the shard, after what has arrived is carried out."""
        self._stopping.set()
        member, self._member = self._member, None
        if member is not None:
            member.close()
            shutil.rmtree(member.data_dir, ignore_errors=True)

    def _run(self) -> None:
        if self._is_superseded():
            self._end_for_good()
        while not self._stopping.is_set():
            folder = scratch(f"{self._name}-{self._shard}")
            try:
                member = self._make(**self._options, hosts=[self._shard], listen=f"{self._address}:0", data_dir=folder)
                member.start()
            except Exception as error:  # also what is wrong with the application's modules on this machine
                self._why = words(error)
                logger.warning("shard %d cannot be started yet: %s", self._shard, error)
                shutil.rmtree(folder, ignore_errors=True)
                time.sleep(_AGAIN)
                continue
            self._member, self._why = member, ""
            self._ready.set()
            self._watch(member)
            return

    def _watch(self, member: Any) -> None:
        """End the process when another one has the shard because this one was taken for dead, or is being moved.

        Whoever else has claimed the shard was told to by somebody, and keeps it until the director says otherwise.
        """
        while not self._stopping.wait(_LOOK_EVERY):
            try:
                moved = any(shard.status is ShardStatus.MOVED for shard in member.shards())
            except SpexError:
                continue  # its supervisor is being replaced
            if not moved:
                continue
            superseded = self._is_superseded()
            if not superseded and self._is_current(member):
                self._why = "another process has claimed the shard, which Ray does not know"
                continue
            member.close()
            shutil.rmtree(member.data_dir, ignore_errors=True)
            if superseded:
                self._end_for_good()
            os._exit(0)

    def _is_current(self, member: Any) -> bool:
        """Return whether Ray takes this process for the actor, or cannot say; else it has started the actor again."""
        try:
            actor = self._ray.get_actor(self._ray.get_runtime_context().get_actor_name(), namespace=RAY_NAMESPACE)
            found = answer(self._ray, actor.info.remote(), _SAID_WITHIN)
        except (ShardDown, ValueError):
            return True
        return bool(found["address"] == str(member.address))

    def _is_superseded(self) -> bool:
        """Return whether the shard has a younger actor, because it was moved.

        This one may have ended before the director could end it. Ray starts it again then, and it would take the shard
        back.
        """
        own = int(self._ray.get_runtime_context().get_actor_name().rpartition("/")[2])
        try:
            return any(number > own for number, _ in actors_of(self._ray, self._name).get(self._shard, ()))
        except Exception as error:  # Ray's head cannot say: the database decides, as ever
            logger.warning("the actors of shard %d are not known: %s", self._shard, error)
            return False

    def _end_for_good(self) -> None:
        """End this process, and do not have it started again."""
        self._ray.kill(self._ray.get_runtime_context().current_actor, no_restart=True)
        time.sleep(_KILLED_WITHIN)
        os._exit(0)


def scratch(name: str) -> Path:
    """Return a new folder of this user for a supervisor's socket and lock; remove those of processes that are gone."""
    base = Path(tempfile.gettempdir()) / f"spex-shards-{os.getuid()}"
    base.mkdir(mode=0o700, exist_ok=True)
    if base.stat().st_uid != os.getuid():
        raise DataDirError(f"the folder belongs to another user: {base}", path=str(base))
    for folder in base.glob(f"{name}-*"):
        pid = folder.name.rpartition("-")[2]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)
    place = base / f"{name}-{os.getpid()}"
    shutil.rmtree(place, ignore_errors=True)
    return place

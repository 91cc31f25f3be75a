"""The supervisor's loop.

::

    owner ──socket──▶ config, stop            ┌── fork ──▶ worker 0 ── pidfd, control socket ──┐
    owner ──pidfd───▶ its death               ├── fork ──▶ worker 1 ── …                       │
    clients ─attach─▶ open, status            └── …                                            │
        ◀── channel ends, deaths, failures ──────── one epoll over all of them ◀───────────────┘
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import time
from contextlib import suppress
from functools import partial
from importlib import import_module
from math import inf
from pathlib import Path
from typing import Final

from ..data_dir import DataDir, OwnerLock, process_state
from ..holder import Role
from ..protocol import control as say
from ..protocol.config import SupervisorConfig
from ..protocol.records import error_of
from ..protocol.requests import OLDEST_PROTOCOL, PROTOCOL_VERSION
from ..protocol.session import frame
from ..protocol.wire import receive_message, send_message
from ..service import Host
from ..shard_info import ShardStatus
from ..store.opening import stores_of
from ..system.hang import HangWatch
from ..system.waits import capped
from ..worker.shard_page import ShardPage
from ..worker.suspects import Suspects
from .attach import Door, Guest, NoCommonVersion, agree, connect
from .being_worker import Means, be_worker
from .elsewhere import read_elsewhere
from .policy import ShardPolicy
from .process import Forker, WorkerProcess
from .restart import LONGEST_RETRY, BackOff, RestartIntensity
from .stopping import stop_workers
from .suspect_file import keep_suspects, read_suspects

_TRY_AGAIN: Final = 0.02
_AFTER_OWNER: Final = 0.8
"""Seconds that workers get to drain after the owner's death: everything must have ended within two seconds."""


class Supervisor:
    """Starts and watches the workers of one data directory.

    Args:
        config: The options.
        owner: The socket to the owner.

    Raises:
        DataDirError: The directory is locked, damaged, has another layout, or cannot be used.
        ImplModelError: There are two model files for one specification.
        EOFError: The owner has died meanwhile.
    """

    def __init__(self, config: SupervisorConfig, owner: socket.socket) -> None:
        self._config = config
        self._owner = owner
        self._owner_pid = os.getppid()
        self._owner_pidfd = os.pidfd_open(self._owner_pid) if config.embedded else -1
        if config.embedded and os.getppid() != self._owner_pid:
            raise EOFError
        self._directory = DataDir(Path(config.data_dir))
        self._stores = stores_of(self._directory, config.store, config.durability, config.joins)
        self._directory.make()
        role = Role.SERVER if config.serves else Role.SHARDS
        self._lock = OwnerLock(self._directory, role=role, application=self._owner_pid)
        if config.lock >= 0:
            self._lock.inherit(config.lock)
        else:
            self._lock.acquire(watched=[owner.fileno(), *([self._owner_pidfd] if config.embedded else [])])
        self._warnings = self._stores.begin(config.shards, resumes=config.resumes)
        self._forker = Forker([self._lock.descriptor, self._owner_pidfd], self)
        self._host = self._prepare()
        self._door = Door(self._directory.socket)
        self._shards = {
            index: ShardPolicy(
                index,
                RestartIntensity(config.max_restarts, config.max_seconds),
                suspects=read_suspects(self._directory.shard(index)),
                hang=HangWatch(config.hang_timeout),
                retry=BackOff(config.retry_failed, LONGEST_RETRY),
                claim=config.claim,
            )
            for index in (range(config.shards) if config.hosts is None else sorted(config.hosts))
        }
        self._workers: dict[int, WorkerProcess] = {}
        self._pages = {index: ShardPage() for index in self._shards}
        self._epoll = select.epoll()
        self._stopping: float | None = None
        self._door_at: float | None = None
        self._announced = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        gc.collect()
        gc.set_threshold(20_000, 20, 20)  # for the workers: rows are short-lived and form no cycles
        gc.freeze()  # a worker's collector must not touch, and so copy, the memory pages it shares with this process

    def _prepare(self) -> Host:
        """Create the host: once and before any fork, so that a worker starts within milliseconds."""
        module, name = self._config.host.split(":")
        prepare = getattr(import_module(module), name)
        read = partial(read_elsewhere, self._forker, self._stores, range(self._config.shards))
        host: Host = prepare(self._config.host_options, read)
        return host

    def run(self) -> None:
        """Supervise until this process is told to stop, or until the owner is gone."""
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write)
        for descriptor in (self._owner.fileno(), self._door.fileno(), self._wake_read, self._owner_pidfd):
            if descriptor >= 0:
                self._epoll.register(descriptor, select.EPOLLIN)
        while self._stopping is None:
            self._start_due()
            self._serve_opens()
            self._announce_start()
            for descriptor, _ in self._epoll.poll(capped(self._timeout())):
                self._ready(descriptor)
        self._lock.note_end()
        abnormal = stop_workers(self._workers, self._stopping, lambda index, how: self._shards[index].stopped(how))
        self._door.tell_all(say.Status([list(shard.info()) for shard in self._shards.values()]))
        self._door.close()
        if os.getppid() == self._owner_pid:  # else this process is to end soon, and a database may not answer
            self._stores.leave()
        with suppress(OSError):
            self._owner.sendall(frame(say.TO_OWNER.plain(say.Stopped(abnormal))))

    # ------------------------------------------------------------------ events

    def _timeout(self) -> float:
        now = time.monotonic()
        times = [
            t
            for shard in self._shards.values()
            for t in (shard.start_at, shard.give_up_at, shard.hang.next_look, self._door_at)
            if t is not None
        ]
        wait = max(0.0, min(times) - now) if times else inf
        ready = {index for index, shard in self._shards.items() if shard.status is ShardStatus.READY}
        if any(not ready.isdisjoint(client.wanted) for client in self._clients()):
            return min(wait, _TRY_AGAIN)
        return wait

    def _clients(self) -> list[Guest]:
        return list(self._door.clients.values())

    def _ready(self, descriptor: int) -> None:
        client = self._door.clients.get(descriptor)
        if client is not None:
            self._hear(client)
        elif descriptor == self._door.fileno():
            guest = self._door.let_in()
            if guest is not None:
                self._epoll.register(guest.connection, select.EPOLLIN)
            elif self._door.full:  # the waiting client would wake this loop again and again: pause the listening
                self._epoll.unregister(self._door)
                self._door_at = time.monotonic() + _TRY_AGAIN
        elif descriptor == self._owner.fileno():
            self._hear_owner()
        elif descriptor == self._owner_pidfd:
            self._stopping = _AFTER_OWNER
        elif descriptor == self._wake_read:
            if signal.SIGTERM in os.read(self._wake_read, 512):
                self._stopping = self._config.shutdown_timeout
            self._reap_adopted()
        else:
            self._worker_event(descriptor)

    def _hear_owner(self) -> None:
        try:
            order = self._owner.recv(4096)
        except ConnectionError:
            order = b""
        # The owner sends only "stop". An end of file means that it has died or has closed its socket.
        self._stopping = self._config.shutdown_timeout if order else _AFTER_OWNER

    def _hear(self, client: Guest) -> None:
        try:
            message = self._door.listen_to(client)
            if message is not None:
                self._answer(client, message)
        except NoCommonVersion:
            client.tell(say.Refused(OLDEST_PROTOCOL, PROTOCOL_VERSION))
            self._door.show_out(client)
        except EOFError:
            self._door.show_out(client)

    def _answer(self, client: Guest, message: say.Message) -> None:
        shards = self._shards
        match message:
            case say.Attach() if not client.client_id:
                version = agree(message)
                client.client_id = message.client_id
                client.tell(say.Attached(self._config.shards, os.getpid(), version, self._config.max_frame_bytes))
            case say.Open(index) if client.client_id and index in shards:
                client.wanted.add(index)
            case say.Open(index) if client.client_id and self._config.hosts is not None:
                client.tell(say.Moved(index, "this supervisor does not run it"))
            case say.Revive(index) if client.client_id and index in shards:
                shards[index].revive(time.monotonic())
                client.tell(say.Revived(index))
            case say.AskStatus() if client.client_id:
                client.tell(say.Status([list(shard.info()) for shard in shards.values()]))
            case _:
                raise EOFError

    def _worker_event(self, descriptor: int) -> None:
        for index, worker in list(self._workers.items()):
            if descriptor == worker.control.fileno():
                self._hear_worker(index, worker)
            elif descriptor == worker.pidfd:
                self._bury(index, worker)

    def _reap_adopted(self) -> None:
        """Reap the helper processes that dead workers left behind; `_bury` reaps the workers themselves."""
        mine = {worker.pid for worker in self._workers.values()}
        with suppress(ChildProcessError):
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if ended.si_pid in mine:
                    break  # `waitid` would return this worker again; `_bury` reaps it and calls this function again
                os.waitpid(ended.si_pid, os.WNOHANG)

    def _hear_worker(self, index: int, worker: WorkerProcess) -> bool:
        """Handle one message of a worker; return whether there was one."""
        try:
            received = receive_message(worker.control)
            if received is None:
                return False
            plain, descriptors = received
            for descriptor in descriptors:
                os.close(descriptor)
            message = say.OF_WORKER.read(plain)
        except (EOFError, ValueError):  # the worker is gone or sent nonsense: do not listen to it any more
            with suppress(OSError):
                self._epoll.unregister(worker.control)
            return False
        self._take_word(index, worker, message)
        return True

    def _take_word(self, index: int, worker: WorkerProcess, message: say.Message) -> None:
        shard, now = self._shards[index], time.monotonic()
        match message:
            case say.Ready(claim):
                if shard.ready(now, 0 if self._config.hosts is None else claim):
                    self._door.tell_all(say.Up(index))
            case say.Suspected(plain):
                with suppress(ValueError):
                    shard.suspects.merge(Suspects.of(plain))
            case say.Pong():
                shard.hang.answered(now)
            case say.BootFailed(error):
                shard.cannot_start(str(error_of(error)))
            case say.NotYet(why):
                shard.cannot_start_yet(why)
            case say.Fenced(why) if self._config.hosts is not None:
                shard.fenced(why)
            case say.Dying(why) | say.Fenced(why):
                worker.last_words = why

    def _bury(self, index: int, worker: WorkerProcess) -> None:
        how = worker.reap()
        if how is None:
            return  # it runs: the event belongs to an earlier descriptor with the same number
        with suppress(OSError):
            while self._hear_worker(index, worker):
                pass  # its last messages are still in the socket
        shard = self._shards[index]
        generation, pid = shard.generation, worker.pid
        how = worker.killed_for or (f"{how}: {worker.last_words}" if worker.last_words else how)
        suspect = self._pages[index].take()
        shard.died(how, time.monotonic(), suspect)
        if suspect is not None:
            keep_suspects(self._directory.shard(index), shard.suspects)
        del self._workers[index]
        worker.close(self._epoll)
        self._note_workers()
        self._reap_adopted()
        self._door.tell_all(say.Down(index, generation, pid, shard.last_exit))
        if shard.moved is not None:
            self._door.tell_all(say.Moved(index, shard.moved))

    # ------------------------------------------------------------------ starting

    def _start_due(self) -> None:
        now = time.monotonic()
        if self._door_at is not None and self._door_at <= now:
            self._epoll.register(self._door, select.EPOLLIN)
            self._door_at, self._door.full = None, False
        for shard in self._shards.values():
            if shard.start_at is not None and shard.start_at <= now:
                self._start(shard, now)
            elif shard.give_up_at is not None and shard.give_up_at <= now and shard.pid is not None:
                shard.give_up_at = None
                os.kill(shard.pid, signal.SIGKILL)
            elif shard.hang.next_look is not None and shard.hang.next_look <= now:
                self._look_at(shard, now)

    def _look_at(self, shard: ShardPolicy, now: float) -> None:
        worker = self._workers.get(shard.index)
        if worker is None:
            shard.hang.stop()
            return
        waits = process_state(worker.pid) == "D"
        word = shard.hang.look(now, self._pages[shard.index].counter(), waits_for_disk=waits)
        if word == "ping":
            try:
                send_message(worker.control, say.TO_WORKER.plain(say.Ping()))
            except OSError:
                pass  # it is dying, or does not read: either is noticed without the ping
        elif word == "hung":
            worker.killed_for = (
                f"killed by the supervisor: hung, no progress within hang_timeout={shard.hang.timeout} s"
            )
            os.kill(worker.pid, signal.SIGKILL)

    def _start(self, shard: ShardPolicy, now: float) -> None:
        try:
            means = Means(self._config, self._lock, self._stores, self._host, self._owner_pidfd)
            worker = self._forker.fork(lambda control: be_worker(means, shard, self._pages[shard.index], control))
        except OSError as error:
            shard.not_started(f"no process could be started: {error}", now)
            return
        self._workers[shard.index] = worker
        shard.started(worker.pid, now)
        self._epoll.register(worker.pidfd, select.EPOLLIN)
        self._epoll.register(worker.control, select.EPOLLIN)
        self._note_workers()

    def _note_workers(self) -> None:
        self._lock.note([worker.pid for worker in self._workers.values()])

    def _announce_start(self) -> None:
        if not self._announced and all(shard.settled() for shard in self._shards.values()):
            self._announced = True
            warnings = [*self._warnings, *self._host.warnings]
            warnings += [
                f"shard {shard.index} cannot start: {shard.last_exit}"
                for shard in self._shards.values()
                if shard.status is not ShardStatus.READY
            ]
            self._owner.sendall(frame(say.TO_OWNER.plain(say.Started(warnings))))

    def _serve_opens(self) -> None:
        for client in self._clients():
            for index in list(client.wanted):
                if not self._open(client, index):
                    self._door.show_out(client)
                    break

    def _open(self, client: Guest, index: int) -> bool:
        """Give a client its channel to a shard, or tell it that the shard is given up; return False to disconnect."""
        shard = self._shards[index]
        if shard.status is ShardStatus.FAILED:
            client.wanted.discard(index)
            return client.tell(say.Failed(index, shard.last_pid, shard.last_exit))
        if shard.moved is not None:
            client.wanted.discard(index)
            return client.tell(say.Moved(index, shard.moved))
        worker, now = self._workers.get(index), time.monotonic()
        if shard.status is not ShardStatus.READY or worker is None:
            return True
        # Log records that no request asked for go to the owner first; in a cluster, to a client behind a gate.
        owner = client.pid == self._owner_pid if self._config.hosts is None else index in client.brought
        if now < client.opened.get(index, -1.0) + _TRY_AGAIN:
            return True  # the last channel did not work, for example because the worker has no descriptors left: pause
        try:
            if connect(client, worker.control, index, shard.generation, worker.pid, owner=owner):
                client.wanted.discard(index)
                client.opened[index] = now
        except EOFError:
            return False
        except OSError:
            pass  # the worker is dying, or there are too few descriptors: the loop tries again
        return True

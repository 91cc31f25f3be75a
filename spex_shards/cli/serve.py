"""The command ``serve``: runs shards for many application processes until it is told to stop."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import __version__
from ..errors import ManagerClosed, ShardDown
from ..manager.clustered import ClusterMember
from ..manager.sharded import ShardServer
from ..runtime.shard_info import ShardStatus
from ..web.access import token_from
from .gate_options import (
    AdvertiseOption,
    AuthorityOption,
    CertificateOption,
    GateTokenFileOption,
    HostsOption,
    KeyOption,
    ListenOption,
    ShippedOption,
    member_options,
)
from .health import Health
from .output import UNUSABLE, Output, command
from .overrides import (
    DataDirOption,
    DurabilityOption,
    GraceOption,
    LearnOption,
    ModelsDirOption,
    NamespaceOption,
    ShardsOption,
    StoreOption,
    overridden,
)
from .readiness import Readiness
from .serve_log import LogFormat, ServeLog
from .serve_sites import Sites
from .stopping import StopSignals, Terminated
from .watching import Watch, of_shard

LOOK_EVERY = 1.0
"""Seconds between two looks at the shards."""
GONE_AFTER = 60.0
"""Seconds without an answer of any supervisor after which the server ends: whoever started it may start another."""


def serve(
    data_dir: DataDirOption = None,
    models_dir: ModelsDirOption = None,
    shards: ShardsOption = None,
    durability: DurabilityOption = None,
    store: StoreOption = None,
    namespace: NamespaceOption = None,
    learn: LearnOption = False,
    grace: GraceOption = None,
    log_format: Annotated[
        LogFormat, typer.Option("--log-format", help="How to write the log on stderr.")
    ] = LogFormat.JSON,
    ready_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file that is there exactly while all is ready.")
    ] = None,
    health: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Answer GET /healthz there: a socket's path, or 127.0.0.1:PORT."),
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Answer GET /metrics for Prometheus there: [HOST:]PORT.")
    ] = None,
    console: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Show models and deviations in a browser there: [HOST:]PORT.")
    ] = None,
    token: Annotated[
        str | None, typer.Option(metavar="TOKEN", help="What --metrics and --console ask readers for.")
    ] = None,
    token_file: Annotated[Path | None, typer.Option(metavar="FILE", help="A file that has the token.")] = None,
    listen: ListenOption = None,
    advertise: AdvertiseOption = None,
    hosts: HostsOption = None,
    gate_token_file: GateTokenFileOption = None,
    tls_authority: AuthorityOption = None,
    tls_certificate: CertificateOption = None,
    tls_key: KeyOption = None,
    allow_shipped_code: ShippedOption = False,
) -> None:
    """Serve a data directory to application processes, which attach with ``spex_shards.connect``.

    With --listen, it is a member of a cluster: it runs some of the shards of a store, also for clients on other
    machines (``spex_shards.ClusterInstanceManager``).

    Runs in the foreground. Its log is on stderr, a JSON object a line. SIGTERM and SIGINT stop it, after the requests
    that have arrived are carried out. Exits with 0 when it was stopped, with 2 when it could not start or its
    supervisor could not be kept running, and with 130 when Ctrl-C stopped it before it was ready.
    """
    log = ServeLog(log_format)
    with command(remarks=log) as output:
        options = overridden(data_dir, models_dir, shards, durability, learn, grace, store, namespace)
        tls = tls_authority, tls_certificate, tls_key
        member = member_options(listen, advertise, hosts, gate_token_file, tls, allow_shipped_code)
        if member is not None and (metrics, console) != (None, None):
            raise ValueError("--metrics and --console show all shards, and a member of a cluster runs only some")
        sites = Sites(metrics, console, token_from(token, token_file))
        manager = ShardServer(**options) if member is None else _member(options, member)
        _Server(output, log, manager, ready_file, health, sites).run()


def _member(options: dict[str, Any], member: dict[str, Any]) -> ClusterMember:
    shards = options.pop("distribution_factor", None)
    return ClusterMember(**options, **member, **({} if shards is None else {"partitions": shards}))


class _Server:
    """One run of the command."""

    def __init__(
        self,
        output: Output,
        log: ServeLog,
        manager: ShardServer,
        ready_file: Path | None,
        health: str | None,
        sites: Sites,
    ) -> None:
        self._output = output
        self._log = log
        self._manager = manager
        self._readiness = Readiness(ready_file)
        self._health = None if health is None else Health(health)
        self._sites = sites
        self._stop = StopSignals()
        self._ended = threading.Event()

    def run(self) -> None:
        with self._stop.awaited(), ExitStack() as last:
            if self._health is not None:
                last.callback(self._health.close)
            last.callback(self._sites.close)
            try:
                self._log.say("start", version=__version__, data_dir=str(self._manager.data_dir))
                for site in self._sites.opened(self._manager):
                    self._log.say("listening", **site)
                self._manager.start()
                self._stop.hold()
            except Terminated:
                self._log.say("stopped", message="by SIGTERM, before it was ready")
                return
            try:
                code = self._serve()
            finally:
                self._ended.set()
                self._sites.close()
                self._manager.close()
            self._log.say("stopped")
        if code:
            self._output.fail("the supervisor could not be kept running", code)

    def _serve(self) -> int:
        """Serve until a signal comes, or the supervisor is gone for good; return the exit code."""
        member = self._manager if isinstance(self._manager, ClusterMember) else None
        watch = Watch(self._manager, counts=member is None)
        shards = watch.shards
        if member is not None:
            self._log.say(
                "listening",
                address=str(member.address),
                hosts=member.member.hosted(member.options["distribution_factor"]),
            )
        self._log.say("ready", data_dir=str(self._manager.data_dir), shards=[of_shard(one) for one in shards])
        self._readiness.ready({"data_dir": str(self._manager.data_dir), "shards": len(shards)})
        if self._health is not None:
            self._health.watch(self._state)
        watching = threading.Thread(target=self._look, args=(watch,), name="spex-shards-watch", daemon=True)
        watching.start()
        while not self._stop.wait(LOOK_EVERY) and watching.is_alive():
            pass
        told = self._stop.told
        if self._health is not None:
            self._health.watch(lambda: {"status": "stopping"})
        self._readiness.stopping()
        self._log.say("stopping", signal=None if told is None else signal.Signals(told).name)
        return UNUSABLE if told is None else 0

    def _look(self, watch: Watch) -> None:
        """Log what happens, until the server ends; end earlier if its supervisor is gone for good."""
        silent_since: float | None = None
        while not self._ended.wait(LOOK_EVERY):
            try:
                for change in watch.look():
                    self._log.say(change.event, change.level, **change.facts)
                silent_since = None
            except ManagerClosed:
                return
            except ShardDown:  # it is being replaced, which may take long on a machine with much to do
                silent_since = silent_since or time.monotonic()
                if time.monotonic() - silent_since > GONE_AFTER:
                    return

    def _state(self) -> dict[str, Any]:
        shards = self._manager.shards()
        ready = all(shard.status is ShardStatus.READY for shard in shards)
        return {"status": "ok" if ready else "degraded", "shards": [of_shard(shard) for shard in shards]}

"""Managers beyond one machine: `ClusterInstanceManager` uses shards anywhere, `ClusterMember` runs some here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, Unpack, cast

from ..domain.specification import Specification
from ..messages.host_options import SpexOptions
from ..messages.specifications import describe
from ..runtime.client import ClientOptions
from ..runtime.client.core import Client
from ..runtime.client.opening import MakeClient, owned
from ..runtime.cluster.address import Address
from ..runtime.cluster.member import Member
from ..runtime.cluster.tls import TlsOptions
from ..runtime.clusters import Cluster
from ..runtime.transport import Transport
from .base import InstanceManager
from .options import UNSET, ManagerOptions, ModeOptions, Unset
from .settings import manager_options, options_with_origins
from .sharded import HOST, ShardServer, client_options

_CALL_TIMEOUT: Final = 30.0
"""A call must outlast the time in which a shard is started on another machine."""
_NO_CODE: Final = "allow_shipped_code is False"
_NEEDS_STORE: Final = "a cluster needs the option store: the URL of the PostgreSQL database with the state"


class Clustered(InstanceManager):
    """What the managers of a cluster's clients have in common: where the shards are, and whether code is sent there.

    Attributes:
        cluster: Where the shards are.
        allow_shipped_code: Whether handlers and predicates that the shards cannot import are sent to them as code.
    """

    opens = False
    opens_shards = "ClusterInstanceManager(partitions={})"
    instead = "make another ClusterInstanceManager there"
    cluster: Cluster
    allow_shipped_code: bool

    def reach(self, given: Mapping[str, Any], token: str | None) -> dict[str, Any]:
        """Set where the shards are, and return every option's value; what is not given comes from the environment.

        Raises:
            ValueError: A value breaks its option's rule.
        """
        chosen = options_with_origins(given)
        options = {name: one.value for name, one in chosen.items()}
        if chosen["call_timeout"].origin == "default":
            options["call_timeout"] = _CALL_TIMEOUT
        if options["store"] is None:
            raise ValueError(_NEEDS_STORE)
        self.allow_shipped_code = options["allow_shipped_code"]
        names = ("store", "namespace", "address", "partitions", "token_file", "takeover_timeout", "ping")
        files = {name: options[name] for name in TlsOptions.__annotations__}
        self.cluster = Cluster(**{name: options[name] for name in names}, token=token, tls=cast(TlsOptions, files))
        return options

    def _will_declare(self, cls: type[Specification]) -> None:
        self.check_handler(cls)
        super()._will_declare(cls)

    def check_handler(self, cls: type[Specification]) -> None:
        """Raise `ValueError` if the handler of a class would have to be sent as code, and that is not allowed."""
        if not self.allow_shipped_code and describe(cls)[0].handler.kind == "shipped":
            text = f"the shards cannot import the error handler of {cls.name}, and {_NO_CODE}; put it into a module"
            raise ValueError(f"{text} that every machine has")

    def _predicate(self, predicate: Any) -> Any:
        if not self.allow_shipped_code:
            raise ValueError(f"a predicate is sent to the shards as code, and {_NO_CODE}")
        return super()._predicate(predicate)


class ClusterInstanceManager(Clustered):
    """An instance manager that uses shards which run on other machines, with their state in PostgreSQL.

    It has the same calls as the other managers, and the same guarantees. A shard that moves to another machine is found
    there by itself; what was not answered is sent again, and applied once. See ``docs/cluster.md``. Options that are
    not given, but `token`, come from the environment or pyproject.toml, as for the other managers.

    Args:
        store: The URL of the PostgreSQL database that holds the shards' state.
        namespace: The name of the schema there. Default: the URL's parameter ``namespace``, or "spex_shards".
        address: ``"static"``: members were started by hand, and the database says which has claimed a shard. The path
            of a ``.toml`` file: that says which gate leads to which shards (see ``docs/cluster.md``). ``"auto"``,
            ``"HOST:PORT"`` or ``"ray://HOST:PORT"``: a Ray cluster that runs the shards; the token is asked for there.
            Default ``"static"``.
        partitions: The number of shards; None: whatever the namespace was made for.
        token: The secret that the gates ask for.
        token_file: A file with that secret.
        specifications: Classes or ``"module:Name"``, declared to the shards from the start.
        call_timeout: Seconds that a call waits for its answer. Default 30.
        max_unacknowledged: The most requests without a waiting caller that may be on their way to a shard.
        max_frame_bytes: The most bytes of one request; what the members take may be less.
        spin: Seconds that a call looks for its answer before it sleeps (see docs/performance.md); 0: it sleeps at once.
        takeover_timeout: Seconds that calls wait for a shard that no machine has, before they get `ShardDown`.
            Observations that were sent without waiting are dropped then, with an error. Default 60.
        ping: Seconds after which a shard's machine is asked for a sign of life; without one for twice as long, it is
            left, and the shard is looked for anew. Default 2.
        allow_shipped_code: Whether handlers and predicates that the shards cannot import are sent to them as code.
            Default False: a call that would need that is refused.
        on_message: Called with each message that a handler sends.
        tls: `tls_authority`, `tls_certificate` and `tls_key`: files in PEM format; any of them turns TLS on.
        **modes: `mode`, `observe_timeout`, `sample` and `report_interval`; see `ShardedInstanceManager`.

    Attributes:
        cluster: Where the shards are.

    Raises:
        ValueError: A value breaks its option's rule.
    """

    def __init__(
        self,
        *,
        store: str | Unset = UNSET,
        namespace: str | Unset | None = UNSET,
        address: str | Unset = UNSET,
        partitions: int | Unset | None = UNSET,
        token: str | None = None,
        token_file: str | os.PathLike[str] | Unset | None = UNSET,
        specifications: Iterable[type[Specification] | str] | Unset = UNSET,
        call_timeout: float | timedelta | Unset = UNSET,
        max_unacknowledged: int | Unset = UNSET,
        max_frame_bytes: int | Unset = UNSET,
        spin: float | timedelta | Unset = UNSET,
        takeover_timeout: float | timedelta | Unset = UNSET,
        ping: float | timedelta | Unset = UNSET,
        allow_shipped_code: bool | Unset = UNSET,
        on_message: Callable[[Any], None] | None = None,
        tls: TlsOptions | None = None,
        **modes: Unpack[ModeOptions],
    ) -> None:
        if token is not None and token_file is UNSET:
            token_file = None  # what is given here counts before a file that the environment names
        given = {
            "store": store, "namespace": namespace, "address": address, "partitions": partitions,
            "token_file": token_file, "specifications": specifications, "call_timeout": call_timeout,
            "max_unacknowledged": max_unacknowledged, "max_frame_bytes": max_frame_bytes, "spin": spin,
            "takeover_timeout": takeover_timeout, "ping": ping,
            "allow_shipped_code": allow_shipped_code, "on_message": on_message, **(tls or {}), **modes,
        }  # fmt: skip
        super().__init__(join, self.reach(given, token))


def join(manager: InstanceManager, *, make: MakeClient = Client) -> Transport:
    """Return a client that is attached to the shards of a cluster; `make` creates it."""
    assert isinstance(manager, Clustered)

    def options_for(shards: int) -> ClientOptions:
        return _with_code(manager.allow_shipped_code, client_options(manager, shards))

    if not manager.allow_shipped_code:
        for cls in manager.specifications:
            manager.check_handler(cls)
    return manager.cluster.client(options_for, manager.mailbox, make)


def _with_code(allowed: bool, options: ClientOptions) -> ClientOptions:
    """Return options of a client; if code is not allowed, it sends no handlers that only this process has."""
    return options if allowed else replace(options, undeclared=lambda _: ())


class ClusterMember(ShardServer):
    """Runs some of a cluster's shards in this machine's processes, and lets clients of other machines in.

    Args:
        listen: Where to listen for clients, ``"HOST:PORT"``; port 0: any free one.
        advertise: The address by which clients reach it, if that is another.
        hosts: The shards that run here: numbers, or a text like "0-31". None: all.
        partitions: The number of all shards; fixed for a namespace.
        token: The secret that clients must have.
        token_file: A file with that secret.
        tls: `tls_authority`, `tls_certificate` and `tls_key`: files in PEM format. With an authority, clients need a
            certificate that it has signed.
        allow_shipped_code: Whether clients may send handlers and predicates as code. Default False.
        **options: The options of `ShardedInstanceManager`, with `store`; `data_dir` holds only what the processes of
            this machine need while they run.

    Attributes:
        member: Its gate, and which shards it runs.

    Raises:
        ValueError: A value breaks its option's rule, or other machines could reach the gate without any secret.
    """

    def __init__(
        self,
        *,
        listen: str = "127.0.0.1:0",
        advertise: str | None = None,
        hosts: Iterable[int] | str | None = None,
        partitions: int = 4,
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        tls: TlsOptions | None = None,
        allow_shipped_code: bool = False,
        **options: Unpack[ManagerOptions],
    ) -> None:
        chosen = manager_options({**options, "distribution_factor": partitions})
        if chosen["store"] is None:
            raise ValueError(_NEEDS_STORE)
        InstanceManager.__init__(self, _run, chosen)
        self.allow_shipped_code = allow_shipped_code
        self.member = Member(
            listen=listen, advertise=advertise, hosts=hosts, token=token, token_file=token_file, tls=tls
        )
        self.member.hosted(partitions)

    @property
    def address(self) -> Address | None:
        """The address by which clients reach it, once it is started."""
        return self.member.address

    def spex_options(self) -> SpexOptions:
        """Return the options for shards that are started now."""
        return replace(super().spex_options(), takes_code=self.allow_shipped_code)

    def close(self) -> None:
        """Let no client in any more, and stop the shards; see `InstanceManager.close`."""
        self.member.close()
        super().close()


def _run(manager: InstanceManager) -> Transport:
    assert isinstance(manager, ClusterMember)
    shards = manager.options["distribution_factor"]
    of_client = replace(_with_code(manager.allow_shipped_code, client_options(manager, shards)), idle=True)
    host = HOST, manager.spex_options().plain()
    return manager.member.run(
        manager.directory.socket,
        shards,
        lambda more: owned(manager.directory, of_client, manager.mailbox, host, {**manager.options, **more}),
    )

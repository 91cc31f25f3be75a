"""A deployment as a cluster: members with gates, which clients reach over TCP and find by the database."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from random import Random
from typing import Any

import spex_shards as spex

from .deployment import Fault
from .local import CALL_TIMEOUT, NAMESPACE, Local
from .relaying import Relay
from .specs import Chain, Timed

CUTS = 8
"""How often connections are reset in one fault."""
PING = 0.5
_sleep = threading.Event().wait


class Clustered(Local):
    """A member that runs all shards, and others that claim them. Clients keep their managers over all of that.

    Clients reach each member through a relay, which can be frozen, as a network that loses everything, and cut.
    """

    _relays: list[Relay]

    @cached_property
    def faults(self) -> Mapping[str, Fault]:
        """The faults that can be made."""
        return {
            **super().faults,
            "clients cut off, shortly": Fault(self._freeze, self._thaw, lasts=(0.1, 2 * PING)),
            "clients cut off until they look elsewhere": Fault(self._freeze, self._thaw, lasts=(3 * PING, 6 * PING)),
            "clients' connections reset": Fault(self._cut),
        }

    def _more(self) -> Sequence[object]:
        token = self._folder / "token"
        if not token.exists():
            token.write_text(secrets.token_urlsafe(32))
            self._relays = []
        with socket.create_server(("127.0.0.1", 0)) as free:  # the member listens there again after each of its starts
            port = free.getsockname()[1]
        relay = Relay(port)
        self._relays.append(relay)
        self._stack.callback(relay.stop)
        listens = "--listen", f"127.0.0.1:{port}", "--advertise", f"127.0.0.1:{relay.port}"
        return *listens, "--gate-token-file", token

    def connect(self) -> Any:
        """Return a manager. It asks the database past the proxy: what is cut is the members' way there."""
        url = self._url if self.replicated else self.primary.url
        return spex.ClusterInstanceManager(
            store=f"{url}&namespace={NAMESPACE}", token_file=self._folder / "token", specifications=(Chain, Timed),
            call_timeout=CALL_TIMEOUT, ping=PING,
        ).start()  # fmt: skip

    def place(self) -> object:
        """Return always the same: a manager follows the shards by itself."""
        return NAMESPACE

    def _freeze(self, _random: Random) -> None:
        self._relays[-1].order("freeze")

    def _thaw(self) -> None:
        self._relays[-1].order("thaw")

    def _cut(self, random: Random) -> None:
        before = self._relays[-1].order("thaw")
        for _ in range(CUTS):
            cut = self._relays[-1].order("cut")
            _sleep(random.uniform(0.02, 0.2))
        self.counts.add("connections of clients reset", cut - before)

"""One end of a connection: a socket, h11, and the observation of both."""

import itertools
import os
import socket
from typing import Any, TypeAlias

import h11

import spex_shards as spex

from .specification import INITIAL_STATE, HttpConnection

Identifier: TypeAlias = tuple[str, int, int]
Tally: TypeAlias = dict[Identifier, list[tuple[str, str]]]

TIMEOUT = 60.0


class Observer:
    """Reports the events of this process to the shards, and keeps its own tally of them.

    Attributes:
        tally: Instance → its (action, state) pairs in order: its history must be equal to them at the end.
    """

    def __init__(self, manager: Any) -> None:
        self.tally: Tally = {}
        self._manager = manager
        self._numbers = itertools.count(1)

    def begin(self, role: str) -> Identifier:
        identifier = (role, os.getpid(), next(self._numbers))
        self.tally[identifier] = [(spex.INITIALISATION, INITIAL_STATE)]
        self._manager.init_instance_nowait(HttpConnection, identifier, initial_state=INITIAL_STATE)
        return identifier

    def observe(self, identifier: Identifier, action: str, state: str) -> None:
        self.tally[identifier].append((action, state))
        if action == spex.INTERNAL:
            self._manager.transition_nowait(identifier, action, state)
        else:
            self._manager.transition(identifier, action, state)


class Endpoint:
    """The client's or the server's end of a connection. Every event that h11 handles is observed, in order.

    Attributes:
        http: The h11 connection.
        socket: The socket, for bytes that are not HTTP.
    """

    def __init__(self, observer: Observer, role: str, sock: socket.socket) -> None:
        sock.settimeout(TIMEOUT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # small messages, each awaited
        self.http = h11.Connection(h11.CLIENT if role == "client" else h11.SERVER)
        self.socket = sock
        self._role = role
        self._peer = "server" if role == "client" else "client"
        self._observer = observer
        self._identifier = observer.begin(role)

    @property
    def state(self) -> str:
        """Both sides' states, as h11 reports them."""
        client, server = self.http.our_state, self.http.their_state
        if self._role == "server":
            client, server = server, client
        waiting = ", 100 awaited" if self.http.client_is_waiting_for_100_continue else ""
        return f"{client.__name__}/{server.__name__}{waiting}"

    def send(self, *events: h11.Event) -> None:
        """Send events, and observe each."""
        for event in events:
            data = self.http.send(event)
            self._observe(self._action(event, self._role))
            if data:
                self.socket.sendall(data)

    def receive(self) -> h11.Event | h11.RemoteProtocolError:
        """Return the peer's next event, or the protocol error that it made."""
        try:
            while (event := self.http.next_event()) is h11.NEED_DATA:
                self.http.receive_data(self.socket.recv(65536))
        except h11.RemoteProtocolError as error:
            self._observe(f"{_message(self._peer)} fails")
            return error
        self._observe(self._action(event, self._peer))
        return event

    def receive_message(self) -> h11.Event | h11.RemoteProtocolError:
        """Receive to the end of a message; return what it ended with."""
        while isinstance(event := self.receive(), (h11.Response, h11.InformationalResponse, h11.Data)):
            if self.http.their_state is h11.SWITCHED_PROTOCOL:
                break
        return event

    def fail(self, junk: bytes = b"") -> None:
        """Break the protocol: send `junk` instead of what is expected, and tell h11."""
        self.http.send_failed()
        self._observe(f"{_message(self._role)} fails")
        self.socket.sendall(junk)

    def next_cycle(self) -> None:
        """Continue with the next request on this connection."""
        self.http.start_next_cycle()
        self._observe("next cycle")

    def close(self) -> None:
        """Close this direction."""
        self.send(h11.ConnectionClosed())
        self.socket.shutdown(socket.SHUT_WR)

    def drain(self) -> None:
        """Wait until the peer has closed its direction too."""
        while self.socket.recv(65536):
            pass

    def _observe(self, action: str) -> None:
        self._observer.observe(self._identifier, action, self.state)

    def _action(self, event: Any, role: str) -> str:
        if h11.SWITCHED_PROTOCOL in (self.http.our_state, self.http.their_state):
            return "switch"
        match event:
            case h11.Request():
                return "request"
            case h11.InformationalResponse():
                return "continue"
            case h11.Response():
                return "response"
            case h11.EndOfMessage() if role == "client":
                return "request ends"
            case h11.ConnectionClosed():
                return f"{role} closes"
        return spex.INTERNAL


def _message(role: str) -> str:
    return "request" if role == "client" else "response"

"""The clients: every kind of connection that the specification allows."""

import random
import socket
from collections.abc import Callable

import h11

from .endpoint import TIMEOUT, Endpoint, Observer

HOST = ("Host", "localhost")
CLOSE = ("Connection", "close")
EXPECT = ("Expect", "100-continue")
CHUNKED = ("Transfer-Encoding", "chunked")
UPGRADE = (("Connection", "Upgrade"), ("Upgrade", "echo"))


def run_all(observer: Observer, address: tuple[str, int]) -> None:
    """Make each kind of connection once, in random order."""
    for way in random.sample(WAYS, len(WAYS)):
        with socket.create_connection(address, TIMEOUT) as sock:
            way(Endpoint(observer, "client", sock))


def keep_alive(end: Endpoint) -> None:
    """Several cycles on one connection; the client closes."""
    for _ in range(random.randint(1, 2)):
        exchange(end, request("GET", "/"))
        end.next_cycle()
        exchange(end, request("POST", "/upload", CHUNKED), b"a", b"bc")
        end.next_cycle()
        exchange(end, request("HEAD", "/"))
        end.next_cycle()
    end.close()
    end.receive()


def idle_timeout(end: Endpoint) -> None:
    """The server closes between two cycles."""
    exchange(end, request("GET", "/idle-timeout"))
    end.next_cycle()
    end.receive()
    end.close()


def close_by_client(end: Endpoint) -> None:
    """The client announces that its request is the last one."""
    exchange(end, request("GET", "/", CLOSE))
    end.receive()
    end.close()


def close_by_server(end: Endpoint) -> None:
    """The server announces that its response is the last one."""
    exchange(end, request("POST", "/last", CHUNKED), b"abc")
    end.receive()
    end.close()


def expect(end: Endpoint) -> None:
    """The client waits for 100 (Continue) before it sends a body."""
    end.send(request("POST", "/upload", EXPECT, CHUNKED))
    end.receive()
    end.send(h11.Data(data=b"abc"), h11.EndOfMessage())
    end.receive_message()
    end.next_cycle()
    end.close()
    end.receive()


def expect_impatiently(end: Endpoint) -> None:
    """The client asks for 100 (Continue) but does not wait for it."""
    exchange(end, request("POST", "/impatient", EXPECT, CHUNKED), b"abc")
    end.next_cycle()
    end.close()
    end.receive()


def switch(end: Endpoint) -> None:
    """The server accepts a proposal; from then on the connection speaks another protocol."""
    exchange(end, random.choice([request("GET", "/echo", *UPGRADE), request("CONNECT", "echo.example:7")]))
    end.socket.sendall(b"not HTTP")
    end.socket.shutdown(socket.SHUT_WR)
    end.drain()


def switch_refused(end: Endpoint) -> None:
    """The server ignores the proposal and answers as usual."""
    exchange(end, random.choice([request("GET", "/", *UPGRADE), request("CONNECT", "refused.example:7")]))
    end.next_cycle()
    end.close()
    end.receive()


def malformed_request(end: Endpoint) -> None:
    """The client sends bytes that are not a request."""
    end.fail(b"this is not HTTP\r\n\r\n")
    end.receive_message()
    end.receive()


def cut_request(end: Endpoint) -> None:
    """The client breaks off in the middle of a body."""
    end.send(request("POST", "/upload", ("Content-Length", "1000")), h11.Data(data=b"abc"))
    end.fail()
    end.socket.shutdown(socket.SHUT_WR)
    end.receive_message()
    end.receive()


def malformed_response(end: Endpoint) -> None:
    """The server sends bytes that are not a response."""
    exchange(end, request("GET", "/malformed"))
    end.close()


WAYS: list[Callable[[Endpoint], None]] = [
    keep_alive,
    idle_timeout,
    close_by_client,
    close_by_server,
    expect,
    expect_impatiently,
    switch,
    switch_refused,
    malformed_request,
    cut_request,
    malformed_response,
]


def request(method: str, target: str, *headers: tuple[str, str]) -> h11.Request:
    return h11.Request(method=method, target=target, headers=[HOST, *headers])


def exchange(end: Endpoint, head: h11.Request, *body: bytes) -> None:
    """Send a whole request and receive everything that answers it."""
    end.send(head, *(h11.Data(data=piece) for piece in body), h11.EndOfMessage())
    end.receive_message()

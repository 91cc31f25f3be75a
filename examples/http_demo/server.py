"""The servers: they answer according to the target of the request."""

import socket

import h11

from .endpoint import Endpoint, Observer

SWITCHING = (b"/echo", b"echo.example:7")


def accept_all(observer: Observer, listener: socket.socket) -> None:
    """Serve one connection after the other until the listener is shut down."""
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        with sock:
            serve(Endpoint(observer, "server", sock))


def serve(end: Endpoint) -> None:
    """Serve one connection to its end."""
    while True:
        event = end.receive()
        if isinstance(event, h11.ConnectionClosed):
            end.close()
            return
        method, target = (event.method, event.target) if isinstance(event, h11.Request) else (b"", b"")
        if end.http.they_are_waiting_for_100_continue and target != b"/impatient":
            end.send(h11.InformationalResponse(status_code=100, headers=[]))
        while isinstance(event, (h11.Request, h11.Data)):
            event = end.receive()
        if not answer(end, method, target, event):
            return


def answer(end: Endpoint, method: bytes, target: bytes, event: object) -> bool:
    """Answer a request that ended with `event`; return whether another one may follow."""
    if isinstance(event, h11.RemoteProtocolError):
        respond(end, event.error_status_hint, b"no", close=True)
        end.close()
        end.drain()
        return False
    if end.http.their_state is h11.MIGHT_SWITCH_PROTOCOL and target in SWITCHING:
        echo(end, 101 if target.startswith(b"/") else 200)
        return False
    if target == b"/malformed":
        end.fail(b"this is not HTTP\r\n\r\n")
        end.receive()
        return False
    status = 405 if method == b"CONNECT" else 200
    respond(end, status, b"" if method == b"HEAD" else b"hello", close=target == b"/last")
    if end.http.our_state is not h11.MUST_CLOSE:
        end.next_cycle()
        if target != b"/idle-timeout":
            return True
    end.close()
    end.receive()
    return False


def respond(end: Endpoint, status: int, body: bytes, *, close: bool) -> None:
    """Send a response."""
    headers = [("Content-Type", "text/plain"), *([("Connection", "close")] if close else [])]
    end.send(h11.Response(status_code=status, headers=headers))
    end.send(*([h11.Data(data=body)] if body else []), h11.EndOfMessage())


def echo(end: Endpoint, status: int) -> None:
    """Accept the proposal, and speak the new protocol."""
    head = h11.InformationalResponse if status == 101 else h11.Response
    end.send(head(status_code=status, headers=[("Upgrade", "echo")] if status == 101 else []))
    end.socket.sendall(end.http.trailing_data[0])
    while data := end.socket.recv(65536):
        end.socket.sendall(data)

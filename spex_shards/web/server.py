"""A web server that only reads, with bounds for everything that a client may cost.

# Guarantees:
#
# * Only GET and HEAD are answered. A request's body is never read.
# * At most `MOST_CONNECTIONS` are open, each for at most `LONGEST_REQUEST` seconds and one request, whose first line
#   and headers have at most `MOST_BYTES`. So a client that sends or reads nothing costs a thread for that time.
# * An answer that fails is logged nowhere but told to its client, and harms no other.
"""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from ..errors import SpexError
from .access import Access
from .address import Address

MOST_CONNECTIONS: Final = 32
LONGEST_REQUEST: Final = 20.0
MOST_BYTES: Final = 16_384
_SILENT_FOR: Final = 5.0
"""Seconds for which a client may send, or take, nothing."""
_LOOK_EVERY: Final = 0.5
_BUSY: Final = b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Connection": "close",
}
"""Headers of each answer."""
NOTHING: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""The content security policy of what is no page."""


class Response(NamedTuple):
    """An answer.

    Attributes:
        body: Its body, as text.
        content_type: The type of the body.
        code: The HTTP status.
        policy: The content security policy.
    """

    body: str
    content_type: str = "text/plain; charset=utf-8"
    code: int = 200
    policy: str = NOTHING


class Asked(NamedTuple):
    """A request: its path, and the fields of its query."""

    path: str
    query: Mapping[str, str]


class WebServer:
    """Answers from its construction until `close`, on threads of its own.

    Args:
        option: The option that asked for it; errors name it.
        address: Where it listens.
        access: Who may read.
        pages: Path → the function that answers.
        refusal: Returns the answer to a browser that has not shown the token; None: a plain text.

    Attributes:
        port: The port on which it listens.

    Raises:
        OSError: The address is in use, or is not of this machine.
    """

    def __init__(
        self,
        option: str,
        address: Address,
        access: Access,
        pages: Mapping[str, Callable[[Asked], Response]],
        refusal: Callable[[], Response] | None = None,
    ) -> None:
        handler = type("Handler", (_Handler,), {"site": _Site(access, pages, refusal)})
        kind = type("Server", (_Server,), {"address_family": address.family})
        try:
            self._server = kind((address.ip, address.port), handler)
        except OSError as error:
            raise OSError(f"{option} {address.host}:{address.port}: {error.strerror or error}") from None
        self.port = self._server.server_port
        name = f"spex-shards-{option.lstrip('-')}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_LOOK_EVERY,), name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; answers on their way are cut off when the process ends."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(2.0)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, *arguments: Any) -> None:
        self._open: dict[socket.socket, float] = {}
        super().__init__(*arguments)

    def server_bind(self) -> None:
        # Not as `HTTPServer` does it, which looks its own name up and may wait for a name server.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self._open) >= MOST_CONNECTIONS:
            with suppress(OSError):
                request.settimeout(0)
                request.send(_BUSY)
            self.shutdown_request(request)
            return
        self._open[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End connections that take too long; called at least every half second."""
        late = time.monotonic() - LONGEST_REQUEST
        for request, begun in list(self._open.items()):
            if begun < late:
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)  # its thread reads an end

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client has gone, and the log on stderr is for other things."""


class _TooMuchError(Exception):
    """A request has more bytes than it may have."""


class _Bounded(io.BufferedReader):
    """Reads lines until there were too many bytes."""

    left = MOST_BYTES

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(min(self.left + 1, size) if size is not None and size >= 0 else self.left + 1)
        self.left -= len(line)
        if self.left < 0:
            raise _TooMuchError
        return line


class _Site(NamedTuple):
    access: Access
    pages: Mapping[str, Callable[[Asked], Response]]
    refusal: Callable[[], Response] | None


class _Handler(BaseHTTPRequestHandler):
    timeout = _SILENT_FOR
    site: _Site

    def setup(self) -> None:
        super().setup()
        self.rfile = _Bounded(self.rfile.detach())

    def handle(self) -> None:
        try:
            self.handle_one_request()
        except _TooMuchError:
            self.command, self.request_version, self.requestline = "GET", "HTTP/1.0", ""
            self._answer(Response("the request is too long\n", code=431))

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        if self.command not in ("GET", "HEAD"):
            self._answer(Response("only GET and HEAD are answered: nothing can be changed here\n", code=405))
            return False
        return True

    def do_GET(self) -> None:
        self._answer(*self._answered())

    do_HEAD = do_GET  # noqa: N815 - the base class calls it so

    def _answered(self) -> tuple[Response, dict[str, str]]:
        access, pages, refusal = self.site
        if not access.knows_host(self.headers.get("Host")):
            return Response("this server is known as localhost or 127.0.0.1 only\n", code=421), {}
        port = int(self.connection.getsockname()[1])
        try:
            url = urlsplit(self.path)
            query = dict(parse_qsl(url.query, keep_blank_values=True, max_num_fields=16))
        except ValueError:
            return Response("the address cannot be read\n", code=400), {}
        if refusal is not None and access.is_token(query.get("token", "")):
            # Not a redirection: after a link from another site, a browser would follow it without a strict cookie.
            page = '<!doctype html><meta http-equiv="refresh" content="0;url=/"><title>…</title>'
            return Response(page, "text/html; charset=utf-8"), {"Set-Cookie": access.cookie(port)}
        if not access.admits(self.headers.get("Authorization"), self.headers.get("Cookie"), port):
            refused = Response("a token is needed: Authorization: Bearer TOKEN\n", code=401)
            return (refusal() if refusal is not None and url.path == "/" else refused), {"WWW-Authenticate": "Bearer"}
        page_at = pages.get(url.path)
        if page_at is None:
            return Response(f"there is only {', '.join(pages)}\n", code=404), {}
        return self._page(page_at, Asked(url.path, query)), {}

    def _page(self, page: Callable[[Asked], Response], asked: Asked) -> Response:
        try:
            return page(asked)
        except ValueError as error:
            return Response(f"{error}\n", code=400)
        except SpexError as error:
            return Response(f"{error}\n", code=503)
        except Exception as error:
            return Response(f"unexpected: {type(error).__name__}: {error}\n", code=500)

    def _answer(self, response: Response, more: Mapping[str, str] | None = None) -> None:
        body = response.body.encode(errors="backslashreplace")
        self.send_response(response.code)
        headers = {"Content-Type": response.content_type, "Content-Security-Policy": response.policy}
        if response.code == 405:
            headers["Allow"] = "GET, HEAD"
        for name, value in {**HEADERS, **headers, **(more or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.close_connection = True
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Answer a request that cannot be read, with the headers of all answers."""
        if not hasattr(self, "command") or self.command is None:
            self.command = "GET"
        self._answer(Response(f"{message or code}\n", code=int(code)))

    def version_string(self) -> str:
        return "spex-shards"

    def log_message(self, *arguments: Any) -> None:
        """Say nothing: the log on stderr is for other things."""

"""The life of an HTTP/1.1 connection, written from the RFCs and from h11's documentation."""

import spex_shards as spex

INITIAL_STATE = "IDLE/IDLE"
"""How h11 calls "idle": the client's state, then the server's."""


class HttpConnection(spex.Specification):
    """One connection, as either end sees it.

    Pieces of a body and the end of a response are internal actions: they belong to the framing (RFC 9112, 6 and 7).
    """

    name = "HttpConnection"
    transitions = [
        ("idle", "request", "requested"),
        # Expect: 100-continue. The client need not wait for the answer (RFC 9110, 10.1.1).
        ("idle", "request", "expecting"),
        ("expecting", "continue", "requested"),
        ("expecting", spex.INTERNAL, "requested"),
        # The end of a request says whether more may follow (RFC 9112, 9.3 and 9.6), and whether HTTP continues.
        ("requested", "request ends", "awaiting response"),
        ("requested", "request ends", "awaiting last response"),
        ("requested", "request ends", "proposing switch"),
        ("awaiting response", "response", "answered"),
        ("awaiting response", "response", "answered for the last time"),
        ("awaiting last response", "response", "answered for the last time"),
        ("answered", "next cycle", "idle"),
        # Upgrade (RFC 9110, 7.8) and CONNECT (9.3.6): the server accepts the proposal, or answers as usual.
        ("proposing switch", "switch", "tunnel"),
        ("proposing switch", "response", "answered"),
        # Tear-down (RFC 9112, 9.6): after a last response the server closes first; when idle, either may.
        ("idle", "client closes", "client gone"),
        ("idle", "server closes", "server gone"),
        ("answered for the last time", "server closes", "server gone"),
        ("client gone", "server closes", "closed"),
        ("server gone", "client closes", "closed"),
        # A malformed or incomplete request is answered, and the connection closed (RFC 9112, 2.2 and 8);
        # a malformed response is not (RFC 9112, 8): the client closes.
        ("idle", "request fails", "request broken"),
        ("requested", "request fails", "request broken"),
        ("request broken", "response", "client gone"),
        ("awaiting response", "response fails", "server gone"),
    ]

"""A small web server for `serve`, which only reads: `/metrics`, and the console.

`address` says where it listens, `access` who may read, and `server` reads requests and bounds what they may cost.
"""

from .access import Access
from .address import Address
from .server import Asked, Response, WebServer

__all__ = ["Access", "Address", "Asked", "Response", "WebServer"]

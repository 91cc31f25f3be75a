"""The gate's connections, without a supervisor behind it."""

from __future__ import annotations

import asyncio
import ssl

import trustme

from spex_shards.runtime.cluster import gate


def test_a_tls_connection_that_was_closed_twice_can_be_aborted() -> None:
    """Asyncio has let go of it then; in Python 3.11.2 that raised AttributeError, and ended the gate's thread."""
    authority = trustme.CA()
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(served)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def main() -> None:
        arrived: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        server = await asyncio.start_server(lambda _, writer: arrived.put_nowait(writer), "127.0.0.1", 0, ssl=served)
        address = server.sockets[0].getsockname()
        _, client = await asyncio.open_connection(*address, ssl=trusting, server_hostname="127.0.0.1")
        writer = await arrived.get()
        writer.close()
        writer.close()
        gate._abort(writer)
        client.close()
        server.close()

    asyncio.run(main())

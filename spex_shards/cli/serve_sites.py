"""What `serve` answers over HTTP: the metrics, and the console."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..manager import InstanceManager
from ..telemetry import CONTENT_TYPE, Vitals, exposition
from ..web import Access, Address, Asked, Response, WebServer
from ..web.access import new_token

if TYPE_CHECKING:
    from ..console import Console


class Sites:
    """The web servers of one run.

    Args:
        metrics: The address of the metrics, as it was typed.
        console: The address of the console, as it was typed.
        token: The token; None: none was given.

    Raises:
        ValueError: An address is none; or the metrics are for other machines, and there is no token; or there is a
            token for nothing.
    """

    def __init__(self, metrics: str | None, console: str | None, token: str | None) -> None:
        self._metrics = None if metrics is None else Address.parsed("--metrics", metrics)
        self._console = None if console is None else Address.parsed("--console", console)
        self._token = token
        self._close: list[Callable[[], None]] = []
        if token is not None and metrics is None and console is None:
            raise ValueError("--token and --token-file are for --metrics and --console; give one of them as well")
        if self._metrics is not None and not self._metrics.is_loopback and token is None:
            raise ValueError(
                f"--metrics {metrics} can be read by other machines, and so needs --token or --token-file; "
                "127.0.0.1 can be read by this machine only"
            )

    def opened(self, manager: InstanceManager) -> Iterator[dict[str, Any]]:
        """Open the web servers, and yield for each what is to be told of it.

        Raises:
            OSError: An address is in use, or is not of this machine.
        """
        vitals = Vitals(lambda: manager)
        if self._metrics is not None:
            address, access = self._metrics, Access(self._token, local=self._metrics.is_loopback)

            def metrics(asked: Asked) -> Response:  # noqa: ARG001 - each page's function takes it
                return Response(exposition(vitals.read()), CONTENT_TYPE)

            server = WebServer("--metrics", address, access, {"/metrics": metrics})
            self._close.append(server.close)
            yield {"what": "metrics", "url": f"{address.url(server.port)}metrics"}
        if self._console is not None:
            yield self._open_console(self._console, manager, vitals)

    def close(self) -> None:
        """Close what is open; may be called again."""
        while self._close:
            self._close.pop()()

    def _open_console(self, address: Address, manager: InstanceManager, vitals: Vitals) -> dict[str, Any]:
        from ..console import Console

        made = new_token() if self._token is None and not address.is_loopback else None
        console: Console = Console(manager, vitals)
        access = Access(self._token or made, local=address.is_loopback)
        server = WebServer("--console", address, access, console.pages, console.refusal)
        self._close += [console.close, server.close]
        return {"what": "console", "url": address.url(server.port), **({"token": made} if made else {})}

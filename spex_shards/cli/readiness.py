"""Says to the outside that a server is ready, or stops: a file, and systemd's notifications."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any, Final

from ..formats.model_files import replace_file

NOTIFY_SOCKET: Final = "NOTIFY_SOCKET"


class Readiness:
    """Tells who waits for the server: `ready` when its shards are, `stopping` when it begins to stop.

    Args:
        file: A file that is there exactly while the server is ready; None: there is none. One that an earlier server
            has left is removed at once.

    Raises:
        ValueError: The file cannot be there.
    """

    def __init__(self, file: Path | None) -> None:
        if file is not None and (file.is_dir() or not file.parent.is_dir()):
            raise ValueError(f"--ready-file must be a file in a folder that is there, got: {str(file)!r}")
        self._file = file
        if file is not None:
            file.unlink(missing_ok=True)

    def ready(self, facts: dict[str, Any]) -> None:
        """Write the file, with these facts as JSON, and notify systemd.

        Raises:
            OSError: The file cannot be written, or the socket of systemd does not take the message.
        """
        if self._file is not None:
            replace_file(self._file, (json.dumps({"pid": os.getpid(), **facts}) + "\n").encode())
        notify("READY=1")

    def stopping(self) -> None:
        """Remove the file, and notify systemd; errors are ignored, since the server ends in any case."""
        try:
            if self._file is not None:
                self._file.unlink(missing_ok=True)
            notify("STOPPING=1")
        except OSError:
            pass


def notify(state: str) -> None:
    """Send a state to systemd, or to whoever set ``NOTIFY_SOCKET``; do nothing if that is not set.

    Raises:
        OSError: The socket does not take it.
    """
    address = os.environ.get(NOTIFY_SOCKET)
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as one:
            one.settimeout(2)
            one.sendto(state.encode(), f"\0{address[1:]}" if address.startswith("@") else address)
    except OSError as error:
        raise OSError(f"{NOTIFY_SOCKET}={address} does not take {state}: {error}") from None

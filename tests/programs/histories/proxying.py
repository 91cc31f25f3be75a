"""The proxy between the workers and the database, in a process of its own: it costs the clients' process no time.

``python -m tests.programs.histories.proxying FOLDER SOCKET`` reads orders from its standard input: ``cut AT WHEN``,
``refuse`` and ``accept``. It answers each with the number of connections that it has cut.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.places import ROOT
from tests.support.proxy import Proxy


class Cutting:
    """A proxy in another process.

    Args:
        folder: The folder for its socket.
        server: The server's socket.
    """

    def __init__(self, folder: Path, server: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(folder), str(server)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
        )  # fmt: skip
        self.order("accept")

    def order(self, *words: object) -> int:
        """Give an order; return how many connections were cut before."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(" ".join(map(str, words)) + "\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def main(folder: str, server: str) -> None:
    """Pass connections on, until there are no more orders."""
    proxy = Proxy(Path(folder), Path(server))
    for line in sys.stdin:
        what, *rest = line.split()
        before = proxy.cuts
        if what == "cut":
            proxy.cut(int(rest[0]), rest[1])
        elif what == "refuse":
            proxy.refuse()
        else:
            proxy.accept()
        print(before, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

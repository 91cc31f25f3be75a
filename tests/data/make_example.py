"""Make the stored example of a data directory: ``python -m tests.data.make_example``, from the root of the project.

It has two shards. A first run was closed, so its data lies in LMDB. A second run was killed with all its processes, so
its data lies only in the redo log, together with the answers of a client that never confirmed them. There is one
example per format of the layout record. It is made once, by the last commit of that format, and never again: it proves
that the library reads what an earlier version wrote.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path

import spex_shards as spex
from spex_shards.messages import operations as ops
from spex_shards.messages.specifications import describe
from spex_shards.runtime.data_dir import FORMAT
from spex_shards.runtime.protocol import codec
from spex_shards.runtime.protocol.requests import DECLARE
from spex_shards.runtime.protocol.routing import slot_of, table
from tests.support.example_specs import Hasty, Parcel, Strict
from tests.support.processes import descendants, is_gone, wait_until
from tests.support.raw_client import RawClient

TARGET = Path(__file__).with_name(f"format-{FORMAT}.tar.xz")
CLIENT_ID = b"a client of 1.0 "
TWICE = "sent twice"
LONG = "long " * 200


def shard_of_twice() -> int:
    """Return the shard of the instance whose client is answered with an error."""
    return table(2)[slot_of(codec.canonical(TWICE))]


def open_manager(folder: Path) -> spex.ShardedInstanceManager:
    """Return a manager on the example."""
    return spex.ShardedInstanceManager(
        data_dir=folder / "data", impl_models_dir=folder / "models", distribution_factor=2, call_timeout=60
    )


def first_run(folder: Path) -> None:
    """Write the data that LMDB holds."""
    (folder / "models").mkdir()
    strict = [(None, spex.INITIALISATION, "a"), ("a", "go", "b"), ("b", "stop", "c")]
    for model in (
        spex.ImplModel(specification=Strict.name, transitions=strict),
        spex.ImplModel(specification=Parcel.name, transitions=[], learning_mode=True),
        spex.ImplModel(specification=Hasty.name, transitions=[], learning_mode=True),
    ):
        (folder / "models" / f"{model.specification}.spex").write_text(model.serialise())
    with open_manager(folder) as manager:
        for number in range(20):
            manager.init_instance(Parcel, ("parcel", number), meta={"number": number})
            manager.transition(("parcel", number), "send", "away")
        manager.init_instance(Parcel, LONG)
        manager.init_instance(Hasty, "hasty")
        manager.init_instance(Strict, "strict")
        with suppress(spex.DeviationNotEquivalent):
            manager.transition("strict", "fly", "b")
        manager.init_instance(Hasty, "old")
        for step in range(100):
            manager.transition("old", *(("run", "busy"), ("stop", "idle"))[step % 2])


def second_run(folder: Path) -> None:
    """Write the data that only the log holds, and kill this process with all its children."""
    manager = open_manager(folder).start()
    for number in range(10):
        manager.transition(("parcel", number), "deliver", "there")
    manager.transition(("parcel", 19), "lose", "lost")
    manager.delete_instance(("parcel", 10))
    client = RawClient(folder / "data", shard_of_twice(), client_id=CLIENT_ID)
    client.send(0, 0, DECLARE.code, 0, describe(Parcel)[0].plain(), None)
    for number in (1, 2):
        client.send(number, 0, ops.INIT.code, 0, Parcel.name, codec.canonical(TWICE), None, None)
        assert client.answer()[0] == number
    for pid in [*descendants(), os.getpid()]:
        os.kill(pid, signal.SIGKILL)


def main() -> None:
    """Make the example."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first_run(folder)
        code = f"from pathlib import Path; from tests.data.make_example import second_run; second_run(Path({name!r}))"
        done = subprocess.run([sys.executable, "-c", code], check=False)
        assert done.returncode == -signal.SIGKILL
        wait_until(lambda: all(map(is_gone, descendants())), "all are gone")
        with tarfile.open(TARGET, "w:xz") as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path.name not in ("lock", "lock.mdb", "socket"):
                    archive.add(path, str(path.relative_to(folder)), filter=_anonymous)
    print(TARGET, TARGET.stat().st_size, "bytes")


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    main()

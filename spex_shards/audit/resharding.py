"""`reshard`: changes the number of shards of a data directory, moving only the instances that must move.

::

    layout {N}  ──▶  {N, copying to M}     instances are copied to their new shards; the old shards still have them all
                ──▶  {M, deleting from N}  moved instances are deleted from their old shards, surplus shards dissolved
                ──▶  {M}

Each arrow replaces the layout record atomically. Each step can be killed at any point and run again. In between, only
`reshard` and `verify` open the directory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import DataDirError, show
from ..manager.options import OPTIONS
from ..runtime.data_dir import COPYING, DELETING, DataDir, Layout, OwnerLock, no_data_dir
from ..runtime.declared import Service
from ..runtime.store.note import check_own
from ..runtime.store.opening import LocalStores
from .change import Change, Progress
from .contents import Opener
from .moving import InstanceContents
from .recorded import recorded_service, routing_for
from .service_rows import RowContents


@dataclass(frozen=True, slots=True)
class Resharded:
    """The result of `reshard`: the old and new number of shards, and how many instances or rows this run has copied."""

    before: int
    after: int
    moved: int


def reshard(
    path: str | os.PathLike[str],
    shards: int,
    *,
    service: type[Service] | None = None,
    progress: Progress | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Resharded:
    """Change the number of shards of a data directory; no manager may use it.

    An instance moves if it is routed to another shard under the new number; it keeps everything that belongs to it. The
    models, deviations and waiting log records of dissolved shards are merged into those of the others. A client that
    lives through the change must be made again: it gets `ShardDown`, and its unanswered requests are not sent again.

    Of a directory of an application's service the rows are moved, each to the shard of the key that the service's
    `routing_key` returns for it. Every row is checked before anything is changed.

    Args:
        path: The data directory.
        shards: The new number of shards.
        service: The class whose name the directory records; None for a directory of Spex. Nothing else is imported.
        progress: Called now and then.
        interrupted: Called now and then; if it returns True, the change stops at a point from which another call can
            continue it.

    Raises:
        DataDirLocked: A manager uses it.
        DataDirError: It is no data directory, is damaged, belongs to another service, is being changed to another
            number, or holds something that cannot be moved; or `routing_key` is missing, raises, or returns no key. A
            change that was begun can be undone by asking for the old number, as long as nothing was deleted.
        StoreError: A row is damaged, or the disk is full.
        TypeError: `service` is no service.
        ValueError: `shards` breaks the rule of `distribution_factor`.
        KeyboardInterrupt: `interrupted` returned True.
    """
    option = OPTIONS["distribution_factor"]
    try:
        option.check(shards)
    except ValueError:
        raise ValueError(f"the number of shards must be {option.rule}, got: {show(shards)}") from None
    directory = DataDir(Path(path).absolute())
    layout = directory.read_layout()
    if layout is None:
        raise no_data_dir(path)
    with OwnerLock(directory):
        check_own(directory)
        contents = _contents(directory, layout, service)
        found, layout = _planned(directory, shards)
        if layout.step is None:
            return Resharded(shards, shards, 0)
        change = Change(directory, *layout.change, contents, progress or (lambda _done, _total: None), interrupted)
        if layout.step == COPYING:
            change.look_ahead()
        if layout != found:
            directory.write_layout(layout)
        if layout.step == COPYING:
            change.copy()
            directory.write_layout(Layout(shards, DELETING, change.before))
        change.delete()
        directory.write_layout(Layout(shards))
        return Resharded(change.before, shards, change.moved)


def _contents(directory: DataDir, layout: Layout, service: type[Service] | None) -> Opener:
    recorded = recorded_service(LocalStores(directory), layout.shards)
    if service is None and recorded is not None:
        raise DataDirError(
            f"{directory.path} belongs to the service {recorded}, which alone knows where its rows belong; name it: "
            f"spex-shards reshard {directory.path} --to N --service {recorded}, or reshard(…, service=…)",
            path=str(directory.path),
        )
    if service is None:
        return InstanceContents
    return partial(RowContents, routing=routing_for(str(directory.path), recorded, service))


def _planned(directory: DataDir, shards: int) -> tuple[Layout, Layout]:
    """Return the recorded layout, and the layout with the next step to do."""
    found = layout = directory.read_layout()
    assert found is not None
    assert layout is not None
    before, after = layout.change
    if layout.step is None and layout.shards != shards:
        for index in range(layout.shards, shards):
            if directory.shard(index).exists():
                text = f"{directory.shard(index)} is there, though it belongs to no shard; move it away"
                raise DataDirError(text, path=str(directory.path))
        layout = Layout(layout.shards, COPYING, shards)
    elif layout.step == COPYING and shards == before != after:
        layout = Layout(before, DELETING, after)  # the copies are deleted, and the originals are all there
    elif layout.step is not None and shards != after:
        rule = f"{directory.path} is being changed from {before} to {after} shards; finish that first, by asking for"
        undone = f" (or have it undone, by asking for {before})" if layout.step == COPYING else ""
        raise DataDirError(f"{rule} {after}{undone}", path=str(directory.path))
    return found, layout

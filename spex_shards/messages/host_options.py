"""The options of Spex on a data directory, as its owner tells them to whoever runs the shards."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class SpexOptions:
    """The options of Spex on a data directory.

    Attributes:
        impl_models_dir: The folder of model files.
        learning_mode: Whether every model learns, and missing ones are made without asking the handler.
        prune_interval_us: Microseconds between pruning passes, or None (only the pass at the start).
        silent_before_us: Timeouts due before that time are done in silence; 0: none.
        specifications: Specifications to refresh before anything else happens, in their plain form.
    """

    impl_models_dir: Path
    learning_mode: bool
    prune_interval_us: int | None
    silent_before_us: int
    specifications: Sequence[Any] = ()

    def plain(self) -> list[Any]:
        """Return the plain form; the path is bytes there, as it need be no UTF-8."""
        place = os.fsencode(self.impl_models_dir)
        return [place, self.learning_mode, self.prune_interval_us, self.silent_before_us, list(self.specifications)]

    @classmethod
    def of(cls, plain: list[Any]) -> SpexOptions:
        """Return what a plain form says."""
        place, *rest = plain
        return cls(Path(os.fsdecode(place)), *rest)

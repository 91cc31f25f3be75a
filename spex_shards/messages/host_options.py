"""The options of Spex on a data directory, in the form in which the owner sends them to the supervisor."""

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
        learning_mode: Whether every model learns, and missing models are created without asking the handler.
        prune_interval_us: Microseconds between pruning passes, or None (only the pass at the start).
        silent_before_us: Timeouts that fell due before this time are not reported; 0: all are reported.
        specifications: Specifications in their plain form, to be updated in the store before anything else happens.
        sightings: Whether shards note what they see, for a test run.
        takes_code: Whether clients may send handlers and predicates as code.
    """

    impl_models_dir: Path
    learning_mode: bool
    prune_interval_us: int | None
    silent_before_us: int
    specifications: Sequence[Any] = ()
    sightings: bool = False
    takes_code: bool = True

    def plain(self) -> list[Any]:
        """Return the plain form. The path becomes bytes there, because it need not be valid UTF-8."""
        place = os.fsencode(self.impl_models_dir)
        told = [self.learning_mode, self.prune_interval_us, self.silent_before_us, list(self.specifications)]
        return [place, *told, self.sightings, self.takes_code]

    @classmethod
    def of(cls, plain: list[Any]) -> SpexOptions:
        """Return the options that a plain form stands for."""
        place, *rest = plain
        return cls(Path(os.fsdecode(place)), *rest)

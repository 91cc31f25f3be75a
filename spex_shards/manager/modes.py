"""Which mode an observation has, and which instances are observed at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import xxhash

from ..domain.declaration import MODES
from ..domain.specification import OWN_MODES, Specification, is_specification
from ..errors import SpexError, show

SAMPLING_SEED: Final = 0x5BEC_5A3D
"""Another seed than that of routing, so that a share of the instances is the same share on every shard. It may never
change: all processes and runs must agree on which instances are observed."""
_ALL: Final = 1 << 64


class Modes:
    """Decides the mode of each observation of a manager.

    The environment decides for everything; else a specification decides for itself; else the manager decides.

    Args:
        usual: The manager's mode.
        forced: The mode from the environment, or None.
    """

    def __init__(self, usual: str, forced: str | None) -> None:
        self._forced = forced
        self._chosen = usual

    @property
    def usual(self) -> str:
        """The mode of observations whose specification has none of its own."""
        return self._forced or self._chosen

    @usual.setter
    def usual(self, mode: str) -> None:
        if not isinstance(mode, str) or mode not in MODES:
            choices = ", ".join(MODES)
            raise ValueError(f"the mode must be one of {choices}, got: {show(mode)}")
        self._chosen = mode

    def of(self, cls: type[Specification]) -> str:
        """Return the mode of observations of a specification's instances."""
        return self._forced or cls.mode or self._chosen

    def of_error(self, error: SpexError) -> str | None:
        """Return the mode of the instance that an error is about; None: the error does not tell."""
        cls = getattr(error.context.get("instance"), "specification", None)
        return self.of(cls) if cls is not None and is_specification(cls) else None

    def of_transitions(self) -> str:
        """Return the mode of transitions before their specification is known.

        Where the manager is off and a specification is not, this is the strictest mode of a specification.
        """
        usual = self.usual
        if usual != "off" or self._forced or not OWN_MODES:
            return usual
        return max(tuple(OWN_MODES.values()), key=MODES.index)

    def some_are_off(self) -> bool:
        """Return whether there may be instances that no shard knows, because their specification is off."""
        return self._forced is None and (self._chosen == "off" or "off" in tuple(OWN_MODES.values()))


def sampler(share: float) -> Callable[[bytes], bool] | None:
    """Return a function that tells from an identifier's canonical bytes whether its instance is observed.

    The answer is the same in every process and every run, and a larger share contains each smaller one.

    Args:
        share: The share of instances that are observed, 0 to 1. For 1 there is no function: None.
    """
    if share >= 1:
        return None
    below = int(share * _ALL)
    digest: Callable[..., Any] = xxhash.xxh3_64_intdigest
    return lambda canonical: bool(digest(canonical, SAMPLING_SEED) < below)

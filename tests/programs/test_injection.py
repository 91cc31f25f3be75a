"""Signals and finalisers in the middle of calls: at a part of the lines here, at all of them with ``make inject``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs.injection.attack import ALL_CALLS, MODES, attack
from tests.programs.injection.load import KINDS
from tests.support.places import of_length

pytestmark = pytest.mark.process
THINNED = of_length(8, 3, 1)
"""So many times fewer lines are attacked than in a whole run."""
OFTEN = ["transition", "transition_nowait", "init_instance"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "close"])
def test_what_comes_in_the_middle_of_an_observation_loses_nothing(kind: str, mode: str, tmp_path: Path) -> None:
    """An exception, or a call, at every seventh line of a long run: what was acknowledged is stored once."""
    assert attack(kind, OFTEN, [mode], tmp_path, stride=7 * THINNED) > 20 // THINNED


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["raise", "nowait", "flush"])
def test_what_comes_in_the_middle_of_any_other_call_does_no_harm(kind: str, mode: str, tmp_path: Path) -> None:
    """At every 41st line of all calls (of a long run)."""
    others = [name for name in ALL_CALLS if name not in OFTEN]
    assert attack(kind, others, [mode], tmp_path, stride=41 * 2 * THINNED - 41) > 20 // (2 * THINNED)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_manager_closed_in_the_middle_of_a_call_is_closed_with_everything_in_it(kind: str, tmp_path: Path) -> None:
    """As the handler of SIGTERM does it; the call that was interrupted is told, or was in time."""
    assert attack(kind, OFTEN, ["close"], tmp_path, stride=67 * (THINNED // 2 + 1)) > of_length(0, 1, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_at_single_instructions_loses_nothing(kind: str, tmp_path: Path) -> None:
    """Lines are not the smallest steps: at every 97th instruction of the interpreter."""
    assert attack(kind, ["transition"], ["raise"], tmp_path, stride=97, opcodes=True) > 5

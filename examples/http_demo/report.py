"""The result of the demo: the comparison of histories with tallies, and the model as a diagram."""

from typing import Any

import spex_shards as spex

from .endpoint import Tally

SHOWN = {spex.INTERNAL: "τ"}


def differences(tally: Tally, instances: list[Any]) -> list[str]:
    """Compare the instances' histories with the processes' own tallies, entry by entry; return the differences."""
    found = {
        instance.identifier: [(record.action, record.to_state) for record in instance.history] for instance in instances
    }
    different = [f"{name}: not in the shards" for name in tally.keys() - found.keys()]
    different += [f"{name}: in the shards, but never observed" for name in found.keys() - tally.keys()]
    different += [
        f"{name}: {len(tally[name])} entries observed, {len(found[name])} in the shards, or others"
        for name in tally.keys() & found.keys()
        if tally[name] != found[name]
    ]
    return different


def diagram(transitions: list[tuple[str, str, str]], initial_state: str) -> str:
    """Draw a labelled transition system as text: each state once with its outgoing transitions, near states first."""
    width = max(len(SHOWN.get(action, action)) for _, action, _ in transitions)
    lines, states = [], [initial_state]
    for state in states:
        ways = sorted((action, target) for source, action, target in transitions if source == state)
        states += dict.fromkeys(target for _, target in ways if target not in states)
        lines.append(f"  {state}{'' if ways else '  (end)'}")
        lines += [f"    ── {SHOWN.get(action, action):{width}} ─▶ {target}" for action, target in ways]
    return "\n".join(lines)

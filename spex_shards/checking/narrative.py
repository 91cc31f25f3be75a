"""Describes causes in words: first a sentence that names the cause, then the evidence, then what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from ..domain.difference import one_line
from ..domain.transition import INTERNAL, State, Transition
from .cause import Cause, Kind
from .reconciling import Side
from .specified import Specified
from .unseen import Reading, Unseen
from .wording import MOST_SHOWN, capital, chain, listed, named, shown

_MOST_NAMED: Final = 1_000
"""How many states with unseen actions are examined for a wrong name."""
_DELETE: Final = "and delete the step from the model"


class Told(NamedTuple):
    """The description of a cause.

    Attributes:
        lines: The sentence, then the evidence, then what to do.
        specified: The specification's transition at which model and specification differ, or None.
    """

    lines: tuple[str, ...]
    specified: Transition | None


def tell(cause: Cause, specified: Specified) -> Told:
    """Return the description of the cause of a violation."""
    return _TELLERS[cause.kind](cause, specified)


def _unspecified(cause: Cause, specified: Specified) -> Told:
    side, step = cause.sides[0], cause.step
    assert step is not None
    run, state = specified.follow(side.run)
    sentence = f"{shown(step)} was seen and is not specified: {_allowed(side, state, specified)}."
    if step.action == INTERNAL or not specified.given.transitions:
        known = ""
    elif step.action in specified.actions:
        able = [m[0] for own, m in sorted(specified.members.items()) if step.action in specified.moves(own)]
        known = f"The specification has {one_line(step.action)} in {listed(able)} only."
    else:
        known = f"The specification has no action {one_line(step.action)}."
    called = specified.calls(step.target)
    ways = [] if called is None else [a for a, ends in specified.moves(side.own).items() if called in ends]
    ends = {a: specified.step(state, a, called or 0, step.target)[-1].target for a in ways if a != INTERNAL}
    ways = [a for a, end in ends.items() if end == step.target]
    if ways:
        known += f" It goes from {named(state)} to {named(step.target)} by {listed(ways, 'or')}."
    advice = f"Correct the implementation {_DELETE}; or add the step to the specification."
    return Told(_lines(sentence, known.strip(), advice), run[-1] if run else _first_from(state, specified))


def _renamed(cause: Cause, specified: Specified) -> Told:
    side, step, action = cause.sides[0], cause.step, cause.action
    assert step is not None
    assert action is not None
    _, state = specified.follow(side.run)
    here = f"{shown(step)} was seen: the specification calls this step {one_line(action)}, the model "
    sentence = f"{here}{one_line(step.action)}."
    evidence = f"{capital(_allowed(side, state, specified))}; what was seen from there on fits {one_line(action)}."
    advice = f"Report the action as {one_line(action)} {_DELETE}; or rename it in the specification."
    end = specified.moves(side.own)[action][0]
    return Told((sentence, evidence, advice), specified.step(state, action, end, step.target)[-1])


def _wrong_target(cause: Cause, specified: Specified) -> Told:
    wrong, step = cause.sides[0], cause.step
    assert step is not None
    at = next(number for number, (taken, _) in enumerate(wrong.run) if taken == step)
    _, before = specified.follow(wrong.run[:at])
    run, after = specified.follow(wrong.run[: at + 1])
    sentence = f"{shown(step)} was seen, but {_leads(step, before, after)}."
    if wrong.then:
        taken = wrong.then[0]
        _, end = specified.follow(wrong.run)
        evidence = f"What was seen next is not specified there, {shown(taken)}: {_allowed(wrong, end, specified)}."
    else:
        right = cause.sides[1]
        evidence = f"{named(step.target)} is what the specification calls the state {_after(right)}."
    advice = f"Report {named(after)} as the state after it {_DELETE}; or correct the specification."
    return Told((sentence, evidence, advice), run[-1] if run else None)


def _shared_name(cause: Cause, specified: Specified) -> Told:
    (one, other), runs, names = cause.sides, [], []
    for side in cause.sides:
        run, end = specified.follow(side.run)
        runs.append(run)
        names.append(end if _ends_in(side) else specified.named(side.own))
    state = _place(one, other, specified)
    sentence = f"{named(state)} stands for both {named(names[0])} and {named(names[1])}; report two names."
    evidence = " ".join(_evidence(side, name) for side, name in zip(cause.sides, names, strict=True))
    advice = (
        f"No state of the specification is both. If {named(state)} really is one state, what leads there, or what is "
        "done there, is wrong."
    )
    place = next((run[-1] for run in reversed(runs) if run), _first_from(names[1], specified))
    return Told((sentence, evidence, advice), place)


def _silent_choice(cause: Cause, specified: Specified) -> Told:
    side, step = cause.sides[0], cause.step
    assert step is not None
    run, state = specified.follow(side.run)
    later = next(own for own in specified.near(side.own) if step.action in specified.moves(own))
    left = specified.allowed(later)
    lost = [action for action in specified.allowed(side.own) if action not in left]
    action, after = one_line(step.action), named(specified.named(later))
    if lost:
        be = "is" if len(lost) == 1 else "are"
        once = f"only once {listed(lost)} {be} no longer possible"
    else:
        once = f"only after a silent step from {named(state)} to {after}"
    sentence = f"{shown(step)} was seen, but in the specification it can {action} there {once}."
    evidence = f"{capital(_after(side))} the specification is in {named(state)}, and silently goes to {after} first."
    advice = f"Report that silent step (spex.INTERNAL) before {action}; or let the specification {action} at once."
    return Told((sentence, evidence, advice), run[-1] if run else _first_from(state, specified))


def _silent_step(cause: Cause, specified: Specified) -> Told:
    step = cause.step
    assert step is not None
    side = next(side for side in cause.sides if side.run and side.run[-1][0] == step)
    other = cause.sides[1] if side is cause.sides[0] else cause.sides[0]
    run, state = specified.follow(side.run)
    _, end = specified.follow(other.run)
    sentence = f"{shown(step)} was seen, a silent step, and the specification has none there."
    evidence = (
        f"{capital(_after(side))} the model is still in what the specification calls {named(state)}; "
        f"{_after(other)} it is in {named(end)}."
    )
    advice = f"Report an action of the specification instead {_DELETE}; or add the silent step to the specification."
    return Told((sentence, evidence, advice), run[-1] if run else _first_from(state, specified))


def _endless(cause: Cause, specified: Specified) -> Told:
    side, step = cause.sides[0], cause.step
    assert step is not None
    run, state = specified.follow(side.run)
    endless = f"{shown(step)} was seen, and with it silent steps can go on for ever"
    sentence = f"{endless}; the specification does not allow that in {named(state)}."
    advice = "Correct the implementation; or give the specification a silent cycle there."
    lines = sentence, f"The silent cycle is reached {_after(side)}.", advice
    return Told(lines, run[-1] if run else _first_from(state, specified))


def _conflict(cause: Cause, specified: Specified) -> Told:
    side, step = cause.sides[0], cause.step
    others = [other for other in cause.transitions if other != step]
    assert step is not None
    run, state = specified.follow(side.run)
    more = f" and {len(others) - MOST_SHOWN:,} more" if len(others) > MOST_SHOWN else ""
    beside = f" together with {'; '.join(map(shown, others[:MOST_SHOWN]))}{more}" if others else ""
    sentence = f"{shown(step)} was seen, and cannot be right{beside}."
    evidence = "However the model's states are read as states of the specification, one of the steps is not specified."
    if step.action not in specified.allowed(side.own):
        evidence = f"{capital(_allowed(side, state, specified))}."
    advice = "Correct the one that is wrong, or the specification."
    return Told((sentence, evidence, advice), run[-1] if run else _first_from(state, specified))


_TELLERS = {
    Kind.UNSPECIFIED_STEP: _unspecified,
    Kind.RENAMED_ACTION: _renamed,
    Kind.WRONG_TARGET: _wrong_target,
    Kind.SHARED_NAME: _shared_name,
    Kind.SILENT_CHOICE: _silent_choice,
    Kind.SILENT_STEP: _silent_step,
    Kind.ENDLESS_SILENCE: _endless,
    Kind.CONFLICT: _conflict,
}


def tell_unseen(
    reading: Reading, number: int | None, missing: Sequence[Transition], specified: Specified, *, decided: bool
) -> Told:
    """Return the description of what an incomplete model was not observed to do.

    Args:
        reading: The model.
        number: The index in `reading.unseen` of the entry to describe; None if there is none.
        missing: Transitions of the specification that nothing in the model matches.
        specified: The specification.
        decided: Whether it is known that the model is no violation.
    """
    advice = (
        "Nothing wrong was seen. Let a test do it, or wait until it happens; if the implementation never does it, the "
        "specification allows too much."
    )
    if not decided:
        advice = (
            "Whether something wrong was seen was not found out with bounded effort. Let a test do what is missing, "
            "and check again."
        )
    if number is None:
        what = shown(missing[0]) if missing else "Something that is specified"
        return Told((f"{what} has not been seen.", advice), missing[0] if missing else None)
    unseen, end = reading.unseen[number], reading.ends[number]
    run = reading.run(unseen.state)
    _, state = specified.follow(run)
    deed = _deed(unseen, end, reading, specified)
    way = reading.way(unseen.state)
    misnamed = _is_misnamed(run, specified)
    if misnamed:
        step = run[-1][0]
        sentence = (
            f"{shown(step)} was seen: the specification calls this state {named(state)}, and it has not been seen to "
            f"{deed} there."
        )
    elif way:
        sentence = f"After {chain(way)} your implementation has not been seen to {deed}."
    else:
        sentence = f"At the start, in {named(unseen.state)}, your implementation has not been seen to {deed}."
    steps = specified.step(state, unseen.action, end) if reading.own else ()
    place = steps[-1] if steps else next((t for t in missing if t.action == unseen.action), None)
    return Told((sentence, advice), place)


def foremost(reading: Reading, specified: Specified) -> int | None:
    """Return the index of the unseen action to describe: if possible, one in a state with a wrong name."""
    for number, unseen in enumerate(reading.unseen[:_MOST_NAMED]):
        if reading.own and _is_misnamed(reading.run(unseen.state), specified):
            return number
    return 0 if reading.unseen else None


def _is_misnamed(run: Sequence[tuple[Transition, int]], specified: Specified) -> bool:
    """Return whether a run ends in a state with the name of a specified state that it cannot be equivalent to."""
    before = run[-2][1] if len(run) > 1 else 0
    return bool(run) and specified.is_misnamed(before, *run[-1])


def _deed(unseen: Unseen, end: int, reading: Reading, specified: Specified) -> str:
    if unseen.action == INTERNAL and not specified.strong:
        if end == reading.own.get(unseen.state):
            return "go on silently for ever"
        return f"go on silently to {named(unseen.target)}"
    done = f"do {one_line(unseen.action)}"
    seen = reading.does(unseen.state, unseen.action)
    return f"{done} to a state that stands for {named(unseen.target)}" if seen else done


def _allowed(side: Side, state: State, specified: Specified) -> str:
    """Return what the specification allows after a run: "after ... the specification allows only ..."."""
    if not specified.given.transitions:
        return "the specification has no transitions"
    actions = specified.allowed(side.own)
    what = f"only {listed(actions)}" if actions else "nothing"
    place = "" if named(state) == named(_end_of(side, specified)) else f", in {named(state)},"
    return f"{_after(side)} the specification{place} allows {what}"


def _end_of(side: Side, specified: Specified) -> State:
    """Return the state of the model at the end of a side's run."""
    if side.run:
        return side.run[-1][0].target
    return (side.then[0].source or "") if side.then else specified.given.initial_state


def _after(side: Side) -> str:
    return f"after {chain([step for step, _ in side.run])}" if side.run else "at the start"


def _ends_in(side: Side) -> bool:
    return side.run[-1][1] == side.own if side.run else side.own == 0


def _place(one: Side, other: Side, specified: Specified) -> State:
    return _end_of(one if one.run or one.then else other, specified)


def _evidence(side: Side, name: State) -> str:
    deeds = listed([step.action for step in side.then])
    if _ends_in(side):
        return f"It is {named(name)} {_after(side)}" + (f", where {deeds} was seen." if side.then else ".")
    return f"It is {named(name)} where {deeds} was seen." if side.then else f"It is {named(name)} elsewhere."


def _leads(step: Transition, before: State, after: State) -> str:
    if step.action == INTERNAL:
        if before == after:
            return f"in the specification {named(before)} stays what it is by a silent step"
        return f"in the specification a silent step leads from {named(before)} to {named(after)}"
    return f"in the specification {one_line(step.action)} leads from {named(before)} to {named(after)}"


def _first_from(state: State, specified: Specified) -> Transition | None:
    """Return the specification's first transition from a state, else its first one at all."""
    steps: Any = specified.given.transitions
    found = next((step for step in steps if step[0] == state), None)
    return None if found is None else Transition(*found)


def _lines(*lines: str) -> tuple[str, ...]:
    return tuple(line for line in lines if line)

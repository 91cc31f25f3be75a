"""The sidecar of a model file, ``NAME.spex.json``: how the model was learned.

It contains the specification's behaviour at that time (initial state, transitions and equivalence, but no timeouts) and
its digest. The sidecar of a model that was learned from an event log contains how many instances took each transition::

    {
        "format": 1,
        "specification": "shop.Order",
        "digest": "sha256:…",
        "initial_state": "new",
        "equivalence": "branching",
        "transitions": [["new", "pay", "paid"]],
    }

    {
        "format": 1,
        "specification": "orders",
        "frequencies": {
            "instances": 17,
            "taken": [[null, "__initialisation__", "start", 17], ["start", "pay", "pay", 9]],
        },
    }

The sidecar of a model that tests have taught names, for each transition, up to three tests that showed it first; its
format is 2::

    {"format": 2, …, "shown_by": [["new", "pay", "paid", ["tests/test_shop.py::test_a_payment"]]]}

A file may have all parts. The `.spex` file does not depend on its sidecar. Without one, it is only unknown whether the
specification has changed, how often the transitions were taken, and which tests showed them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..domain.declaration import Declaration
from ..domain.frequency import Frequencies
from ..domain.transition import Transition
from ..formats.model_files import replace_file
from .provenance import Tests, are_tests, named_in, plain_tests

SUFFIX: Final = ".json"
MOST_BYTES: Final = 64 * 1024 * 1024
_FORMAT: Final = 1
_WITH_TESTS: Final = 2
"""The format of a sidecar that names tests; all others have the one that earlier versions read."""


@dataclass(frozen=True, slots=True)
class Changed:
    """How a specification has changed since its model was learned.

    Attributes:
        added: Transitions that it has now and did not have then.
        removed: Transitions that it had then and does not have now.
        otherwise: Whether the initial state or the equivalence has changed.
    """

    added: tuple[Transition, ...] = ()
    removed: tuple[Transition, ...] = ()
    otherwise: bool = False

    def __str__(self) -> str:
        parts = [f"{len(self.added)} {_noun(self.added)} added", f"{len(self.removed)} removed"]
        parts += ["the initial state or the equivalence changed"] if self.otherwise else []
        return f"the specification changed since the model was learned: {', '.join(parts)}"


def _noun(things: tuple[Transition, ...]) -> str:
    return "transition" if len(things) == 1 else "transitions"


def behaviour_digest(declaration: Declaration) -> str:
    """Return a digest of a specification's behaviour, which does not depend on the order of its transitions."""
    return "sha256:" + hashlib.sha256(_canonical(_behaviour(declaration))).hexdigest()


def sidecar_of(model: Path) -> Path:
    """Return the path of a model file's sidecar."""
    return model.with_name(model.name + SUFFIX)


def write_sidecar(model: Path, declaration: Declaration, tests: Tests | None = None) -> None:
    """Write the sidecar of a model file, with the present specification; an existing one is replaced atomically.

    A sidecar that has this content already is left alone.

    Args:
        model: The model file.
        declaration: The specification.
        tests: The tests that showed each transition first; None: not known.

    Raises:
        OSError: The sidecar cannot be written.
    """
    head = {"format": _FORMAT, "specification": declaration.name, "digest": behaviour_digest(declaration)}
    place, raw = sidecar_of(model), _with_tests({**head, **_behaviour(declaration)}, tests or {})
    if not place.exists() or place.read_bytes() != raw:
        replace_file(place, raw)


def read_tests(model: Path) -> Tests:
    """Return the tests that showed each transition of a model first, as far as its sidecar says.

    Raises:
        OSError: The sidecar cannot be read.
        ValueError: It is malformed; names it and the rule.
    """
    plain = _read(sidecar_of(model))
    return {} if plain is None else named_in(plain.get("shown_by", []))


def with_tests(raw: bytes, tests: Tests) -> bytes:
    """Return the content of a sidecar that was written by this module, with other tests."""
    return _with_tests(json.loads(raw), tests)


def without_step(model: Path, step: Transition) -> bytes | None:
    """Return the content of a model's sidecar without one transition's tests and frequency; None: it has neither.

    Raises:
        OSError: The sidecar cannot be read.
        ValueError: It is malformed; names it and the rule.
    """
    plain = _read(sidecar_of(model))
    if plain is None:
        return None
    parts: list[list[Any]] = [plain.get("shown_by", []), plain.get("frequencies", {}).get("taken", [])]
    before = sum(map(len, parts))
    for part in parts:
        part[:] = [entry for entry in part if tuple(entry[:3]) != step]
    if sum(map(len, parts)) == before:
        return None
    return _with_tests(plain, named_in(plain.get("shown_by", [])))


def _with_tests(plain: dict[str, Any], tests: Tests) -> bytes:
    rest = {key: value for key, value in plain.items() if key not in ("format", "shown_by")}
    whole = {"format": _WITH_TESTS if tests else _FORMAT, **rest}
    return (json.dumps({**whole, "shown_by": plain_tests(tests)} if tests else whole, indent=1) + "\n").encode()


def write_frequencies(model: Path, specification: str, frequencies: Frequencies) -> None:
    """Note beside a model file how often its steps were taken; the sidecar that was there is replaced atomically.

    Raises:
        OSError: It cannot be written.
    """
    taken = [[*transition, number] for transition, number in sorted(frequencies.taken.items(), key=str)]
    plain = {"instances": frequencies.instances, "taken": taken}
    head = {"format": _FORMAT, "specification": specification, "frequencies": plain}
    replace_file(sidecar_of(model), (json.dumps(head, indent=1) + "\n").encode())


def read_frequencies(model: Path) -> Frequencies | None:
    """Return how often the steps of a model were taken, or None: that is not known.

    Raises:
        OSError: The sidecar cannot be read.
        ValueError: It is malformed; names it and the rule.
    """
    plain = _read(sidecar_of(model))
    if plain is None or "frequencies" not in plain:
        return None
    found = plain["frequencies"]
    taken = {Transition(*entry[:3]): entry[3] for entry in found["taken"]}
    return Frequencies(found["instances"], taken)


def behaviour_part(raw: bytes) -> bytes | None:
    """Return the content of a sidecar without frequencies and tests; None if nothing is left.

    What is no sidecar is returned as it is: whoever reads it will say so.
    """
    try:
        plain = json.loads(raw)
    except (ValueError, RecursionError):
        return raw
    if not isinstance(plain, dict) or not plain.keys() & {"frequencies", "shown_by"}:
        return raw
    plain.pop("frequencies", None)
    return _with_tests(plain, {}) if "digest" in plain else None


def changed_since(model: Path, declaration: Declaration) -> Changed | None:
    """Return how a specification has changed since its model was learned; None if it has not, or without a sidecar.

    Raises:
        OSError: The sidecar cannot be read.
        ValueError: The sidecar is malformed; the message names the file and the rule.
    """
    before = _read(sidecar_of(model))
    if before is None or "digest" not in before:
        return None
    if before["digest"] == behaviour_digest(declaration):
        return None
    now, known = set(declaration.transitions), [Transition(*entry) for entry in before["transitions"]]
    return Changed(
        tuple(t for t in declaration.transitions if t not in set(known)),
        tuple(t for t in known if t not in now),
        (before["initial_state"], before["equivalence"]) != (declaration.initial_state, declaration.equivalence),
    )


def _behaviour(declaration: Declaration) -> dict[str, Any]:
    return {
        "initial_state": declaration.initial_state,
        "equivalence": declaration.equivalence,
        "transitions": sorted([t.source or "", t.action, t.target] for t in declaration.transitions),
    }


def _canonical(plain: dict[str, Any]) -> bytes:
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    return _parse(path, raw)


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    if len(raw) > MOST_BYTES:
        raise ValueError(f"{path}: the file is larger than {MOST_BYTES} bytes")
    try:
        plain = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: it must be JSON: {error}") from None
    if not isinstance(plain, dict) or plain.get("format") not in (_FORMAT, _WITH_TESTS):
        raise ValueError(f"{path}: it must be an object of format {_FORMAT} or {_WITH_TESTS}")
    if "frequencies" in plain and not _are_frequencies(plain["frequencies"]):
        raise ValueError(
            f"{path}: its frequencies must be a number of instances, and a list of what was taken, each of source "
            "(or null), action, target and number"
        )
    if not are_tests(plain.get("shown_by", [])):
        raise ValueError(f"{path}: what it was shown_by must be a list of source (or null), action, target and tests")
    if "frequencies" in plain and "digest" not in plain:
        return plain
    if not isinstance(plain.get("digest"), str) or not _are_triples(plain.get("transitions")):
        raise ValueError(f"{path}: it must have a digest and a list of transitions, each of three texts")
    return {"initial_state": None, "equivalence": None, **plain}


def _are_triples(entries: Any) -> bool:
    def is_triple(entry: Any) -> bool:
        return isinstance(entry, list) and len(entry) == 3 and all(isinstance(part, str) for part in entry)

    return isinstance(entries, list) and all(map(is_triple, entries))


def _are_frequencies(found: Any) -> bool:
    def is_number(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0

    def is_taken(entry: Any) -> bool:
        if not isinstance(entry, list) or len(entry) != 4 or not is_number(entry[3]):
            return False
        source, action, target = entry[:3]
        return (source is None or isinstance(source, str)) and isinstance(action, str) and isinstance(target, str)

    return (
        isinstance(found, dict)
        and is_number(found.get("instances"))
        and isinstance(found.get("taken"), list)
        and all(map(is_taken, found["taken"]))
    )

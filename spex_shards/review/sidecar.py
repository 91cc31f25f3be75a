"""The sidecar of a model file, ``NAME.spex.json``: the specification at the time when the model was learned.

It contains the specification's behaviour (initial state, transitions and equivalence, but no timeouts) and its digest.
The `.spex` file does not depend on it. Without a sidecar, it is only unknown whether the specification has changed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..domain.declaration import Declaration
from ..domain.transition import Transition
from ..formats.model_files import replace_file

SUFFIX: Final = ".json"
MOST_BYTES: Final = 64 * 1024 * 1024
_FORMAT: Final = 1


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


def write_sidecar(model: Path, declaration: Declaration) -> None:
    """Write the sidecar of a model file, with the present specification; an existing one is replaced atomically.

    Raises:
        OSError: The sidecar cannot be written.
    """
    head = {"format": _FORMAT, "specification": declaration.name, "digest": behaviour_digest(declaration)}
    text = json.dumps({**head, **_behaviour(declaration)}, indent=1) + "\n"
    replace_file(sidecar_of(model), text.encode())


def changed_since(model: Path, declaration: Declaration) -> Changed | None:
    """Return how a specification has changed since its model was learned; None if it has not, or without a sidecar.

    Raises:
        OSError: The sidecar cannot be read.
        ValueError: The sidecar is malformed; the message names the file and the rule.
    """
    path = sidecar_of(model)
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    before = _parse(path, raw)
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


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    if len(raw) > MOST_BYTES:
        raise ValueError(f"{path}: the file is larger than {MOST_BYTES} bytes")
    try:
        plain = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: it must be JSON: {error}") from None
    if not isinstance(plain, dict) or plain.get("format") != _FORMAT:
        raise ValueError(f"{path}: it must be an object of format {_FORMAT}")
    if not isinstance(plain.get("digest"), str) or not _are_triples(plain.get("transitions")):
        raise ValueError(f"{path}: it must have a digest and a list of transitions, each of three texts")
    return {"initial_state": None, "equivalence": None, **plain}


def _are_triples(entries: Any) -> bool:
    def is_triple(entry: Any) -> bool:
        return isinstance(entry, list) and len(entry) == 3 and all(isinstance(part, str) for part in entry)

    return isinstance(entries, list) and all(map(is_triple, entries))

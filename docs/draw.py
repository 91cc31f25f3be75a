"""Draw the pictures of the page of concepts; run it after a change of the drawings: ``python docs/draw.py``."""

from pathlib import Path

import spex_shards as spex

HERE = Path(__file__).parent
SPECIFIED = [
    ("new", "authorise", "authorised"),
    ("authorised", "capture", "captured"),
    ("authorised", "void", "voided"),
    ("captured", "refund", "refunded"),
]
SEEN = {
    "equivalent": SPECIFIED,
    "incomplete": SPECIFIED[:3],
    "violation": [*SPECIFIED[:3], ("captured", "void", "voided")],
}


class Payment(spex.Specification):
    """What may happen to a payment."""

    name = "shop.Payment"
    transitions = SPECIFIED


def svg(shown: object) -> str:
    """Return the drawing that a notebook would show."""
    return shown._repr_mimebundle_()["image/svg+xml"]  # type: ignore[attr-defined]


def drawings() -> dict[str, str]:
    """Return one picture of the specification, and one for each verdict, by file name."""
    found = {"specification.svg": svg(Payment.lts)}
    start = spex.Transition(None, spex.INITIALISATION, "new")
    for name, transitions in SEEN.items():
        steps = frozenset({start, *(spex.Transition(*t) for t in transitions)})
        result = spex.check(spex.ImplModel(specification=Payment.name, transitions=steps), Payment)
        assert result.verdict.value == name, result.verdict
        found[f"{name}.svg"] = svg(result)
    return found


if __name__ == "__main__":
    for name, drawing in drawings().items():
        (HERE / "pictures" / name).write_text(drawing)

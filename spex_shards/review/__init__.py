"""Reviews models: their verdicts, their coverage of the specification, what has changed, and places in the source."""

from __future__ import annotations

from .coverage import Coverage, cover, percent_text
from .findings import Finding, Level, Rule, findings_of
from .judging import Reviewed, review, without_model
from .locating import Place, Places, locate
from .sidecar import Changed, behaviour_digest, changed_since, sidecar_of, write_sidecar

__all__ = [
    "Changed",
    "Coverage",
    "Finding",
    "Level",
    "Place",
    "Places",
    "Reviewed",
    "Rule",
    "behaviour_digest",
    "changed_since",
    "cover",
    "findings_of",
    "locate",
    "percent_text",
    "review",
    "sidecar_of",
    "without_model",
    "write_sidecar",
]

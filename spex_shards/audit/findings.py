"""The findings of an audit."""

from __future__ import annotations

from typing import Any, NamedTuple


class Finding(NamedTuple):
    """One thing in a data directory that breaks a rule.

    Attributes:
        shard: The shard's index.
        table: The table of its store; "store" or "log" if it is not a single row; "pages" for pages of LMDB's file.
        key: The row's key as text: the identifier if it has one, else hexadecimal; a page's number; "" for neither.
        rule: The rule that must hold.
        value: What was found instead, as text.
    """

    shard: int
    table: str
    key: str
    rule: str
    value: str

    def plain(self) -> dict[str, Any]:
        """Return the finding as a dict for JSON."""
        return self._asdict()

    def __str__(self) -> str:
        where = f"shard {self.shard}, {self.table}" + (f", {self.key}" if self.key else "")
        return f"{where}: {self.rule}; found: {self.value}"

"""What an audit has found, as values."""

from __future__ import annotations

from typing import Any, NamedTuple


class Finding(NamedTuple):
    """One thing that is not as it must be.

    Attributes:
        shard: Index of the shard.
        table: The table of its store; "store" or "log" where it is no single row; "pages" for pages of LMDB's file.
        key: The row's key, shown: an identifier where there is one, else in hexadecimal; a page's number; "" for
            neither.
        rule: What must hold.
        value: What was found instead, shown.
    """

    shard: int
    table: str
    key: str
    rule: str
    value: str

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return self._asdict()

    def __str__(self) -> str:
        where = f"shard {self.shard}, {self.table}" + (f", {self.key}" if self.key else "")
        return f"{where}: {self.rule}; found: {self.value}"

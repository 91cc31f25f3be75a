"""A ledger on the shard runtime: amounts are booked exactly once, even if processes die meanwhile.

``python examples/ledger.py`` kills shards while it works, and shows that not a cent was lost or doubled.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
from collections import Counter
from typing import Any

from spex_shards import runtime


class Overdrawn(runtime.Error):
    """The account has less than the amount to be taken from it."""


class Ledger(runtime.Service):
    """Accounts and the amounts booked on each."""

    errors = (Overdrawn,)

    def __init__(self, rows: runtime.Rows) -> None:
        super().__init__(rows)
        self.bookings = rows.table("bookings")

    @staticmethod
    def routing_key(table: str, key: Any) -> str:
        """Return the account that a row is about, so that the number of shards can be changed."""
        account: str = key[0] if table == "bookings" else key
        return account

    @runtime.command
    def book(self, key: str, amount: int, text: str = "", *, call: runtime.Call) -> int:
        """Book an amount on an account; return its balance."""
        balance, count = self.rows.get(key, (0, 0))
        if balance + amount < 0:
            raise Overdrawn(f"{key} has {balance}, and {-amount} were to be taken", balance=balance)
        self.rows[key] = (balance + amount, count + 1)
        self.bookings[key, count] = (call.now, amount, text)
        return balance + amount  # type: ignore[no-any-return]

    @runtime.query
    def balance(self, key: str) -> int:
        """Return the balance of an account."""
        return self.rows.get(key, (0, 0))[0]  # type: ignore[no-any-return]

    @runtime.query
    def total(self) -> int:
        """Return the sum of all accounts of a shard."""
        return sum(balance for balance, _ in self.rows.values())

    @runtime.query
    def accounts(self, after: str | None = None) -> tuple[list[Any], str | None]:
        """Return a page of accounts, and the start of the next page."""
        page = []
        for name, (balance, _) in self.rows.after(after):
            page.append((name, balance))
            if len(page) == 100:
                return page, name
        return page, None


def main(transfers: int = 2000, kills: int = 10) -> None:
    """Book transfers at random while shards are killed, then count the money."""
    chosen = random.Random(1)
    expected: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        runtime.Shards(Ledger, data_dir=folder, shards=2, call_timeout=20, max_restarts=1000) as ledger,
    ):
        names = [f"account {number}" for number in range(20)]
        for name in names:
            expected[name] = ledger.call(name, "book", 1000, "opened")
        for number in range(transfers):
            if number % (transfers // kills) == 0:
                pid = chosen.choice(ledger.shards()).pid
                if pid is not None:
                    os.kill(pid, signal.SIGKILL)
            giver, taker = chosen.sample(names, 2)
            amount = chosen.randint(1, 200)
            try:
                ledger.call(giver, "book", -amount, f"to {taker}")
            except Overdrawn:
                continue
            ledger.post(taker, "book", amount, f"from {giver}")
            expected[giver] -= amount
            expected[taker] += amount
        ledger.flush()
        assert dict(ledger.iterate("accounts")) == expected
        total = sum(ledger.call_all("total"))
        print(f"{transfers} transfers, {kills} kills: {total} on {len(names)} accounts, as it must be")
        assert total == 1000 * len(names)


if __name__ == "__main__":
    main()

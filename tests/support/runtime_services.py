"""Services for the tests of the shard runtime."""

from __future__ import annotations

from typing import Any

from spex_shards import runtime


class Refused(runtime.Error):
    """An error class that `Counter` declares."""


class Undeclared(runtime.Error):
    """An error class that `Counter` does not declare."""


class Counter(runtime.Service):
    """A service that counts, remembers, refuses and fails."""

    errors = (Refused,)

    @runtime.command
    def add(self, key: Any, amount: int = 1) -> int:
        """Add to a number; return it."""
        self.rows[key] = self.rows.get(key, 0) + amount
        return self.rows[key]  # type: ignore[no-any-return]

    @runtime.command
    def add_and(self, key: Any, ending: str) -> None:
        """Add one, and end in a way that undoes it."""
        self.rows[key] = self.rows.get(key, 0) + 1
        self.rows.table("log")[key] = ending
        if ending == "refused":
            raise Refused("it is refused", key=key, why=("a", 1))
        if ending == "undeclared":
            raise Undeclared("it is refused, too")
        raise ZeroDivisionError(ending)

    @runtime.command
    def say(self, key: Any, text: str, *, call: runtime.Call) -> str:
        """Send a message to the caller; return the caller."""
        call.send({"text": text})
        return call.client_id

    @runtime.query
    def get(self, key: Any) -> Any:
        """Return a number."""
        return self.rows.get(key)

    @runtime.query
    def logged(self, key: Any) -> Any:
        """Return the rows that `add_and` left."""
        return self.rows.table("log").get(key)

    @runtime.query
    def everything(self, after: Any = None, most: int = 3) -> Any:
        """Return a page."""
        page = []
        for key, value in self.rows.after(after):
            page.append((key, value))
            if len(page) == most:
                return page, key
        return page, None

    @runtime.query
    def count(self) -> int:
        """Return how many numbers there are on the shard."""
        return len(self.rows)


class Alarm(runtime.Service):
    """Rings when it is due, and fails the first time."""

    @runtime.command
    def ring_at(self, key: str, at: float) -> None:
        """Set the alarm."""
        self.rows[key] = at
        self.due(at)

    @runtime.query
    def rung(self) -> int:
        """Return how often it has rung."""
        return self.rows.table("rung").get(0, 0)  # type: ignore[no-any-return]

    def tick(self, now: float) -> float | None:
        """Ring for what is due; the first time, raise after half of it."""
        rung = self.rows.table("rung")
        for key in [key for key, at in self.rows.items() if at <= now]:
            del self.rows[key]
            rung[0] = rung.get(0, 0) + 1
            if key == "fails at first" and not self.__dict__.get("failed"):
                self.failed = True
                raise RuntimeError("half done")
        return min(self.rows.values(), default=None)


class Reentrant(runtime.Service):
    """Calls its own shards, which is not allowed."""

    shards: Any = None

    @runtime.command
    def again(self, key: str) -> None:
        """Call."""
        assert Reentrant.shards is not None
        Reentrant.shards.call(key, "again")


class Journal(runtime.Service):
    """Entries under a name, in a table each, and how many they are; says which name a row belongs to."""

    @classmethod
    def routing_key(cls, table: str, key: Any) -> Any:
        """Return the name that a row is about."""
        return key[0] if table == "entries" else key

    @runtime.command
    def write(self, key: Any, entry: Any) -> int:
        """Add an entry; return how many there are."""
        count = self.rows.get(key, 0)
        self.rows.table("entries")[key, count] = entry
        self.rows[key] = count + 1
        return count + 1  # type: ignore[no-any-return]

    @runtime.query
    def read(self, key: Any) -> list[Any]:
        """Return all entries of a name."""
        entries = self.rows.table("entries")
        return [entries[key, number] for number in range(self.rows.get(key, 0))]

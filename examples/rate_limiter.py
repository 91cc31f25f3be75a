"""A sliding-window rate limiter on the shard runtime: it limits each client's calls per window, over all processes."""

from __future__ import annotations

import tempfile
import time

from spex_shards import runtime


class RateLimiter(runtime.Service):
    """Keeps, for each key, the times of the calls that were allowed; expired times are removed automatically."""

    WINDOW = 60.0
    SWEEP = 10.0

    @runtime.command
    def allow(self, key: str, most: int, *, call: runtime.Call) -> bool:
        """Return whether one more call is allowed: fewer than `most` were allowed within the window before it."""
        now = call.now / 1_000_000
        recent = [at for at in self.rows.get(key, []) if at > now - self.WINDOW]
        allowed = len(recent) < most
        if allowed:
            self.rows[key] = [*recent, now]
        return allowed

    @runtime.query
    def keys(self) -> int:
        """Return how many keys a shard knows."""
        return len(self.rows)

    def tick(self, now: float) -> float:
        """Remove keys without a call within the window; ask to be called again later."""
        over = [key for key, times in self.rows.items() if times[-1] <= now - self.WINDOW]
        for key in over[:1000]:
            del self.rows[key]
        return now + self.SWEEP


def main() -> None:
    """Try eight calls, of which five are allowed."""
    with (
        tempfile.TemporaryDirectory() as folder,
        runtime.Shards(RateLimiter, data_dir=folder, shards=2) as limiter,
    ):
        started = time.monotonic()
        answers = [limiter.call("10.0.0.7", "allow", 5) for _ in range(8)]
        each = (time.monotonic() - started) / 8 * 1e6
        print(f"{answers.count(True)} of {len(answers)} let through, {each:.0f} µs each")
        assert answers == [True] * 5 + [False] * 3


if __name__ == "__main__":
    main()

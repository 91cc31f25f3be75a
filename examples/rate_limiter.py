"""A sliding-window rate limiter on the shard runtime: so many calls a window for each client, for all processes."""

from __future__ import annotations

import tempfile
import time

from spex_shards import runtime


class RateLimiter(runtime.Service):
    """For each key the times of the calls that were let through; what is over is removed by itself."""

    WINDOW = 60.0
    SWEEP = 10.0

    @runtime.command
    def allow(self, key: str, most: int, *, call: runtime.Call) -> bool:
        """Whether one more call is let through: fewer than `most` were within the window before it."""
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
        """Forget keys without a call within the window; come again in a while."""
        over = [key for key, times in self.rows.items() if times[-1] <= now - self.WINDOW]
        for key in over[:1000]:
            del self.rows[key]
        return now + self.SWEEP


def main() -> None:
    """Let five of eight calls through."""
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

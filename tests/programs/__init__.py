"""Long-running attacks, each a program of its own, and the tests that run their short forms."""

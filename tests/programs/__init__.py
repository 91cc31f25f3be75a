"""Long-running attack programs, and the tests that run their short forms."""

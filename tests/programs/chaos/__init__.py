"""Real processes killed at random for minutes, and the books of what they had been told."""

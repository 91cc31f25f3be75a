"""The process that starts, watches and restarts the workers: one small interpreter with a single thread."""

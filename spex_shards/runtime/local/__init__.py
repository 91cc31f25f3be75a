"""One shard in the calling process."""

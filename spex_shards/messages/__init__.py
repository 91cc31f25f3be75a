"""What managers and shards say to one another about specifications and instances."""

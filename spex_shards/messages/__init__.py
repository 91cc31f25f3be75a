"""The operations and values that managers and shards exchange about specifications and instances."""

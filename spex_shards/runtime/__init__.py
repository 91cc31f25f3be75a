"""The shard runtime: durable, supervised, sharded state for several processes; it knows no specification."""

"""A client whose pipes an event loop of asyncio reads and writes; it knows no specification."""

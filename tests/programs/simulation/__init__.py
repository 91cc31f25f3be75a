"""The whole system in one thread, with a simulated disk, clock and pipes: a seed decides what happens, and when."""

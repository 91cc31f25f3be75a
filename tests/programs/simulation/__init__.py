"""The whole system in one thread, on a simulated disk, clock and pipes: a seed decides what happens, and when."""

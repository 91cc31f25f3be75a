"""States that a disk may be in after a power loss, from what a real worker did (as ALICE does it, OSDI 2014)."""

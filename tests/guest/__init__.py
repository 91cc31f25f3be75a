"""How the library behaves in other people's processes."""

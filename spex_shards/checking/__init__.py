"""Deciding and explaining whether one system conforms to another."""

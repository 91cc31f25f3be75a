"""What processes say to one another, without input or output."""

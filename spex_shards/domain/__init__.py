"""Pure values and algorithms: no input or output, no process, no clock."""

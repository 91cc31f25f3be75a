"""Values and algorithms that do no input or output, start no process and read no clock."""

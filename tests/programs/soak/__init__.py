"""A soak: a web server, task workers and scripts on one served directory, for hours; who dies is replaced."""

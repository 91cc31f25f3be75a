"""A soak: a web server, task workers and scripts use one served directory for hours; killed processes are replaced."""

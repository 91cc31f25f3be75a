"""What the operating system gives and takes: descriptors, processes, private files, waits."""

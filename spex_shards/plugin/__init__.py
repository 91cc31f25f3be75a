"""The parts of the pytest plugin; they are imported only where a project uses it.

``settings`` reads the options. ``recording`` runs in each process that runs tests: it has the manager, and notes what
each test showed in the report of its teardown. ``gathering`` runs in the process that the user started: it collects the
reports, also those of other processes of pytest-xdist. ``concluding`` saves and judges the models at the end, and
``summary`` tells the result.
"""

"""One text form of systems and models each."""

"""A service under load for a long time, with all that operators do to it meanwhile. ``python -m tests.soak``."""

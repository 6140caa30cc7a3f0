"""Dumps of both engines: `sqlite`, `postgresql`, and `contents`, which reads the figures to compare."""

"""The composition of the site. `__version__` is its version: the newest one in CHANGELOG.md."""

__version__ = "0.2.0"

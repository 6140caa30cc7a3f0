"""The admin pages of the old system: the mode, parity, the count's history and the old log."""

from legacy.admin import lists  # noqa: F401  (it registers the pages)

"""The admin pages of events, failure groups, corrections, tokens and the audit log.

Django's autodiscovery imports this package, which registers the pages. They read through `events.reports`, and write
only through `triage`, `corrections`, `rollups` and `tokens`.
"""

from events.admin import corrections, events, groups  # noqa: F401  (imported to register their pages)

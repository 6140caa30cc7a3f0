"""The admin pages of events, failure groups, the work of operators, tokens and the audit log.

Django's autodiscovery imports this package, which registers the pages. They read through `events.reports`, and write
only through `triage`, `advice`, `merges`, `splits`, `corrections`, `rollups`, `jobs.leases`, `tokens` and
`sourcemaps.store`.
"""

from events.admin import events, groups, operations  # noqa: F401  (imported to register their pages)

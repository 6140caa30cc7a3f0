"""The admin pages of events, failure groups, the work of operators, tokens and the audit log.

Django's autodiscovery imports this package, which registers the pages. They read through `events.reports`, and write
only through `triage`, `advice`, `merges`, `splits`, `corrections`, `rollups`, `jobs.leases`, `tokens` and
`sourcemaps.store`, `alerts.channels.roster` and `alerts.delivery`.
"""

from events.admin import alerts, events, groups, operations  # noqa: F401  (imported to register their pages)

"""The admin pages of events, failure groups, releases, the work of operators, tokens and the audit log.

Django's autodiscovery imports this package, which registers the pages. They read through `events.reports`, and write
only through `triage`, `advice`, `merges`, `splits`, `corrections`, `rollups`, `jobs.leases`, `tokens` and
`exports.named`, `sourcemaps.store`, `alerts.channels.roster` and `alerts.delivery`. `saved_views.store` writes the
saved views.
"""

from events.admin import (  # noqa: F401  (imported to register their pages)
    alerts,
    events,
    exports,
    groups,
    operations,
    releases,
    tokens,
)

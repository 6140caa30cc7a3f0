"""Admin pages for operating the site: backups, corrections of the count, jobs, retention, source maps."""

from events.admin.operations import (  # noqa: F401  (imported to register their pages)
    backups,
    corrections,
    jobs,
    retention,
    sourcemaps,
)

"""Admin pages with which maintainers operate the site: corrections of the count, jobs, retention, and source maps."""

from events.admin.operations import (  # noqa: F401  (imported to register their pages)
    corrections,
    jobs,
    retention,
    sourcemaps,
)

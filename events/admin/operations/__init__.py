"""Admin pages with which maintainers operate the site: corrections of the count, jobs, and source maps."""

from events.admin.operations import corrections, jobs, sourcemaps  # noqa: F401  (imported to register their pages)

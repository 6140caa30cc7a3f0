"""The admin pages of events, failure groups, corrections, tokens and the audit log.

Django looks for the registrations here. Pages read through `events.reports`; they write only through `triage`,
`corrections`, `rollups` and `tokens`.
"""

from events.admin import corrections, events, groups  # noqa: F401  (they register their pages)

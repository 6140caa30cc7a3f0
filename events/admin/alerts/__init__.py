"""Admin pages of alerts: the channels, each person's own mail, and the outbox."""

from events.admin.alerts import channels, outbox  # noqa: F401  (imported to register their pages)

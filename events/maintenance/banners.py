"""Problems of the site that every admin page shows, until they are solved.

`banners()` of an AppConfig returns a tuple of functions, one for each kind of problem. A process calls them at most
once per READ_SECONDS. A problem is described by rows and settings, and never stored as a banner.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple

from django.apps import apps

from events.process_memory import Recent

# Every page shows the banners, so a burst of pages reads their rows once.
READ_SECONDS = 5


class Banner(NamedTuple):
    """One problem: two sentences of plain text, and the page with the details."""

    problem: str  # what happened, such as "No backup was made for 3 days."
    action: str  # what to do
    page: str = ""  # the name of a route of the admin, such as "events_jobstate_changelist"
    link: str = ""  # the words of the link, such as "Jobs"


BannerSource = Callable[[datetime], Iterable[Banner]]


_recent: Recent[list[Banner]] = Recent(READ_SECONDS)


def current(now: datetime) -> list[Banner]:
    """Return the problems that all apps report, in the order of the apps. They can be READ_SECONDS old."""
    return _recent.get("all", now, lambda: _find(now))


def _find(now: datetime) -> list[Banner]:
    offered = (getattr(config, "banners", None) for config in apps.get_app_configs())
    return [banner for offer in offered if offer for find in offer() for banner in find(now)]

"""The public page of the flashes. It needs PUBLIC_STATS=1."""

from typing import Any

from django.http import HttpResponse
from django.template.loader import render_to_string
from rest_framework.request import Request

from events import clock
from events.admin import charts
from events.api import schema
from events.api.public import CachedViewSet, StatsArePublic
from events.models import EventType
from events.reports import public

_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class StatsPage(CachedViewSet):
    permission_classes = [StatsArePublic]

    @schema.STATS_PAGE
    def page(self, request: Request) -> HttpResponse:
        text = render_to_string("stats.html", _context(public.statistics(clock.now())))
        return self.keep(request, HttpResponse(text), _POLICY)


def _context(figures: public.Statistics) -> dict[str, Any]:
    flashes = figures.flashes
    columns = [
        charts.Column(
            f"{row.day:%-d %b}", f"{row.day:%A, %-d %B %Y}: {row.flashes:,}", {EventType.FLASH_SUCCESS: row.flashes}, ""
        )
        for row in flashes.days
    ]
    return {
        "figures": figures,
        "bars": charts.bars(columns, label_every=14),
        "newest_days": flashes.days[::-1],
        "most": max((row.flashes for row in flashes.models), default=0),
    }

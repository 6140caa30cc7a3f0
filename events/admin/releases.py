"""Admin pages of the releases: a list with verdicts, and one release compared with another one."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern

from events import clock
from events.admin import charts
from events.admin.pages import PagesAdmin
from events.counting.buckets import DAY_MS
from events.models import Release
from events.reports.forms import ReleaseFilter
from events.reports.groups import ranking
from events.reports.releases import changes, figures
from events.reports.releases.changes import Changed
from events.reports.releases.figures import Comparison, Details, Figures
from events.reports.releases.verdicts import LEAST_FLASHES, Flashes, Verdict, VerdictName, more_flashes, points

RELEASES_SHOWN = 50
CHOICES = 200
CHART_DAYS = 90
GROUPS_SHOWN = 20
# How the words of a verdict are marked: a CSS class and an arrow.
MARKS = {VerdictName.WORSE: ("bad", "▲ "), VerdictName.BETTER: ("good", "▼ ")}


class Row(NamedTuple):
    """One release of the list: its comparison, the interval of its rate, and how its verdict is marked."""

    comparison: Comparison
    interval: charts.Interval | None
    css: str
    arrow: str


class ModelRow(NamedTuple):
    """The flashes of one model with each of two releases."""

    name: str
    flashes: Flashes
    other: Flashes


class Groups(NamedTuple):
    """A list of failure groups of the page: each with its status, and how many are left out."""

    key: str
    heading: str
    empty: str
    rows: list[tuple[Changed, str]]
    more: int


@admin.register(Release)
class ReleaseAdmin(PagesAdmin):
    """Releases, newest first, for everybody who may view events. Nothing here changes anything."""

    title = "Releases"
    filter_form = ReleaseFilter
    has_saved_views = True
    drawn_columns = {
        "release": "Release", "first": "First seen", "last": "Last seen", "flashes": "Flashes", "failed": "Failed",
        "rate": "Rate", "interval": "95 % interval", "expected": "Expected", "others": "Other failures",
        "verdict": "Against the release before",
    }  # fmt: skip
    more_columns = ("last", "others")
    change_form_template = "events/release_detail.html"

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("events.view_event")

    def get_urls(self) -> list[URLPattern]:
        return [*super().get_urls(), self.route("<path:object_id>/", self.change_view, "change")]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self.demand(self.has_view_permission(request) and request.method != "POST")
        if shorter := self.short_address(request):
            return shorter
        now = clock.now()
        form, columns = self.read_address(request.GET)
        compared = figures.newest(RELEASES_SHOWN, now) if form.is_valid() else []
        verdict = form.cleaned_data["verdict"] if form.is_valid() else ""
        context = {
            "title": self.title,
            "now": now,
            "form": form,
            "rows": _rows([row for row in compared if not verdict or row.verdict.name == verdict]),
            "is_narrowed": bool(verdict),
            "newest": len(compared),
            "has_more": len(compared) == RELEASES_SHOWN,
            "event_url": request.build_absolute_uri("/event"),
            "may_export": self.has_export_permission(request),
            "export_page": self.export_page("releases"),
            **self.views_context(request, form, columns),
        }
        return self.render(request, "events/release_list.html", context, status=200 if form.is_valid() else 400)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show a release. The parameter `against` names the release to compare with."""
        self.demand(self.has_view_permission(request) and request.method != "POST")
        now, version, against = clock.now(), unquote(object_id), request.GET.get("against", "")
        details = figures.details(version, against or None, now)
        is_against_wrong = details is None and bool(against)
        if is_against_wrong:
            details = figures.details(version, None, now)
        if details is None:
            raise Http404
        context = self._context(request, details, now) | {"wrong_against": against if is_against_wrong else ""}
        return self.render(request, self.change_form_template, context, 400 if is_against_wrong else 200)

    def _context(self, request: HttpRequest, details: Details, now: datetime) -> dict[str, Any]:
        comparison = details.comparison
        release, other, verdict = comparison
        now_ms = clock.epoch_ms(now)
        changed = changes.of(comparison, now_ms)
        choices = [name for name in figures.names(now)[:CHOICES] if name != release.version]
        return {
            "title": f"Release {release.version}",
            "now": now,
            "release": release,
            "other": other,
            "verdict": verdict,
            "sentence": sentence(comparison),
            "arrow": MARKS.get(verdict.name, ("", ""))[1],
            "difference": _difference(verdict),
            "interval_words": _interval_words(verdict),
            "choices": choices if other is None or other.version in choices else [*choices, other.version],
            "mix_differs": details.mix_differs,
            "adjusted": details.adjusted,
            "models": _models(details),
            "chart": _chart(details, now),
            "groups": [
                _groups("new", "New in it", "No failure group is new in this release.", changed.new, now_ms),
                _groups("back", "Came back in it", "No resolved group came back.", changed.came_back, now_ms),
                _groups("gone", "Gone since", "No group is known to be gone.", changed.gone, now_ms),
            ],
            "least_flashes": LEAST_FLASHES,
            "has_failure_links": request.user.has_perm("events.view_recentfailure"),
        }


def sentence(comparison: Comparison) -> str:
    """Return a verdict in sentences about both releases."""
    release, other, verdict = comparison
    if other is None:
        return f"{release.version} is the first release, so there is nothing to compare it with."
    if not release.flashes.total:
        return f"{release.version} has no flash yet."
    name = other.version
    low, high = verdict.interval or (0.0, 0.0)
    if verdict.name == VerdictName.WORSE:
        return f"Worse than {name} by {points(low)} to {points(high)} points."
    if verdict.name == VerdictName.BETTER:
        return f"Better than {name} by {points(-high)} to {points(-low)} points."
    if verdict.name == VerdictName.NO_WORSE:
        return f"No worse than {name}: at most +{points(high)} points."
    if verdict.flashes_needed is None:
        flashes = "no flash" if not other.flashes.total else f"only {_flashes(other)}"
        return f"Too few to tell: {name} has {flashes}. Compare with a release that has more."
    return f"Too few flashes to tell whether it is worse than {name}: it needs {more_flashes(verdict.flashes_needed)}."


def _flashes(figures: Figures) -> str:
    total = figures.flashes.total
    return f"{total:,} flash{'' if total == 1 else 'es'}"


def _rows(compared: list[Comparison]) -> list[Row]:
    rated = [row.release.flashes for row in compared if row.release.flashes.total]
    boxes = iter(charts.intervals([(flashes.failure_rate or 0, flashes.interval) for flashes in rated]))
    return [
        Row(row, next(boxes) if row.release.flashes.total else None, *MARKS.get(row.verdict.name, ("", "")))
        for row in compared
    ]


def _difference(verdict: Verdict) -> charts.Difference | None:
    if verdict.difference is None or verdict.interval is None:
        return None
    return charts.difference(verdict.difference, verdict.interval)


def _interval_words(verdict: Verdict) -> tuple[str, str, str] | None:
    """Return the difference and the bounds of its interval in points, with signs."""
    if verdict.difference is None or verdict.interval is None:
        return None
    difference, low, high = (
        f"{100 * value:+.1f}".replace("-", "−") for value in (verdict.difference, *verdict.interval)
    )
    return difference, low, high


def _models(details: Details) -> list[ModelRow]:
    release, other, _ = details.comparison
    own = details.by_model[release.version]
    others = {} if other is None else details.by_model[other.version]
    none = Flashes(0, 0)
    rows = [ModelRow(name, own.get(name, none), others.get(name, none)) for name in {*own, *others}]
    return sorted(rows, key=lambda row: (-row.flashes.total - row.other.total, row.name))


def _groups(key: str, heading: str, empty: str, changed: list[Changed], now_ms: int) -> Groups:
    shown = [(row, ranking.status_of(row.group, now_ms)) for row in changed[:GROUPS_SHOWN]]
    return Groups(key, heading, empty, shown, len(changed) - len(shown))


def _chart(details: Details, now: datetime) -> dict[str, Any] | None:
    """Return both failure rates by day, of at most CHART_DAYS days; None without flashes."""
    release, other, _ = details.comparison
    versions = [release.version] if other is None else [release.version, other.version]
    by_day = {version: details.by_day[version] for version in dict.fromkeys(versions)}
    used = [day_ms for days in by_day.values() for day_ms in days]
    if not used:
        return None
    end_ms = max(used) + DAY_MS
    days_ms = list(range(max(min(used), end_ms - CHART_DAYS * DAY_MS), end_ms, DAY_MS))
    names, none = list(by_day), Flashes(0, 0)
    return {
        "drawn": charts.rate_lines(
            [[_point(name, day_ms, by_day[name]) for day_ms in days_ms] for name in names],
            [f"{_day(day_ms):%-d %b}" for day_ms in days_ms],
        ),
        "names": names,
        "ticks": charts.release_ticks(days_ms[0], end_ms, now),
        "rows": [
            (_day(day_ms), [by_day[name].get(day_ms, none) for name in names])
            for day_ms in reversed(days_ms)
            if any(day_ms in by_day[name] for name in names)
        ],
        "is_cut": min(used) < days_ms[0],
    }


def _point(version: str, day_ms: int, days: Mapping[int, Flashes]) -> tuple[float, str] | None:
    flashes = days.get(day_ms)
    if flashes is None or flashes.failure_rate is None:
        return None
    words = f"{flashes.failures:,} of {flashes.total:,} flashes of {version} failed"
    return flashes.failure_rate, f"{_day(day_ms):%A, %-d %B %Y}: {words} ({100 * flashes.failure_rate:.1f} %)"


def _day(day_ms: int) -> datetime:
    return datetime.fromtimestamp(day_ms / 1000, UTC)

"""The invented world: the releases of the app, the browsers that people use, and who uses what when."""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from events.counting.buckets import DAY_MS, HOUR_MS, UNKNOWN
from events.maintenance.demo import app, faults
from events.maintenance.demo.bundles import Bundle, bundle
from events.maintenance.demo.stacks import Engine

DEV = "dev"
MODELS = {"UV-5RM": 40, "UV-5RM Plus": 22, "UV-17R": 18, "DM-32UV": 20}
USB = {"1a86:7523": 48, "10c4:ea60": 21, "067b:2303": 19, "0403:6001": 12}
CP210X = "10c4:ea60"
BROKEN_MODEL = "UV-17R"
BOOTLOADER_MODEL = "UV-5RM Plus"
# Hobbyists in Europe and America: quiet nights, busy evenings. One weight for each hour, UTC.
_HOURS = [30, 22, 16, 11, 8, 8, 11, 17, 25, 33, 40, 45, 50, 54, 57, 60, 66, 78, 92, 100, 98, 86, 66, 45]
_WEEKEND = 1.6
_SILENT_FROM_DAYS = 10  # A shorter span has no silent day.
# Chrome 139 and Firefox 142 were released in August 2025; a new one follows every four weeks.
_AUGUST_2025_MS = 1_754_352_000_000
_BROWSER_DAYS = 28
_FIRST_CHROME = 139
_FIRST_FIREFOX_AHEAD = 3
_OLD_FIREFOX = "Firefox 140"  # the long-term release, without Web Serial


class DemoRelease(NamedTuple):
    """A version of the app. `has_map`: its maps were uploaded. `has_facets`: its client sends facets."""

    number: int
    version: str
    at_ms: int
    has_map: bool
    has_facets: bool


class Environment(NamedTuple):
    """A browser on an operating system; `circumstances` are bits of `faults`."""

    browser: str
    os: str
    engine: Engine
    circumstances: int


class World:
    """Everything that the events have in common. The same arguments give the same world."""

    def __init__(self, *, days: int, now_ms: int, seed: int) -> None:
        self.seed = seed
        self.days = days
        self.now_ms = now_ms
        self.start_ms = now_ms - now_ms % DAY_MS - (days - 1) * DAY_MS
        self.rng = random.Random(seed)  # noqa: S311 (demo data, not a secret)
        self.releases, self.broken = self._releases()
        self.fixed, self.returned = self._fixed_and_returned()
        self.silent_day_ms = (
            self.start_ms + self.rng.randrange(days // 4, days // 2) * DAY_MS if days >= _SILENT_FROM_DAYS else None
        )
        # A release of Chrome falls into the span; its number is that of the calendar.
        self._bad_browser_ms = self.start_ms + (now_ms - self.start_ms) * 45 // 100
        since_2025 = (self._bad_browser_ms - _AUGUST_2025_MS) / (_BROWSER_DAYS * DAY_MS)
        self._bad_browser = _FIRST_CHROME + round(since_2025)
        self._bundles: dict[int, Bundle] = {}

    def bundle_of(self, release: DemoRelease) -> Bundle:
        """Return the bundle of a version, which is made when it is first asked for."""
        if release.number not in self._bundles:
            sources = app.sources(release.number, f"{self.seed}")
            self._bundles[release.number] = bundle(sources, app.CHUNKS, f"{self.seed} {release.version}")
        return self._bundles[release.number]

    # --- releases --------------------------------------------------------------------------------------------

    def _releases(self) -> tuple[list[DemoRelease], DemoRelease]:
        """Return all releases, oldest first, and the bad one."""
        rng = self.rng
        span_ms = self.now_ms - self.start_ms
        broken_ms = self.start_ms + span_ms * 6 // 10
        mended_ms = broken_ms + min(36 * HOUR_MS, span_ms // 4)
        moments = [self.start_ms - 9 * DAY_MS, self.start_ms - 2 * DAY_MS, broken_ms, mended_ms]
        at_ms = self.start_ms + rng.randrange(1, 5) * DAY_MS
        while at_ms < self.now_ms:
            if not broken_ms - DAY_MS < at_ms < mended_ms + DAY_MS:
                moments.append(at_ms + rng.randrange(8 * HOUR_MS, 20 * HOUR_MS))
            at_ms += rng.randrange(3, 9) * DAY_MS
        releases = [
            # Somebody forgot the upload now and then; the oldest client sends no facets yet.
            DemoRelease(number, _version(rng), at_ms, number % 4 != 2 or at_ms == broken_ms, number > 0)
            for number, at_ms in enumerate(sorted(moments))
        ]
        return releases, next(release for release in releases if release.at_ms == broken_ms)

    def _fixed_and_returned(self) -> tuple[DemoRelease | None, DemoRelease | None]:
        """Return the release that fixes a fault, and the one in which the fault is back; both or none."""
        span_ms = self.now_ms - self.start_ms
        fixed = [
            release for release in self.releases if span_ms // 4 < release.at_ms - self.start_ms < span_ms * 55 // 100
        ]
        later = [release for release in self.releases if span_ms * 7 // 10 < release.at_ms - self.start_ms < span_ms]
        return (fixed[0], later[0]) if fixed and later else (None, None)

    def is_vanishing(self, release: DemoRelease) -> bool:
        """Return whether a version has the fault that was fixed and came back."""
        if self.fixed is None or self.returned is None:
            return False
        return release.at_ms < self.fixed.at_ms or release.at_ms >= self.returned.at_ms

    def version_shares(self, at_ms: int) -> dict[str, float]:
        """Return the share of users per version: they adopt a release within days, and old tabs stay open."""
        shares = {DEV: 0.02, UNKNOWN: 0.005}
        left = 1 - sum(shares.values())
        known = [release for release in self.releases if release.at_ms <= at_ms]
        for release in reversed(known[1:]):
            taken_up = left * (1 - math.exp(-(at_ms - release.at_ms) / (20 * HOUR_MS)))
            shares[release.version] = taken_up
            left -= taken_up
        shares[known[0].version] = left
        return {version: share for version, share in shares.items() if share > 0.002}

    def by_version(self, at_ms: int) -> dict[str, DemoRelease]:
        """Return the code behind each version: developers run the newest, old copies with no version the oldest."""
        known = [release for release in self.releases if release.at_ms <= at_ms]
        return {release.version: release for release in known} | {DEV: known[-1], UNKNOWN: known[0]}

    # --- people ----------------------------------------------------------------------------------------------

    def by_hour(self, count: int) -> Iterator[tuple[int, int]]:
        """Yield each hour with events, and their number."""
        rng = self.rng
        hours = range(self.start_ms, self.now_ms, HOUR_MS)
        weights = []
        mood = 1.0
        for number, hour_ms in enumerate(hours):
            if number % 24 == 0:
                mood = rng.uniform(0.85, 1.15) * (1 + 0.4 * number / len(hours))  # the site grows
            is_weekend = (hour_ms // DAY_MS + 3) % 7 >= 5  # 1970 began on a Thursday
            is_silent = self.silent_day_ms is not None and 0 <= hour_ms - self.silent_day_ms < DAY_MS
            share_over = min(1, (self.now_ms - hour_ms) / HOUR_MS)
            weight = _HOURS[number % 24] * mood * (_WEEKEND if is_weekend else 1) * share_over
            weights.append(0 if is_silent else weight)
        drawn = Counter(rng.choices(hours, weights, k=count))
        for hour_ms in hours:
            if drawn[hour_ms]:
                yield hour_ms, drawn[hour_ms]

    @lru_cache(maxsize=4)  # noqa: B019 (a world lives as long as the command)
    def environments(self, day_ms: int) -> dict[Environment, float]:
        """Return the browsers of a day, with their shares: a new release replaces the last within two weeks."""
        age_days = (day_ms - self._bad_browser_ms) / DAY_MS
        behind = math.floor(age_days / _BROWSER_DAYS)
        newest = self._bad_browser + behind
        new_share = 1 - math.exp(-(age_days - behind * _BROWSER_DAYS) / 4)
        shares: dict[Environment, float] = defaultdict(float)
        for number, share in ((newest, new_share * 0.97), (newest - 1, (1 - new_share) * 0.97), (newest - 7, 0.03)):
            bad = faults.BAD_BROWSER if number == self._bad_browser else 0
            shares[Environment(f"Chrome {number}", "Windows", Engine.V8, bad)] += 46 * share
            shares[Environment(f"Edge {number}", "Windows", Engine.V8, bad)] += 14 * share
            shares[Environment(f"Chrome {number}", "macOS", Engine.V8, 0)] += 12 * share
            shares[Environment(f"Chrome {number}", "Linux", Engine.V8, 0)] += 7 * share
            shares[Environment(f"Chrome {number}", "ChromeOS", Engine.V8, 0)] += 3 * share
            shares[Environment(f"Chrome {number}", "Android", Engine.V8, faults.NO_SERIAL)] += 0.4 * share
            shares[Environment(f"Chromium {number}", "Linux", Engine.V8, faults.SNAP)] += 0.9 * share
            firefox = f"Firefox {number + _FIRST_FIREFOX_AHEAD}"
            shares[Environment(firefox, "Windows", Engine.GECKO, 0)] += 5 * share
            shares[Environment(firefox, "Linux", Engine.GECKO, 0)] += 3 * share
        shares[Environment(_OLD_FIREFOX, "Linux", Engine.GECKO, faults.NO_SERIAL)] += 0.3
        shares[Environment("Safari 26", "macOS", Engine.WEBKIT, faults.NO_SERIAL)] += 0.7
        shares[Environment("Safari 26", "iOS", Engine.WEBKIT, faults.NO_SERIAL)] += 0.3
        return dict(shares)


def _version(rng: random.Random) -> str:
    return f"{rng.getrandbits(28):07x}"

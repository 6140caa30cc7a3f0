"""Stores, replaces, prunes and deletes source maps: the one writer of their table."""

from datetime import datetime
from enum import Enum
from typing import NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Max, QuerySet, Sum

from events import audit, clock
from events.counting import upserts
from events.models import AuditKind, SourceMap
from events.sourcemaps import resolve
from events.sourcemaps.intake import CheckedMap

MAX_VERSION = 64  # of the field `app_version` of an event
MAX_FILE = 200
_SCRIPT, _MAP = ".js", ".js.map"


class InvalidName(ValueError):
    """The version or the file name of a map is invalid. The message says what is wrong."""


class Key(NamedTuple):
    """The identity of a map: the version, and the name of the JavaScript file."""

    app_version: str
    file: str

    def __str__(self) -> str:
        return f"{self.file} of {self.app_version}"


class VersionMaps(NamedTuple):
    """The maps of one version: their number and unpacked size, and the first of them by file name."""

    app_version: str
    maps: int
    bytes: int
    files: list[SourceMap]

    @property
    def more(self) -> int:
        return self.maps - len(self.files)


class Outcome(Enum):
    STORED = "stored"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"
    CONFLICT = "conflict"


def check_version(app_version: str) -> None:
    """Raise InvalidName for a version that no event can have."""
    if not 1 <= len(app_version) <= MAX_VERSION or not app_version.isprintable() or not app_version.strip():
        raise InvalidName(f"A version has 1 to {MAX_VERSION} printable characters.")


def key_of(app_version: str, name: str) -> Key:
    """Return the key of the map with a file name `NAME.js.map` or `NAME.js`. Raises InvalidName."""
    check_version(app_version)
    file = name.removesuffix(".map")
    stem = file.removesuffix(_SCRIPT)
    if not name.endswith((_SCRIPT, _MAP)) or not stem.strip(". "):
        raise InvalidName("The file is named NAME.js.map or NAME.js.")
    if len(file) > MAX_FILE or not file.isprintable() or "/" in file or "\\" in file:
        raise InvalidName(f"The name of the file has at most {MAX_FILE} printable characters, without / and \\.")
    return Key(app_version, file)


@upserts.retried
def put(key: Key, checked: CheckedMap, *, replace: bool, who: str, at: datetime) -> Outcome:
    """Store a map, and prune the oldest versions. Other content is replaced only with `replace`."""
    uploaded_at_ms = clock.epoch_ms(at)
    fields = checked._asdict() | {"uploaded_at_ms": uploaded_at_ms, "uploaded_by_name": who}
    sources = "1 source" if checked.sources == 1 else f"{checked.sources:,} sources"
    figures = f"{sources}, {checked.bytes:,} bytes"
    with transaction.atomic():
        stored, is_new = (
            SourceMap.objects.defer("content").select_for_update().get_or_create(**key._asdict(), defaults=fields)
        )
        if is_new:
            resolve.forget(*key)
            audit.note(AuditKind.SOURCE_MAP, f"Uploaded: {figures}.", who=who, at=at, about=str(key))
            _prune(key.app_version, who=who, at=at)
            return Outcome.STORED
        if stored.digest == checked.digest:
            return Outcome.UNCHANGED
        if not replace:
            return Outcome.CONFLICT
        SourceMap.objects.filter(pk=stored.pk).update(**fields, last_used_at_ms=None)
        resolve.forget(*key)
        audit.note(AuditKind.SOURCE_MAP, f"Replaced: {figures}.", who=who, at=at, about=str(key))
        return Outcome.REPLACED


@upserts.retried
def delete(app_version: str, *, who: str, at: datetime) -> int:
    """Delete all maps of a version. Return their number.

    Also deletes the frames that were resolved with them, or with maps of this version that were pruned.
    """
    with transaction.atomic():
        deleted = _delete(app_version, "Deleted", who=who, at=at)
        resolve.forget_version(app_version)
        return deleted


def _prune(newest: str, *, who: str, at: datetime) -> None:
    """Delete the maps of all versions but the newest SOURCEMAP_VERSIONS, by the newest upload of each.

    The version of the current upload is kept, also when the clock went back since the others.
    """
    others = SourceMap.objects.exclude(app_version=newest).values("app_version").annotate(newest=Max("uploaded_at_ms"))
    names = others.order_by("-newest", "-app_version").values_list("app_version", flat=True)
    for app_version in list(names[settings.SOURCEMAP_VERSIONS - 1 :]):
        _delete(app_version, f"Pruned, as newer maps of {newest} arrived", who=who, at=at)


@upserts.retried
def prune_all() -> str:
    """Delete the maps of all versions but the newest SOURCEMAP_VERSIONS. Return the outcome in words.

    Uploads prune too. This finds what they left when the setting was lowered.
    """
    uploads = SourceMap.objects.values("app_version").annotate(newest=Max("uploaded_at_ms"))
    names = uploads.order_by("-newest", "-app_version").values_list("app_version", flat=True)
    with transaction.atomic():
        over = list(names[settings.SOURCEMAP_VERSIONS :])
        deleted = sum(_delete(name, "Pruned", who="the site", at=clock.now()) for name in over)
    if not over:
        return f"No version is over the limit of {settings.SOURCEMAP_VERSIONS:,}."
    return f"Deleted {in_words(deleted)} of {len(over):,} version{'' if len(over) == 1 else 's'}."


def _delete(app_version: str, what: str, *, who: str, at: datetime) -> int:
    deleted, _ = SourceMap.objects.filter(app_version=app_version).delete()
    if deleted:
        audit.note(AuditKind.SOURCE_MAP, f"{what}: {in_words(deleted)}.", who=who, at=at, about=app_version)
    return deleted


def in_words(maps: int) -> str:
    return "1 source map" if maps == 1 else f"{maps:,} source maps"


def of_version(app_version: str) -> QuerySet[SourceMap]:
    """Return the maps of a version by file name, without their content."""
    return SourceMap.objects.filter(app_version=app_version).defer("content").order_by("file")


def versions(*, limit: int, files: int) -> list[VersionMaps]:
    """Return the versions with the newest maps, newest first, each with up to `files` of its maps."""
    figures = SourceMap.objects.values("app_version").annotate(
        newest=Max("uploaded_at_ms"), maps=Count("id"), size=Sum("bytes")
    )
    return [
        VersionMaps(row["app_version"], row["maps"], row["size"], list(of_version(row["app_version"])[:files]))
        for row in figures.order_by("-newest", "-app_version")[:limit]
    ]

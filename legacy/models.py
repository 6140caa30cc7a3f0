"""The old system's tables, the mode of the old routes, and the history of comparisons, switches and imports."""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q


class ClientLog(models.Model):
    """One row of the old Worker's `client_logs`, column for column, plus its relation to the unified stream.

    The columns with personal data stay empty: `user_agent` and `page_url` contain `''`, `origin` and `ip_hash` NULL.
    `event_id`: the content id of the event in the unified stream.
    `in_stream`: the stream has the event, or had it until retention deleted it.
    `arrived`: the row arrived by `/client-log`. It stays False for a row that an import or a switch of the mode wrote,
    even if the same failure arrives later.
    `sent_to_event`: the client said that it sends the same failure to `/event`.
    `refused_fields`: the fields for which `/event` refuses this payload, sorted and separated by commas.
    `session_key`: a keyed hash of the type and the session, if the payload names a session; else empty.
    `text_in_stream`: the stack and the log lines are in the event with the same `id`, and are empty here. Read rows
    with `old_tables.whole`, which adds them.
    """

    id = models.TextField(primary_key=True)
    received_at_ms = models.BigIntegerField("received")
    occurred_at = models.TextField("occurred")
    event_type = models.TextField("type")
    message = models.TextField()
    error_name = models.TextField("error", null=True)
    stack = models.TextField(null=True)
    model = models.TextField()
    write_mode = models.SmallIntegerField("write mode")
    connected = models.SmallIntegerField()
    app_version = models.TextField("version")
    user_agent = models.TextField()
    page_url = models.TextField()
    log_lines_json = models.TextField("log lines")
    origin = models.TextField(null=True)
    ip_hash = models.TextField(null=True)
    event_id = models.TextField()
    in_stream = models.BooleanField()
    # An import wrote the row, so a prune keeps it by default. This column and the columns below have database defaults,
    # because code of the previous release inserts rows without them.
    imported = models.BooleanField(default=False, db_default=False)
    # Parity reads these columns.
    arrived = models.BooleanField(default=False, db_default=False)
    sent_to_event = models.BooleanField(default=False, db_default=False)
    refused_fields = models.TextField(default="", db_default="")
    session_key = models.TextField(default="", db_default="")
    text_in_stream = models.BooleanField(default=False, db_default=False)

    class Meta:
        db_table = "client_logs"
        default_permissions = ("view",)
        verbose_name = "old log row"
        constraints = [
            models.CheckConstraint(
                condition=Q(user_agent="", page_url="", origin__isnull=True, ip_hash__isnull=True),
                name="client_logs_nobody_is_identified",
            ),
            # A prune may keep an imported row and delete its event, so an imported row must have its texts.
            models.CheckConstraint(
                condition=Q(text_in_stream=False)
                | Q(in_stream=True, imported=False, stack__isnull=True, log_lines_json="[]"),
                name="client_logs_text_in_stream",
            ),
        ]
        indexes = [
            # `GET /recent`, newest first, and parity by day. The old Worker's table had this index.
            models.Index(F("received_at_ms").desc(), name="idx_client_logs_received_at"),
            # No query of this site. The old Worker's table had this index.
            models.Index(fields=["event_type"], name="idx_client_logs_event_type"),
            # Parity and `copying.to_legacy` look up failures of the stream in the old log.
            models.Index(fields=["event_id"], name="client_logs_event_id"),
            # `copying.to_stream` finds the rows that the stream lacks.
            models.Index(fields=["id"], condition=Q(in_stream=False), name="client_logs_not_in_stream"),
        ]

    def __str__(self) -> str:
        return f"{self.event_type}: {self.message}"


class LegacyCount(models.Model):
    """One session of the old counter; `in_stream`, `arrived` and `sent_to_event` as in ClientLog.

    `correction`: the id of the `events.Correction` that made the session void. The old counter does not count it.
    `added_by_correction`: the correction created the row, so an undo deletes it.
    """

    session_id = models.TextField(primary_key=True)
    counted_at_ms = models.BigIntegerField()
    in_stream = models.BooleanField()
    arrived = models.BooleanField(default=False, db_default=False)
    sent_to_event = models.BooleanField(default=False, db_default=False)
    correction = models.BigIntegerField(null=True)
    added_by_correction = models.BooleanField(default=False, db_default=False)

    class Meta:
        default_permissions = ()
        indexes = [
            # `/count` subtracts the void sessions.
            models.Index(fields=["correction"], condition=Q(correction__isnull=False), name="legacy_count_void"),
            # Parity by day.
            models.Index(fields=["counted_at_ms"], name="legacy_count_counted_at"),
            # `copying.to_stream` finds the sessions that the stream lacks.
            models.Index(fields=["session_id"], condition=Q(in_stream=False), name="legacy_count_not_in_stream"),
        ]

    def __str__(self) -> str:
        return self.session_id


class Mode(models.TextChoices):
    SEPARATE = "separate"
    ALIAS = "alias"
    GONE = "gone"


class ModeInForce(models.Model):
    """The current mode of the old routes, in one row. A switch locks the row."""

    id = models.SmallIntegerField(primary_key=True)
    mode = models.TextField(choices=Mode.choices)
    tables_dropped = models.BooleanField(default=False)

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(condition=Q(mode__in=Mode.values), name="legacy_modeinforce_mode"),
            models.CheckConstraint(condition=Q(id=1), name="legacy_modeinforce_one_row"),
        ]

    def __str__(self) -> str:
        return self.mode


class Cutover(models.Model):
    """One switch of the mode: mode, reason, author, time, and the public count before and after."""

    mode = models.TextField(choices=Mode.choices)
    reason = models.TextField()
    switched_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    switched_by_name = models.TextField("switched by")
    switched_at = models.DateTimeField("switched")
    count_before = models.BigIntegerField()
    count_after = models.BigIntegerField()
    copied_to_stream = models.BigIntegerField()
    copied_to_legacy = models.BigIntegerField()

    class Meta:
        default_permissions = ("add", "view")
        ordering = ["-id"]
        constraints = [models.CheckConstraint(condition=Q(mode__in=Mode.values), name="legacy_cutover_mode")]

    def __str__(self) -> str:
        return f"{self.mode}: {self.reason}"


class Verdict(models.TextChoices):
    """The result of a comparison for a day, or for all its days."""

    PROVEN = "proven"
    DRIFT = "drift"
    NO_EVIDENCE = "no evidence"


class ParityRun(models.Model):
    """One comparison: `finding` is the output of `parity.Finding.as_json`.

    `days_held` is the number of consecutive proven days. `verdict` is empty for comparisons by the rule of earlier
    releases, which compared the rows of both sides. `holds` is their verdict, and their finding has other keys.
    """

    checked_at = models.DateTimeField("checked")
    verdict = models.TextField(choices=Verdict.choices, blank=True, default="", db_default="")
    holds = models.BooleanField()
    days_held = models.IntegerField()
    finding: Any = models.JSONField()

    class Meta:
        default_permissions = ("view",)
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.checked_at:%Y-%m-%d %H:%M}: {self.verdict or 'by an older rule'}"


class ImportRun(models.Model):
    """One finished import from D1: the whole report, and the number of successes that it added to the public count."""

    finished_at = models.DateTimeField("finished")
    file_name = models.TextField("file")
    successes_added = models.BigIntegerField()
    report: Any = models.JSONField()

    class Meta:
        default_permissions = ("view",)
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.file_name}: {self.successes_added}"

"""The tables: columns, constraints and indexes, one module for each family of tables."""

from events.models.alerts import Alert, AlertChannel, AlertDelivery, AlertKind, DeliveryState
from events.models.audit import AuditEntry, AuditKind
from events.models.corrections import Correction, CorrectionFacet, CorrectionShare
from events.models.event import Event, EventType, RecentFailure, Source, zero_or_one
from events.models.exports import NamedExport
from events.models.groups import (
    AdviceDay,
    DismissedMerge,
    Facet,
    FailureGroup,
    FormerGroup,
    GroupHour,
    GroupShare,
    GroupStatus,
    Noise,
    PlaceRule,
)
from events.models.jobs import Backup, JobOutcome, JobRun, JobState
from events.models.names import Arrival, KnownName, Release
from events.models.rollups import (
    CounterBaseline,
    DailyExpected,
    DailyRollup,
    ExpectedRollup,
    FacetRollup,
    HourlyRollup,
    IngestTally,
    LifetimeTotal,
    ModeRollup,
)
from events.models.saved_views import SavedView
from events.models.site import (
    CommitBucket,
    IngestToken,
    ReadinessProbe,
    RefusedHost,
    RetentionDefault,
    RetentionMark,
    SiteDay,
    Visit,
)
from events.models.sourcemaps import ResolvedFrame, SourceMap

__all__ = [
    "AdviceDay",
    "Alert",
    "AlertChannel",
    "AlertDelivery",
    "AlertKind",
    "Arrival",
    "AuditEntry",
    "AuditKind",
    "Backup",
    "CommitBucket",
    "Correction",
    "CorrectionFacet",
    "CorrectionShare",
    "CounterBaseline",
    "DailyExpected",
    "DailyRollup",
    "DeliveryState",
    "DismissedMerge",
    "Event",
    "EventType",
    "ExpectedRollup",
    "Facet",
    "FacetRollup",
    "FailureGroup",
    "FormerGroup",
    "GroupHour",
    "GroupShare",
    "GroupStatus",
    "HourlyRollup",
    "IngestTally",
    "IngestToken",
    "JobOutcome",
    "JobRun",
    "JobState",
    "KnownName",
    "LifetimeTotal",
    "ModeRollup",
    "NamedExport",
    "Noise",
    "PlaceRule",
    "ReadinessProbe",
    "RecentFailure",
    "RefusedHost",
    "Release",
    "ResolvedFrame",
    "RetentionDefault",
    "RetentionMark",
    "SavedView",
    "SiteDay",
    "Source",
    "SourceMap",
    "Visit",
    "zero_or_one",
]

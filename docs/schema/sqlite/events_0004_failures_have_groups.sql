BEGIN;
--
-- Create model FailureGroup
--
CREATE TABLE "events_failuregroup" ("fingerprint" text NOT NULL PRIMARY KEY, "algorithm" smallint NOT NULL, "event_type" text NOT NULL, "error_name" text NULL, "title" text NOT NULL, "frame" text NOT NULL, "accepted" bigint NOT NULL, "model_count" integer NOT NULL, "version_count" integer NOT NULL, "first_seen_ms" bigint NOT NULL, "last_seen_ms" bigint NOT NULL, "status" text NOT NULL, "fixed_in" text NULL, "muted_until_ms" bigint NULL, "decided_at_ms" bigint NULL, "decided_by_name" text NULL, "note" text NOT NULL, "regressed_at_ms" bigint NULL, "regressed_by" text NULL);
--
-- Create model GroupHour
--
CREATE TABLE "events_grouphour" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "fingerprint" text NOT NULL, "hour_ms" bigint NOT NULL, "accepted" bigint NOT NULL);
--
-- Create model GroupShare
--
CREATE TABLE "events_groupshare" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "fingerprint" text NOT NULL, "facet" text NOT NULL, "name" text NOT NULL, "accepted" bigint NOT NULL);
--
-- Create model ModeRollup
--
CREATE TABLE "events_moderollup" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "day_ms" bigint NOT NULL, "event_type" text NOT NULL, "write_mode" smallint NOT NULL, "connected" smallint NOT NULL, "accepted" bigint NOT NULL);
--
-- Create model Release
--
CREATE TABLE "events_release" ("app_version" text NOT NULL PRIMARY KEY, "first_seen_ms" bigint NOT NULL);
--
-- Add field fingerprint to event
--
ALTER TABLE "telemetry_events" ADD COLUMN "fingerprint" text NULL;
--
-- Create index telemetry_events_group on F(fingerprint), OrderBy(F(received_at_ms), descending=True), OrderBy(F(id), descending=True) on model event
--
CREATE INDEX "telemetry_events_group" ON "telemetry_events" ("fingerprint", "received_at_ms" DESC, "id" DESC) WHERE "fingerprint" IS NOT NULL;
--
-- Create index telemetry_events_ungrouped on field(s) received_at_ms of model event
--
CREATE INDEX "telemetry_events_ungrouped" ON "telemetry_events" ("received_at_ms") WHERE ("fingerprint" IS NULL AND NOT ("event_type" = 'flash_success'));
--
-- Create constraint telemetry_events_success_has_no_fingerprint on model event
--
CREATE TABLE "new__telemetry_events" ("id" text NOT NULL PRIMARY KEY, "received_at_ms" bigint NOT NULL, "occurred_at" text NOT NULL, "event_type" text NOT NULL, "session_id" text NULL, "model" text NOT NULL, "write_mode" smallint NOT NULL, "connected" smallint NOT NULL, "app_version" text NOT NULL, "message" text NOT NULL, "error_name" text NULL, "stack" text NULL, "log_lines_json" text NOT NULL, "metadata_json" text NOT NULL, "source" text NOT NULL, "fingerprint" text NULL, CONSTRAINT "telemetry_events_event_type" CHECK ("event_type" IN ('flash_success', 'flash_error', 'connect_error', 'window_error', 'unhandled_rejection')), CONSTRAINT "telemetry_events_source" CHECK ("source" IN ('event', 'client_log', 'increment', 'import', 'demo')), CONSTRAINT "telemetry_events_write_mode" CHECK ("write_mode" IN (0, 1)), CONSTRAINT "telemetry_events_connected" CHECK ("connected" IN (0, 1)), CONSTRAINT "telemetry_events_success_has_session" CHECK ((NOT ("event_type" = 'flash_success') OR "session_id" IS NOT NULL)), CONSTRAINT "telemetry_events_session_id" CHECK (("session_id" IS NULL OR (LENGTH("session_id") >= 1 AND LENGTH("session_id") <= 128))), CONSTRAINT "telemetry_events_message" CHECK ((LENGTH("message") >= 1 AND LENGTH("message") <= 500)), CONSTRAINT "telemetry_events_occurred_at" CHECK (LENGTH("occurred_at") = 24), CONSTRAINT "telemetry_events_success_has_no_fingerprint" CHECK ((NOT ("event_type" = 'flash_success') OR "fingerprint" IS NULL)));
INSERT INTO "new__telemetry_events" ("id", "received_at_ms", "occurred_at", "event_type", "session_id", "model", "write_mode", "connected", "app_version", "message", "error_name", "stack", "log_lines_json", "metadata_json", "source", "fingerprint") SELECT "id", "received_at_ms", "occurred_at", "event_type", "session_id", "model", "write_mode", "connected", "app_version", "message", "error_name", "stack", "log_lines_json", "metadata_json", "source", "fingerprint" FROM "telemetry_events";
DROP TABLE "telemetry_events";
ALTER TABLE "new__telemetry_events" RENAME TO "telemetry_events";
CREATE UNIQUE INDEX "telemetry_events_type_session" ON "telemetry_events" ("event_type", "session_id") WHERE "session_id" IS NOT NULL;
CREATE INDEX "telemetry_events_type_received" ON "telemetry_events" ("event_type", "received_at_ms" DESC);
CREATE INDEX "telemetry_events_received" ON "telemetry_events" ("received_at_ms" DESC);
CREATE INDEX "telemetry_events_failures" ON "telemetry_events" ("received_at_ms" DESC, "id" DESC) WHERE NOT ("event_type" = 'flash_success');
CREATE INDEX "telemetry_events_session" ON "telemetry_events" ("session_id") WHERE "session_id" IS NOT NULL;
CREATE INDEX "telemetry_events_group" ON "telemetry_events" ("fingerprint", "received_at_ms" DESC, "id" DESC) WHERE "fingerprint" IS NOT NULL;
CREATE INDEX "telemetry_events_ungrouped" ON "telemetry_events" ("received_at_ms") WHERE ("fingerprint" IS NULL AND NOT ("event_type" = 'flash_success'));
--
-- Create index events_group_title on field(s) title, fingerprint of model failuregroup
--
CREATE INDEX "events_group_title" ON "events_failuregroup" ("title", "fingerprint");
--
-- Create index events_group_type on field(s) event_type, fingerprint of model failuregroup
--
CREATE INDEX "events_group_type" ON "events_failuregroup" ("event_type", "fingerprint");
--
-- Create index events_group_accepted on field(s) accepted, fingerprint of model failuregroup
--
CREATE INDEX "events_group_accepted" ON "events_failuregroup" ("accepted", "fingerprint");
--
-- Create index events_group_models on field(s) model_count, fingerprint of model failuregroup
--
CREATE INDEX "events_group_models" ON "events_failuregroup" ("model_count", "fingerprint");
--
-- Create index events_group_versions on field(s) version_count, fingerprint of model failuregroup
--
CREATE INDEX "events_group_versions" ON "events_failuregroup" ("version_count", "fingerprint");
--
-- Create index events_group_first_seen on field(s) first_seen_ms, fingerprint of model failuregroup
--
CREATE INDEX "events_group_first_seen" ON "events_failuregroup" ("first_seen_ms", "fingerprint");
--
-- Create index events_group_last_seen on field(s) last_seen_ms, fingerprint of model failuregroup
--
CREATE INDEX "events_group_last_seen" ON "events_failuregroup" ("last_seen_ms", "fingerprint");
--
-- Create index events_group_status on field(s) status, fingerprint of model failuregroup
--
CREATE INDEX "events_group_status" ON "events_failuregroup" ("status", "fingerprint");
--
-- Create index events_group_algorithm on field(s) algorithm of model failuregroup
--
CREATE INDEX "events_group_algorithm" ON "events_failuregroup" ("algorithm");
--
-- Create constraint events_failuregroup_status on model failuregroup
--
CREATE TABLE "new__events_failuregroup" ("fingerprint" text NOT NULL PRIMARY KEY, "algorithm" smallint NOT NULL, "event_type" text NOT NULL, "error_name" text NULL, "title" text NOT NULL, "frame" text NOT NULL, "accepted" bigint NOT NULL, "model_count" integer NOT NULL, "version_count" integer NOT NULL, "first_seen_ms" bigint NOT NULL, "last_seen_ms" bigint NOT NULL, "status" text NOT NULL, "fixed_in" text NULL, "muted_until_ms" bigint NULL, "decided_at_ms" bigint NULL, "decided_by_name" text NULL, "note" text NOT NULL, "regressed_at_ms" bigint NULL, "regressed_by" text NULL, CONSTRAINT "events_failuregroup_status" CHECK ("status" IN ('open', 'resolved', 'muted')));
INSERT INTO "new__events_failuregroup" ("fingerprint", "algorithm", "event_type", "error_name", "title", "frame", "accepted", "model_count", "version_count", "first_seen_ms", "last_seen_ms", "status", "fixed_in", "muted_until_ms", "decided_at_ms", "decided_by_name", "note", "regressed_at_ms", "regressed_by") SELECT "fingerprint", "algorithm", "event_type", "error_name", "title", "frame", "accepted", "model_count", "version_count", "first_seen_ms", "last_seen_ms", "status", "fixed_in", "muted_until_ms", "decided_at_ms", "decided_by_name", "note", "regressed_at_ms", "regressed_by" FROM "events_failuregroup";
DROP TABLE "events_failuregroup";
ALTER TABLE "new__events_failuregroup" RENAME TO "events_failuregroup";
CREATE INDEX "events_group_title" ON "events_failuregroup" ("title", "fingerprint");
CREATE INDEX "events_group_type" ON "events_failuregroup" ("event_type", "fingerprint");
CREATE INDEX "events_group_accepted" ON "events_failuregroup" ("accepted", "fingerprint");
CREATE INDEX "events_group_models" ON "events_failuregroup" ("model_count", "fingerprint");
CREATE INDEX "events_group_versions" ON "events_failuregroup" ("version_count", "fingerprint");
CREATE INDEX "events_group_first_seen" ON "events_failuregroup" ("first_seen_ms", "fingerprint");
CREATE INDEX "events_group_last_seen" ON "events_failuregroup" ("last_seen_ms", "fingerprint");
CREATE INDEX "events_group_status" ON "events_failuregroup" ("status", "fingerprint");
CREATE INDEX "events_group_algorithm" ON "events_failuregroup" ("algorithm");
--
-- Create constraint events_failuregroup_accepted on model failuregroup
--
CREATE TABLE "new__events_failuregroup" ("fingerprint" text NOT NULL PRIMARY KEY, "algorithm" smallint NOT NULL, "event_type" text NOT NULL, "error_name" text NULL, "title" text NOT NULL, "frame" text NOT NULL, "accepted" bigint NOT NULL, "model_count" integer NOT NULL, "version_count" integer NOT NULL, "first_seen_ms" bigint NOT NULL, "last_seen_ms" bigint NOT NULL, "status" text NOT NULL, "fixed_in" text NULL, "muted_until_ms" bigint NULL, "decided_at_ms" bigint NULL, "decided_by_name" text NULL, "note" text NOT NULL, "regressed_at_ms" bigint NULL, "regressed_by" text NULL, CONSTRAINT "events_failuregroup_status" CHECK ("status" IN ('open', 'resolved', 'muted')), CONSTRAINT "events_failuregroup_accepted" CHECK ("accepted" >= 0));
INSERT INTO "new__events_failuregroup" ("fingerprint", "algorithm", "event_type", "error_name", "title", "frame", "accepted", "model_count", "version_count", "first_seen_ms", "last_seen_ms", "status", "fixed_in", "muted_until_ms", "decided_at_ms", "decided_by_name", "note", "regressed_at_ms", "regressed_by") SELECT "fingerprint", "algorithm", "event_type", "error_name", "title", "frame", "accepted", "model_count", "version_count", "first_seen_ms", "last_seen_ms", "status", "fixed_in", "muted_until_ms", "decided_at_ms", "decided_by_name", "note", "regressed_at_ms", "regressed_by" FROM "events_failuregroup";
DROP TABLE "events_failuregroup";
ALTER TABLE "new__events_failuregroup" RENAME TO "events_failuregroup";
CREATE INDEX "events_group_title" ON "events_failuregroup" ("title", "fingerprint");
CREATE INDEX "events_group_type" ON "events_failuregroup" ("event_type", "fingerprint");
CREATE INDEX "events_group_accepted" ON "events_failuregroup" ("accepted", "fingerprint");
CREATE INDEX "events_group_models" ON "events_failuregroup" ("model_count", "fingerprint");
CREATE INDEX "events_group_versions" ON "events_failuregroup" ("version_count", "fingerprint");
CREATE INDEX "events_group_first_seen" ON "events_failuregroup" ("first_seen_ms", "fingerprint");
CREATE INDEX "events_group_last_seen" ON "events_failuregroup" ("last_seen_ms", "fingerprint");
CREATE INDEX "events_group_status" ON "events_failuregroup" ("status", "fingerprint");
CREATE INDEX "events_group_algorithm" ON "events_failuregroup" ("algorithm");
--
-- Create constraint events_grouphour_bucket on model grouphour
--
CREATE TABLE "new__events_grouphour" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "fingerprint" text NOT NULL, "hour_ms" bigint NOT NULL, "accepted" bigint NOT NULL, CONSTRAINT "events_grouphour_bucket" UNIQUE ("fingerprint", "hour_ms"));
INSERT INTO "new__events_grouphour" ("id", "fingerprint", "hour_ms", "accepted") SELECT "id", "fingerprint", "hour_ms", "accepted" FROM "events_grouphour";
DROP TABLE "events_grouphour";
ALTER TABLE "new__events_grouphour" RENAME TO "events_grouphour";
--
-- Create constraint events_grouphour_accepted on model grouphour
--
CREATE TABLE "new__events_grouphour" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "fingerprint" text NOT NULL, "hour_ms" bigint NOT NULL, "accepted" bigint NOT NULL, CONSTRAINT "events_grouphour_bucket" UNIQUE ("fingerprint", "hour_ms"), CONSTRAINT "events_grouphour_accepted" CHECK ("accepted" >= 0));
INSERT INTO "new__events_grouphour" ("id", "fingerprint", "hour_ms", "accepted") SELECT "id", "fingerprint", "hour_ms", "accepted" FROM "events_grouphour";
DROP TABLE "events_grouphour";
ALTER TABLE "new__events_grouphour" RENAME TO "events_grouphour";
--
-- Create constraint events_groupshare_bucket on model groupshare
--
CREATE TABLE "new__events_groupshare" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "fingerprint" text NOT NULL, "facet" text NOT NULL, "name" text NOT NULL, "accepted" bigint NOT NULL, CONSTRAINT "events_groupshare_bucket" UNIQUE ("fingerprint", "facet", "name"));
INSERT INTO "new__events_groupshare" ("id", "fingerprint", "facet", "name", "accepted") SELECT "id", "fingerprint", "facet", "name", "accepted" FROM "events_groupshare";
DROP TABLE "events_groupshare";
ALTER TABLE "new__events_groupshare" RENAME TO "events_groupshare";
--
-- Create constraint events_groupshare_accepted on model groupshare
--
CREATE TABLE "new__events_groupshare" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "fingerprint" text NOT NULL, "facet" text NOT NULL, "name" text NOT NULL, "accepted" bigint NOT NULL, CONSTRAINT "events_groupshare_bucket" UNIQUE ("fingerprint", "facet", "name"), CONSTRAINT "events_groupshare_accepted" CHECK ("accepted" >= 0));
INSERT INTO "new__events_groupshare" ("id", "fingerprint", "facet", "name", "accepted") SELECT "id", "fingerprint", "facet", "name", "accepted" FROM "events_groupshare";
DROP TABLE "events_groupshare";
ALTER TABLE "new__events_groupshare" RENAME TO "events_groupshare";
--
-- Create constraint events_moderollup_bucket on model moderollup
--
CREATE TABLE "new__events_moderollup" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "day_ms" bigint NOT NULL, "event_type" text NOT NULL, "write_mode" smallint NOT NULL, "connected" smallint NOT NULL, "accepted" bigint NOT NULL, CONSTRAINT "events_moderollup_bucket" UNIQUE ("day_ms", "event_type", "write_mode", "connected"));
INSERT INTO "new__events_moderollup" ("id", "day_ms", "event_type", "write_mode", "connected", "accepted") SELECT "id", "day_ms", "event_type", "write_mode", "connected", "accepted" FROM "events_moderollup";
DROP TABLE "events_moderollup";
ALTER TABLE "new__events_moderollup" RENAME TO "events_moderollup";
--
-- Create constraint events_moderollup_accepted on model moderollup
--
CREATE TABLE "new__events_moderollup" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "day_ms" bigint NOT NULL, "event_type" text NOT NULL, "write_mode" smallint NOT NULL, "connected" smallint NOT NULL, "accepted" bigint NOT NULL, CONSTRAINT "events_moderollup_bucket" UNIQUE ("day_ms", "event_type", "write_mode", "connected"), CONSTRAINT "events_moderollup_accepted" CHECK ("accepted" >= 0));
INSERT INTO "new__events_moderollup" ("id", "day_ms", "event_type", "write_mode", "connected", "accepted") SELECT "id", "day_ms", "event_type", "write_mode", "connected", "accepted" FROM "events_moderollup";
DROP TABLE "events_moderollup";
ALTER TABLE "new__events_moderollup" RENAME TO "events_moderollup";
--
-- Create index events_release_first_seen on field(s) first_seen_ms of model release
--
CREATE INDEX "events_release_first_seen" ON "events_release" ("first_seen_ms");
COMMIT;

BEGIN;
--
-- Remove constraint events_failuregroup_status from model failuregroup
--
CREATE TABLE "new__events_failuregroup" ("fingerprint" text NOT NULL PRIMARY KEY, "algorithm" smallint NOT NULL, "event_type" text NOT NULL, "error_name" text NULL, "title" text NOT NULL, "frame" text NOT NULL, "accepted" bigint NOT NULL, "model_count" integer NOT NULL, "version_count" integer NOT NULL, "first_seen_ms" bigint NOT NULL, "last_seen_ms" bigint NOT NULL, "status" text NOT NULL, "fixed_in" text NULL, "muted_until_ms" bigint NULL, "decided_at_ms" bigint NULL, "decided_by_name" text NULL, "note" text NOT NULL, "regressed_at_ms" bigint NULL, "regressed_by" text NULL, "canonical" text NOT NULL, "noise" text NOT NULL, CONSTRAINT "events_failuregroup_accepted" CHECK ("accepted" >= 0));
INSERT INTO "new__events_failuregroup" ("fingerprint", "algorithm", "event_type", "error_name", "title", "frame", "accepted", "model_count", "version_count", "first_seen_ms", "last_seen_ms", "status", "fixed_in", "muted_until_ms", "decided_at_ms", "decided_by_name", "note", "regressed_at_ms", "regressed_by", "canonical", "noise") SELECT "fingerprint", "algorithm", "event_type", "error_name", "title", "frame", "accepted", "model_count", "version_count", "first_seen_ms", "last_seen_ms", "status", "fixed_in", "muted_until_ms", "decided_at_ms", "decided_by_name", "note", "regressed_at_ms", "regressed_by", "canonical", "noise" FROM "events_failuregroup";
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
-- Alter field status on failuregroup
--
-- (no-op)
--
-- Create constraint events_failuregroup_status on model failuregroup
--
CREATE TABLE "new__events_failuregroup" ("fingerprint" text NOT NULL PRIMARY KEY, "algorithm" smallint NOT NULL, "event_type" text NOT NULL, "error_name" text NULL, "title" text NOT NULL, "frame" text NOT NULL, "accepted" bigint NOT NULL, "model_count" integer NOT NULL, "version_count" integer NOT NULL, "first_seen_ms" bigint NOT NULL, "last_seen_ms" bigint NOT NULL, "status" text NOT NULL, "fixed_in" text NULL, "muted_until_ms" bigint NULL, "decided_at_ms" bigint NULL, "decided_by_name" text NULL, "note" text NOT NULL, "regressed_at_ms" bigint NULL, "regressed_by" text NULL, "canonical" text NOT NULL, "noise" text NOT NULL, CONSTRAINT "events_failuregroup_accepted" CHECK ("accepted" >= 0), CONSTRAINT "events_failuregroup_status" CHECK ("status" IN ('open', 'resolved', 'muted', 'expected')));
INSERT INTO "new__events_failuregroup" ("fingerprint", "algorithm", "event_type", "error_name", "title", "frame", "accepted", "model_count", "version_count", "first_seen_ms", "last_seen_ms", "status", "fixed_in", "muted_until_ms", "decided_at_ms", "decided_by_name", "note", "regressed_at_ms", "regressed_by", "canonical", "noise") SELECT "fingerprint", "algorithm", "event_type", "error_name", "title", "frame", "accepted", "model_count", "version_count", "first_seen_ms", "last_seen_ms", "status", "fixed_in", "muted_until_ms", "decided_at_ms", "decided_by_name", "note", "regressed_at_ms", "regressed_by", "canonical", "noise" FROM "events_failuregroup";
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
-- Add field uncounted_before_ms to failuregroup
--
ALTER TABLE "events_failuregroup" ADD COLUMN "uncounted_before_ms" bigint NULL;
--
-- Create model ExpectedRollup
--
CREATE TABLE "events_expectedrollup" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "fingerprint" text NOT NULL, "hour_ms" bigint NOT NULL, "event_type" text NOT NULL, "model" text NOT NULL, "app_version" text NOT NULL, "write_mode" smallint NOT NULL, "connected" smallint NOT NULL, "accepted" bigint NOT NULL, CONSTRAINT "events_expectedrollup_bucket" UNIQUE ("hour_ms", "fingerprint", "model", "app_version", "write_mode", "connected"), CONSTRAINT "events_expectedrollup_accepted" CHECK ("accepted" >= 0));
CREATE INDEX "events_expectedrollup_group" ON "events_expectedrollup" ("fingerprint", "hour_ms");
COMMIT;

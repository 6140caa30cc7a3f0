BEGIN;
--
-- Add field advice_text to failuregroup
--
CREATE TABLE "new__events_failuregroup" ("advice_text" text DEFAULT '' NOT NULL, "fingerprint" text NOT NULL PRIMARY KEY, "algorithm" smallint NOT NULL, "event_type" text NOT NULL, "error_name" text NULL, "title" text NOT NULL, "frame" text NOT NULL, "accepted" bigint NOT NULL, "model_count" integer NOT NULL, "version_count" integer NOT NULL, "first_seen_ms" bigint NOT NULL, "last_seen_ms" bigint NOT NULL, "status" text NOT NULL, "fixed_in" text NULL, "muted_until_ms" bigint NULL, "decided_at_ms" bigint NULL, "decided_by_name" text NULL, "note" text NOT NULL, "regressed_at_ms" bigint NULL, "regressed_by" text NULL, "canonical" text NOT NULL, "noise" text NOT NULL, "uncounted_before_ms" bigint NULL, CONSTRAINT "events_failuregroup_accepted" CHECK ("accepted" >= 0), CONSTRAINT "events_failuregroup_status" CHECK ("status" IN ('open', 'resolved', 'muted', 'expected')));
INSERT INTO "new__events_failuregroup" ("fingerprint", "algorithm", "event_type", "error_name", "title", "frame", "accepted", "model_count", "version_count", "first_seen_ms", "last_seen_ms", "status", "fixed_in", "muted_until_ms", "decided_at_ms", "decided_by_name", "note", "regressed_at_ms", "regressed_by", "canonical", "noise", "uncounted_before_ms") SELECT "fingerprint", "algorithm", "event_type", "error_name", "title", "frame", "accepted", "model_count", "version_count", "first_seen_ms", "last_seen_ms", "status", "fixed_in", "muted_until_ms", "decided_at_ms", "decided_by_name", "note", "regressed_at_ms", "regressed_by", "canonical", "noise", "uncounted_before_ms" FROM "events_failuregroup";
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
-- Add field advice_url to failuregroup
--
ALTER TABLE "events_failuregroup" ADD COLUMN "advice_url" text NULL;
--
-- Add field advised_at_ms to failuregroup
--
ALTER TABLE "events_failuregroup" ADD COLUMN "advised_at_ms" bigint NULL;
--
-- Add field advised_by_name to failuregroup
--
ALTER TABLE "events_failuregroup" ADD COLUMN "advised_by_name" text NULL;
--
-- Create constraint events_failuregroup_advice_text on model failuregroup
--
CREATE TABLE "new__events_failuregroup" ("fingerprint" text NOT NULL PRIMARY KEY, "algorithm" smallint NOT NULL, "event_type" text NOT NULL, "error_name" text NULL, "title" text NOT NULL, "frame" text NOT NULL, "accepted" bigint NOT NULL, "model_count" integer NOT NULL, "version_count" integer NOT NULL, "first_seen_ms" bigint NOT NULL, "last_seen_ms" bigint NOT NULL, "status" text NOT NULL, "fixed_in" text NULL, "muted_until_ms" bigint NULL, "decided_at_ms" bigint NULL, "decided_by_name" text NULL, "note" text NOT NULL, "regressed_at_ms" bigint NULL, "regressed_by" text NULL, "canonical" text NOT NULL, "noise" text NOT NULL, "uncounted_before_ms" bigint NULL, "advice_text" text DEFAULT '' NOT NULL, "advice_url" text NULL, "advised_at_ms" bigint NULL, "advised_by_name" text NULL, CONSTRAINT "events_failuregroup_accepted" CHECK ("accepted" >= 0), CONSTRAINT "events_failuregroup_status" CHECK ("status" IN ('open', 'resolved', 'muted', 'expected')), CONSTRAINT "events_failuregroup_advice_text" CHECK ((("advice_text" = '' AND "advice_url" IS NULL AND "advised_at_ms" IS NULL) OR (NOT ("advice_text" = '') AND LENGTH("advice_text") <= 280 AND "advised_at_ms" IS NOT NULL))));
INSERT INTO "new__events_failuregroup" ("fingerprint", "algorithm", "event_type", "error_name", "title", "frame", "accepted", "model_count", "version_count", "first_seen_ms", "last_seen_ms", "status", "fixed_in", "muted_until_ms", "decided_at_ms", "decided_by_name", "note", "regressed_at_ms", "regressed_by", "canonical", "noise", "uncounted_before_ms", "advice_text", "advice_url", "advised_at_ms", "advised_by_name") SELECT "fingerprint", "algorithm", "event_type", "error_name", "title", "frame", "accepted", "model_count", "version_count", "first_seen_ms", "last_seen_ms", "status", "fixed_in", "muted_until_ms", "decided_at_ms", "decided_by_name", "note", "regressed_at_ms", "regressed_by", "canonical", "noise", "uncounted_before_ms", "advice_text", "advice_url", "advised_at_ms", "advised_by_name" FROM "events_failuregroup";
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
-- Create constraint events_failuregroup_advice_url on model failuregroup
--
CREATE TABLE "new__events_failuregroup" ("fingerprint" text NOT NULL PRIMARY KEY, "algorithm" smallint NOT NULL, "event_type" text NOT NULL, "error_name" text NULL, "title" text NOT NULL, "frame" text NOT NULL, "accepted" bigint NOT NULL, "model_count" integer NOT NULL, "version_count" integer NOT NULL, "first_seen_ms" bigint NOT NULL, "last_seen_ms" bigint NOT NULL, "status" text NOT NULL, "fixed_in" text NULL, "muted_until_ms" bigint NULL, "decided_at_ms" bigint NULL, "decided_by_name" text NULL, "note" text NOT NULL, "regressed_at_ms" bigint NULL, "regressed_by" text NULL, "canonical" text NOT NULL, "noise" text NOT NULL, "uncounted_before_ms" bigint NULL, "advice_text" text DEFAULT '' NOT NULL, "advice_url" text NULL, "advised_at_ms" bigint NULL, "advised_by_name" text NULL, CONSTRAINT "events_failuregroup_accepted" CHECK ("accepted" >= 0), CONSTRAINT "events_failuregroup_status" CHECK ("status" IN ('open', 'resolved', 'muted', 'expected')), CONSTRAINT "events_failuregroup_advice_text" CHECK ((("advice_text" = '' AND "advice_url" IS NULL AND "advised_at_ms" IS NULL) OR (NOT ("advice_text" = '') AND LENGTH("advice_text") <= 280 AND "advised_at_ms" IS NOT NULL))), CONSTRAINT "events_failuregroup_advice_url" CHECK (("advice_url" IS NULL OR (LENGTH("advice_url") <= 2000 AND "advice_url" LIKE 'https://%' ESCAPE '\'))));
INSERT INTO "new__events_failuregroup" ("fingerprint", "algorithm", "event_type", "error_name", "title", "frame", "accepted", "model_count", "version_count", "first_seen_ms", "last_seen_ms", "status", "fixed_in", "muted_until_ms", "decided_at_ms", "decided_by_name", "note", "regressed_at_ms", "regressed_by", "canonical", "noise", "uncounted_before_ms", "advice_text", "advice_url", "advised_at_ms", "advised_by_name") SELECT "fingerprint", "algorithm", "event_type", "error_name", "title", "frame", "accepted", "model_count", "version_count", "first_seen_ms", "last_seen_ms", "status", "fixed_in", "muted_until_ms", "decided_at_ms", "decided_by_name", "note", "regressed_at_ms", "regressed_by", "canonical", "noise", "uncounted_before_ms", "advice_text", "advice_url", "advised_at_ms", "advised_by_name" FROM "events_failuregroup";
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
-- Create model AdviceDay
--
CREATE TABLE "events_adviceday" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "fingerprint" text NOT NULL, "day_ms" bigint NOT NULL, "delivered" bigint NOT NULL, CONSTRAINT "events_adviceday_bucket" UNIQUE ("fingerprint", "day_ms"), CONSTRAINT "events_adviceday_delivered" CHECK ("delivered" >= 1));
COMMIT;

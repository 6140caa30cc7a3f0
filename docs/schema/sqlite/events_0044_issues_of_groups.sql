BEGIN;
--
-- Add field issue_url to failuregroup
--
ALTER TABLE "events_failuregroup" ADD COLUMN "issue_url" text NULL;
--
-- Add field gave_issue to formergroup
--
CREATE TABLE "new__events_formergroup" ("fingerprint" text NOT NULL PRIMARY KEY, "joined" text NOT NULL, "is_merged" bool NOT NULL, "gave_decision" bool NOT NULL, "row" text NOT NULL CHECK ((JSON_VALID("row") OR "row" IS NULL)), "moved_at_ms" bigint NOT NULL, "moved_by_name" text NULL, "gave_issue" bool DEFAULT 0 NOT NULL, CONSTRAINT "events_formergroup_joins_another" CHECK (NOT ("joined" = ("fingerprint"))));
INSERT INTO "new__events_formergroup" ("fingerprint", "joined", "is_merged", "gave_decision", "row", "moved_at_ms", "moved_by_name") SELECT "fingerprint", "joined", "is_merged", "gave_decision", "row", "moved_at_ms", "moved_by_name" FROM "events_formergroup";
DROP TABLE "events_formergroup";
ALTER TABLE "new__events_formergroup" RENAME TO "events_formergroup";
CREATE INDEX "events_formergroup_joined" ON "events_formergroup" ("joined");
--
-- Create constraint events_failuregroup_issue_url on model failuregroup
--
CREATE TABLE "new__events_failuregroup" ("fingerprint" text NOT NULL PRIMARY KEY, "algorithm" smallint NOT NULL, "event_type" text NOT NULL, "error_name" text NULL, "title" text NOT NULL, "frame" text NOT NULL, "accepted" bigint NOT NULL, "model_count" integer NOT NULL, "version_count" integer NOT NULL, "first_seen_ms" bigint NOT NULL, "last_seen_ms" bigint NOT NULL, "status" text NOT NULL, "fixed_in" text NULL, "muted_until_ms" bigint NULL, "decided_at_ms" bigint NULL, "decided_by_name" text NULL, "note" text NOT NULL, "regressed_at_ms" bigint NULL, "regressed_by" text NULL, "canonical" text NOT NULL, "noise" text NOT NULL, "uncounted_before_ms" bigint NULL, "advice_text" text DEFAULT '' NOT NULL, "advice_url" text NULL, "advised_at_ms" bigint NULL, "advised_by_name" text NULL, "unfixed_at_ms" bigint NULL, "assigned_to_id" integer NULL REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED, "assigned_at_ms" bigint NULL, "assigned_by_name" text NULL, "issue_url" text NULL, CONSTRAINT "events_failuregroup_accepted" CHECK ("accepted" >= 0), CONSTRAINT "events_failuregroup_status" CHECK ("status" IN ('open', 'resolved', 'muted', 'expected')), CONSTRAINT "events_failuregroup_advice_text" CHECK ((("advice_text" = '' AND "advice_url" IS NULL AND "advised_at_ms" IS NULL) OR (NOT ("advice_text" = '') AND LENGTH("advice_text") <= 280 AND "advised_at_ms" IS NOT NULL))), CONSTRAINT "events_failuregroup_advice_url" CHECK (("advice_url" IS NULL OR (LENGTH("advice_url") <= 2000 AND "advice_url" LIKE 'https://%' ESCAPE '\'))), CONSTRAINT "events_failuregroup_issue_url" CHECK (("issue_url" IS NULL OR (LENGTH("issue_url") <= 500 AND "issue_url" LIKE 'https://%' ESCAPE '\'))));
INSERT INTO "new__events_failuregroup" ("fingerprint", "algorithm", "event_type", "error_name", "title", "frame", "accepted", "model_count", "version_count", "first_seen_ms", "last_seen_ms", "status", "fixed_in", "muted_until_ms", "decided_at_ms", "decided_by_name", "note", "regressed_at_ms", "regressed_by", "canonical", "noise", "uncounted_before_ms", "advice_text", "advice_url", "advised_at_ms", "advised_by_name", "unfixed_at_ms", "assigned_to_id", "assigned_at_ms", "assigned_by_name", "issue_url") SELECT "fingerprint", "algorithm", "event_type", "error_name", "title", "frame", "accepted", "model_count", "version_count", "first_seen_ms", "last_seen_ms", "status", "fixed_in", "muted_until_ms", "decided_at_ms", "decided_by_name", "note", "regressed_at_ms", "regressed_by", "canonical", "noise", "uncounted_before_ms", "advice_text", "advice_url", "advised_at_ms", "advised_by_name", "unfixed_at_ms", "assigned_to_id", "assigned_at_ms", "assigned_by_name", "issue_url" FROM "events_failuregroup";
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
CREATE INDEX "events_group_unfixed" ON "events_failuregroup" ("unfixed_at_ms") WHERE "unfixed_at_ms" IS NOT NULL;
CREATE INDEX "events_group_assigned" ON "events_failuregroup" ("assigned_to_id") WHERE "assigned_to_id" IS NOT NULL;
COMMIT;

BEGIN;
--
-- Create model Correction
--
CREATE TABLE "events_correction" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "since_ms" bigint NOT NULL, "until_ms" bigint NOT NULL, "model" text NULL, "app_version" text NULL, "source" text NULL, "reason" text NOT NULL, "made_by_name" text NOT NULL, "made_at" datetime NOT NULL, "matched" bigint NOT NULL, "voided" bigint NOT NULL, "finished_at" datetime NULL, "restored" bigint NOT NULL, "undo_reason" text NOT NULL, "undone_by_name" text NOT NULL, "undone_at" datetime NULL);
--
-- Create model CorrectionShare
--
CREATE TABLE "events_correctionshare" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "hour_ms" bigint NOT NULL, "model" text NOT NULL, "app_version" text NOT NULL, "write_mode" smallint NOT NULL, "connected" smallint NOT NULL, "source" text NOT NULL, "first_ms" bigint NOT NULL, "voided" bigint NOT NULL, "restored" bigint NOT NULL);
--
-- Add field correction to event
--
ALTER TABLE "telemetry_events" ADD COLUMN "correction" bigint NULL;
--
-- Alter field kind on auditentry
--
-- (no-op)
--
-- Create index telemetry_events_void on field(s) correction, received_at_ms, id of model event
--
CREATE INDEX "telemetry_events_void" ON "telemetry_events" ("correction", "received_at_ms", "id") WHERE "correction" IS NOT NULL;
--
-- Create constraint events_correction_restored on model correction
--
CREATE TABLE "new__events_correction" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "since_ms" bigint NOT NULL, "until_ms" bigint NOT NULL, "model" text NULL, "app_version" text NULL, "source" text NULL, "reason" text NOT NULL, "made_by_name" text NOT NULL, "made_at" datetime NOT NULL, "matched" bigint NOT NULL, "voided" bigint NOT NULL, "finished_at" datetime NULL, "restored" bigint NOT NULL, "undo_reason" text NOT NULL, "undone_by_name" text NOT NULL, "undone_at" datetime NULL, CONSTRAINT "events_correction_restored" CHECK (("restored" >= 0 AND "restored" <= ("voided"))));
INSERT INTO "new__events_correction" ("id", "since_ms", "until_ms", "model", "app_version", "source", "reason", "made_by_name", "made_at", "matched", "voided", "finished_at", "restored", "undo_reason", "undone_by_name", "undone_at") SELECT "id", "since_ms", "until_ms", "model", "app_version", "source", "reason", "made_by_name", "made_at", "matched", "voided", "finished_at", "restored", "undo_reason", "undone_by_name", "undone_at" FROM "events_correction";
DROP TABLE "events_correction";
ALTER TABLE "new__events_correction" RENAME TO "events_correction";
--
-- Add field correction to correctionshare
--
CREATE TABLE "new__events_correctionshare" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "hour_ms" bigint NOT NULL, "model" text NOT NULL, "app_version" text NOT NULL, "write_mode" smallint NOT NULL, "connected" smallint NOT NULL, "source" text NOT NULL, "first_ms" bigint NOT NULL, "voided" bigint NOT NULL, "restored" bigint NOT NULL, "correction_id" bigint NOT NULL REFERENCES "events_correction" ("id") DEFERRABLE INITIALLY DEFERRED);
INSERT INTO "new__events_correctionshare" ("id", "hour_ms", "model", "app_version", "write_mode", "connected", "source", "first_ms", "voided", "restored", "correction_id") SELECT "id", "hour_ms", "model", "app_version", "write_mode", "connected", "source", "first_ms", "voided", "restored", NULL FROM "events_correctionshare";
DROP TABLE "events_correctionshare";
ALTER TABLE "new__events_correctionshare" RENAME TO "events_correctionshare";
--
-- Create constraint events_correctionshare_key on model correctionshare
--
CREATE TABLE "new__events_correctionshare" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "hour_ms" bigint NOT NULL, "model" text NOT NULL, "app_version" text NOT NULL, "write_mode" smallint NOT NULL, "connected" smallint NOT NULL, "source" text NOT NULL, "first_ms" bigint NOT NULL, "voided" bigint NOT NULL, "restored" bigint NOT NULL, "correction_id" bigint NOT NULL REFERENCES "events_correction" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "events_correctionshare_key" UNIQUE ("correction_id", "hour_ms", "model", "app_version", "write_mode", "connected", "source"));
INSERT INTO "new__events_correctionshare" ("id", "hour_ms", "model", "app_version", "write_mode", "connected", "source", "first_ms", "voided", "restored", "correction_id") SELECT "id", "hour_ms", "model", "app_version", "write_mode", "connected", "source", "first_ms", "voided", "restored", "correction_id" FROM "events_correctionshare";
DROP TABLE "events_correctionshare";
ALTER TABLE "new__events_correctionshare" RENAME TO "events_correctionshare";
--
-- Create constraint events_correctionshare_restored on model correctionshare
--
CREATE TABLE "new__events_correctionshare" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "hour_ms" bigint NOT NULL, "model" text NOT NULL, "app_version" text NOT NULL, "write_mode" smallint NOT NULL, "connected" smallint NOT NULL, "source" text NOT NULL, "first_ms" bigint NOT NULL, "voided" bigint NOT NULL, "restored" bigint NOT NULL, "correction_id" bigint NOT NULL REFERENCES "events_correction" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "events_correctionshare_key" UNIQUE ("correction_id", "hour_ms", "model", "app_version", "write_mode", "connected", "source"), CONSTRAINT "events_correctionshare_restored" CHECK (("restored" >= 0 AND "restored" <= ("voided"))));
INSERT INTO "new__events_correctionshare" ("id", "hour_ms", "model", "app_version", "write_mode", "connected", "source", "first_ms", "voided", "restored", "correction_id") SELECT "id", "hour_ms", "model", "app_version", "write_mode", "connected", "source", "first_ms", "voided", "restored", "correction_id" FROM "events_correctionshare";
DROP TABLE "events_correctionshare";
ALTER TABLE "new__events_correctionshare" RENAME TO "events_correctionshare";
--
-- Raw Python operation
--
-- THIS OPERATION CANNOT BE WRITTEN AS SQL
COMMIT;

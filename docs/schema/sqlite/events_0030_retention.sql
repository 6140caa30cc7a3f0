BEGIN;
--
-- Create model RetentionDefault
--
CREATE TABLE "events_retentiondefault" ("id" smallint NOT NULL PRIMARY KEY, "days" smallint NULL, CONSTRAINT "events_retentiondefault_one_row" CHECK ("id" = 1));
--
-- Add field of_types to retentionmark
--
ALTER TABLE "events_retentionmark" ADD COLUMN "of_types" text NULL CHECK ((JSON_VALID("of_types") OR "of_types" IS NULL));
--
-- Add field clock_confirmed_ms to siteday
--
ALTER TABLE "events_siteday" ADD COLUMN "clock_confirmed_ms" bigint NULL;
--
-- Create index telemetry_events_kept on field(s) source, event_type, received_at_ms of model event
--
CREATE INDEX "telemetry_events_kept" ON "telemetry_events" ("source", "event_type", "received_at_ms") WHERE ("source" = 'import' OR "source" = 'demo');
COMMIT;

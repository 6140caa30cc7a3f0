BEGIN;
--
-- Add field merged_from to event
--
ALTER TABLE "telemetry_events" ADD COLUMN "merged_from" text NULL;
--
-- Add field merges to lifetimetotal
--
ALTER TABLE "events_lifetimetotal" ADD COLUMN "merges" bigint DEFAULT 0 NOT NULL;
--
-- Create model FormerGroup
--
CREATE TABLE "events_formergroup" ("fingerprint" text NOT NULL PRIMARY KEY, "joined" text NOT NULL, "is_merged" boolean NOT NULL, "gave_decision" boolean NOT NULL, "row" jsonb NOT NULL, "moved_at_ms" bigint NOT NULL, "moved_by_name" text NULL, CONSTRAINT "events_formergroup_joins_another" CHECK (NOT ("joined" = ("fingerprint"))));
CREATE INDEX "events_formergroup_fingerprint_0abae8ff_like" ON "events_formergroup" ("fingerprint" text_pattern_ops);
CREATE INDEX "events_formergroup_joined" ON "events_formergroup" ("joined");
COMMIT;

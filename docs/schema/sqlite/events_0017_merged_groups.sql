BEGIN;
--
-- Add field merged_from to event
--
ALTER TABLE "telemetry_events" ADD COLUMN "merged_from" text NULL;
--
-- Add field merges to lifetimetotal
--
CREATE TABLE "new__events_lifetimetotal" ("event_type" text NOT NULL PRIMARY KEY, "accepted" bigint NOT NULL, "baseline" bigint NOT NULL, "last_received_at_ms" bigint NOT NULL, "merges" bigint DEFAULT 0 NOT NULL, CONSTRAINT "events_lifetimetotal_accepted" CHECK ("accepted" >= 0), CONSTRAINT "events_lifetimetotal_baseline" CHECK ("baseline" >= 0));
INSERT INTO "new__events_lifetimetotal" ("event_type", "accepted", "baseline", "last_received_at_ms") SELECT "event_type", "accepted", "baseline", "last_received_at_ms" FROM "events_lifetimetotal";
DROP TABLE "events_lifetimetotal";
ALTER TABLE "new__events_lifetimetotal" RENAME TO "events_lifetimetotal";
--
-- Create model FormerGroup
--
CREATE TABLE "events_formergroup" ("fingerprint" text NOT NULL PRIMARY KEY, "joined" text NOT NULL, "is_merged" bool NOT NULL, "gave_decision" bool NOT NULL, "row" text NOT NULL CHECK ((JSON_VALID("row") OR "row" IS NULL)), "moved_at_ms" bigint NOT NULL, "moved_by_name" text NULL, CONSTRAINT "events_formergroup_joins_another" CHECK (NOT ("joined" = ("fingerprint"))));
CREATE INDEX "events_formergroup_joined" ON "events_formergroup" ("joined");
COMMIT;

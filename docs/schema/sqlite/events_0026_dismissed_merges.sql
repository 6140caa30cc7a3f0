BEGIN;
--
-- Create model DismissedMerge
--
CREATE TABLE "events_dismissedmerge" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "fingerprint" text NOT NULL, "other" text NOT NULL, "dismissed_at_ms" bigint NOT NULL, "dismissed_by_name" text NOT NULL, CONSTRAINT "events_dismissedmerge_pair" UNIQUE ("fingerprint", "other"), CONSTRAINT "events_dismissedmerge_order" CHECK ("fingerprint" < ("other")));
CREATE INDEX "events_dismissedmerge_other" ON "events_dismissedmerge" ("other");
COMMIT;

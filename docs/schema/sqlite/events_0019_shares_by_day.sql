BEGIN;
--
-- Add field day_ms to groupshare
--
CREATE TABLE "new__events_groupshare" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "day_ms" bigint NOT NULL, "fingerprint" text NOT NULL, "facet" text NOT NULL, "name" text NOT NULL, "accepted" bigint NOT NULL, CONSTRAINT "events_groupshare_bucket" UNIQUE ("fingerprint", "facet", "name"), CONSTRAINT "events_groupshare_accepted" CHECK ("accepted" >= 0));
INSERT INTO "new__events_groupshare" ("id", "fingerprint", "facet", "name", "accepted", "day_ms") SELECT "id", "fingerprint", "facet", "name", "accepted", 0 FROM "events_groupshare";
DROP TABLE "events_groupshare";
ALTER TABLE "new__events_groupshare" RENAME TO "events_groupshare";
--
-- Remove constraint events_groupshare_bucket from model groupshare
--
CREATE TABLE "new__events_groupshare" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "fingerprint" text NOT NULL, "facet" text NOT NULL, "name" text NOT NULL, "accepted" bigint NOT NULL, "day_ms" bigint NOT NULL, CONSTRAINT "events_groupshare_accepted" CHECK ("accepted" >= 0));
INSERT INTO "new__events_groupshare" ("id", "fingerprint", "facet", "name", "accepted", "day_ms") SELECT "id", "fingerprint", "facet", "name", "accepted", "day_ms" FROM "events_groupshare";
DROP TABLE "events_groupshare";
ALTER TABLE "new__events_groupshare" RENAME TO "events_groupshare";
--
-- Create constraint events_groupshare_bucket on model groupshare
--
CREATE TABLE "new__events_groupshare" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "fingerprint" text NOT NULL, "facet" text NOT NULL, "name" text NOT NULL, "accepted" bigint NOT NULL, "day_ms" bigint NOT NULL, CONSTRAINT "events_groupshare_accepted" CHECK ("accepted" >= 0), CONSTRAINT "events_groupshare_bucket" UNIQUE ("fingerprint", "facet", "name", "day_ms"));
INSERT INTO "new__events_groupshare" ("id", "fingerprint", "facet", "name", "accepted", "day_ms") SELECT "id", "fingerprint", "facet", "name", "accepted", "day_ms" FROM "events_groupshare";
DROP TABLE "events_groupshare";
ALTER TABLE "new__events_groupshare" RENAME TO "events_groupshare";
COMMIT;

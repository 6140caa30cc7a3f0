BEGIN;
--
-- Create model Arrival
--
CREATE TABLE "events_arrival" ("slot" integer NOT NULL PRIMARY KEY, "key" text NOT NULL, "count" integer NOT NULL);
--
-- Create model KnownName
--
CREATE TABLE "events_knownname" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "facet" text NOT NULL, "name" text NOT NULL, "first_day_ms" bigint NOT NULL, "last_day_ms" bigint NOT NULL, CONSTRAINT "events_knownname_name" UNIQUE ("facet", "name"));
--
-- Add field is_release to release
--
CREATE TABLE "new__events_release" ("app_version" text NOT NULL PRIMARY KEY, "first_seen_ms" bigint NOT NULL, "is_release" bool DEFAULT 0 NOT NULL);
INSERT INTO "new__events_release" ("app_version", "first_seen_ms") SELECT "app_version", "first_seen_ms" FROM "events_release";
DROP TABLE "events_release";
ALTER TABLE "new__events_release" RENAME TO "events_release";
CREATE INDEX "events_release_first_seen" ON "events_release" ("first_seen_ms");
--
-- Add field events to release
--
CREATE TABLE "new__events_release" ("app_version" text NOT NULL PRIMARY KEY, "first_seen_ms" bigint NOT NULL, "is_release" bool DEFAULT 0 NOT NULL, "events" integer DEFAULT 0 NOT NULL);
INSERT INTO "new__events_release" ("app_version", "first_seen_ms", "is_release") SELECT "app_version", "first_seen_ms", "is_release" FROM "events_release";
DROP TABLE "events_release";
ALTER TABLE "new__events_release" RENAME TO "events_release";
CREATE INDEX "events_release_first_seen" ON "events_release" ("first_seen_ms");
--
-- Add field session_marks to release
--
CREATE TABLE "new__events_release" ("app_version" text NOT NULL PRIMARY KEY, "first_seen_ms" bigint NOT NULL, "is_release" bool DEFAULT 0 NOT NULL, "events" integer DEFAULT 0 NOT NULL, "session_marks" text DEFAULT '' NOT NULL);
INSERT INTO "new__events_release" ("app_version", "first_seen_ms", "is_release", "events") SELECT "app_version", "first_seen_ms", "is_release", "events" FROM "events_release";
DROP TABLE "events_release";
ALTER TABLE "new__events_release" RENAME TO "events_release";
CREATE INDEX "events_release_first_seen" ON "events_release" ("first_seen_ms");
COMMIT;

BEGIN;
--
-- Create model SiteDay
--
CREATE TABLE "events_siteday" ("seen_on" date NOT NULL PRIMARY KEY, "started_at_ms" bigint NULL, "database_bytes" bigint NOT NULL);
COMMIT;

BEGIN;
--
-- Create model RefusedHost
--
CREATE TABLE "events_refusedhost" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "seen_on" date NOT NULL, "host" text NOT NULL, "count" bigint NOT NULL, CONSTRAINT "events_refusedhost_day_host" UNIQUE ("seen_on", "host"));
COMMIT;

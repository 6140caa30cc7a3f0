BEGIN;
--
-- Create model DailyExpected
--
CREATE TABLE "events_dailyexpected" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "day_ms" bigint NOT NULL, "event_type" text NOT NULL, "model" text NOT NULL, "app_version" text NOT NULL, "accepted" bigint NOT NULL, CONSTRAINT "events_dailyexpected_bucket" UNIQUE ("day_ms", "event_type", "model", "app_version"), CONSTRAINT "events_dailyexpected_accepted" CHECK ("accepted" > 0));
COMMIT;

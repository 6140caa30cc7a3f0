BEGIN;
--
-- Create model PlaceRule
--
CREATE TABLE "events_placerule" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "fingerprint" text NOT NULL, "position" text NOT NULL, "joined" text NOT NULL, "frame" text NOT NULL, CONSTRAINT "events_placerule_position" UNIQUE ("fingerprint", "position"), CONSTRAINT "events_placerule_joins_another" CHECK (NOT ("joined" = ("fingerprint"))));
COMMIT;

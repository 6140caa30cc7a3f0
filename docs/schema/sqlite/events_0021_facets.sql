BEGIN;
--
-- Alter field facet on groupshare
--
-- (no-op)
--
-- Create model FacetRollup
--
CREATE TABLE "events_facetrollup" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "day_ms" bigint NOT NULL, "event_type" text NOT NULL, "facet" text NOT NULL, "name" text NOT NULL, "accepted" bigint NOT NULL, CONSTRAINT "events_facetrollup_bucket" UNIQUE ("day_ms", "event_type", "facet", "name"), CONSTRAINT "events_facetrollup_accepted" CHECK ("accepted" >= 0));
--
-- Create model CorrectionFacet
--
CREATE TABLE "events_correctionfacet" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "day_ms" bigint NOT NULL, "facet" text NOT NULL, "name" text NOT NULL, "voided" bigint NOT NULL, "restored" bigint NOT NULL, "correction_id" bigint NOT NULL REFERENCES "events_correction" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "events_correctionfacet_key" UNIQUE ("correction_id", "day_ms", "facet", "name"), CONSTRAINT "events_correctionfacet_restored" CHECK (("restored" >= 0 AND "restored" <= ("voided"))));
COMMIT;

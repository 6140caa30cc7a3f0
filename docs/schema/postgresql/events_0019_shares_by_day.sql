BEGIN;
--
-- Add field day_ms to groupshare
--
ALTER TABLE "events_groupshare" ADD COLUMN "day_ms" bigint DEFAULT 0 NOT NULL;
ALTER TABLE "events_groupshare" ALTER COLUMN "day_ms" DROP DEFAULT;
--
-- Remove constraint events_groupshare_bucket from model groupshare
--
ALTER TABLE "events_groupshare" DROP CONSTRAINT "events_groupshare_bucket";
--
-- Create constraint events_groupshare_bucket on model groupshare
--
ALTER TABLE "events_groupshare" ADD CONSTRAINT "events_groupshare_bucket" UNIQUE ("fingerprint", "facet", "name", "day_ms");
COMMIT;

BEGIN;
--
-- Add field last_used_at to ingesttoken
--
ALTER TABLE "events_ingesttoken" ADD COLUMN "last_used_at" datetime NULL;
COMMIT;

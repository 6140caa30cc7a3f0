BEGIN;
--
-- Change Meta options on ingesttoken
--
-- (no-op)
--
-- Add field rate to ingesttoken
--
ALTER TABLE "events_ingesttoken" ADD COLUMN "rate" text DEFAULT '' NOT NULL;
--
-- Create constraint events_ingesttoken_has_scope on model ingesttoken
--
ALTER TABLE "events_ingesttoken" ADD CONSTRAINT "events_ingesttoken_has_scope" CHECK (NOT ("scopes" = ''));
--
-- Raw Python operation
--
-- THIS OPERATION CANNOT BE WRITTEN AS SQL
COMMIT;

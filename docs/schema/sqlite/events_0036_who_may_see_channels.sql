BEGIN;
--
-- Add field test_requested_ms to alertchannel
--
ALTER TABLE "events_alertchannel" ADD COLUMN "test_requested_ms" bigint NULL;
--
-- Raw Python operation
--
-- THIS OPERATION CANNOT BE WRITTEN AS SQL
COMMIT;

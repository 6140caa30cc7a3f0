BEGIN;
--
-- Create proxy model RecentFailure
--
-- (no-op)
--
-- Change Meta options on counterbaseline
--
-- (no-op)
COMMIT;

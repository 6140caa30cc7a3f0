BEGIN;
--
-- Remove index telemetry_events_session from event
--
DROP INDEX IF EXISTS "telemetry_events_session";
COMMIT;

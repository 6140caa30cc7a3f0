BEGIN;
--
-- Remove index telemetry_events_session from event
--
DROP INDEX "telemetry_events_session";
COMMIT;

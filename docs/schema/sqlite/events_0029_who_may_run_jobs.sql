BEGIN;
--
-- Change Meta options on jobstate
--
-- (no-op)
--
-- Alter field kind on auditentry
--
-- (no-op)
--
-- Raw Python operation
--
-- THIS OPERATION CANNOT BE WRITTEN AS SQL
COMMIT;

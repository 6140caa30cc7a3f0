BEGIN;
--
-- Add field copied_ms to backup
--
ALTER TABLE "events_backup" ADD COLUMN "copied_ms" bigint NULL;
COMMIT;

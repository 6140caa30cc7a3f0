BEGIN;
--
-- Add field session_key to clientlog
--
ALTER TABLE "client_logs" ADD COLUMN "session_key" text DEFAULT '' NOT NULL;
COMMIT;

BEGIN;
--
-- Add field imported to clientlog
--
ALTER TABLE "client_logs" ADD COLUMN "imported" boolean DEFAULT false NOT NULL;
COMMIT;

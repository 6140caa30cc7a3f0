BEGIN;
--
-- Add field arrived to clientlog
--
ALTER TABLE "client_logs" ADD COLUMN "arrived" boolean DEFAULT false NOT NULL;
--
-- Add field sent_to_event to clientlog
--
ALTER TABLE "client_logs" ADD COLUMN "sent_to_event" boolean DEFAULT false NOT NULL;
--
-- Add field refused_fields to clientlog
--
ALTER TABLE "client_logs" ADD COLUMN "refused_fields" text DEFAULT '' NOT NULL;
--
-- Add field arrived to legacycount
--
ALTER TABLE "legacy_legacycount" ADD COLUMN "arrived" boolean DEFAULT false NOT NULL;
--
-- Add field sent_to_event to legacycount
--
ALTER TABLE "legacy_legacycount" ADD COLUMN "sent_to_event" boolean DEFAULT false NOT NULL;
COMMIT;

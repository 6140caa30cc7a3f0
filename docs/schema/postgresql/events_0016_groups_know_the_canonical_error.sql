BEGIN;
--
-- Add field canonical to failuregroup
--
ALTER TABLE "events_failuregroup" ADD COLUMN "canonical" text DEFAULT '' NOT NULL;
ALTER TABLE "events_failuregroup" ALTER COLUMN "canonical" DROP DEFAULT;
--
-- Add field noise to failuregroup
--
ALTER TABLE "events_failuregroup" ADD COLUMN "noise" text DEFAULT '' NOT NULL;
ALTER TABLE "events_failuregroup" ALTER COLUMN "noise" DROP DEFAULT;
COMMIT;

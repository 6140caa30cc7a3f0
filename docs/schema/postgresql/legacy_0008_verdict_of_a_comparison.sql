BEGIN;
--
-- Add field verdict to parityrun
--
ALTER TABLE "legacy_parityrun" ADD COLUMN "verdict" text DEFAULT '' NOT NULL;
COMMIT;

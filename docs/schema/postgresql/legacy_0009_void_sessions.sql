BEGIN;
--
-- Add field added_by_correction to legacycount
--
ALTER TABLE "legacy_legacycount" ADD COLUMN "added_by_correction" boolean DEFAULT false NOT NULL;
--
-- Add field correction to legacycount
--
ALTER TABLE "legacy_legacycount" ADD COLUMN "correction" bigint NULL;
--
-- Create index legacy_count_void on field(s) correction of model legacycount
--
CREATE INDEX "legacy_count_void" ON "legacy_legacycount" ("correction") WHERE "correction" IS NOT NULL;
COMMIT;

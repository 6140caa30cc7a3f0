BEGIN;
--
-- Add field added_by_correction to legacycount
--
CREATE TABLE "new__legacy_legacycount" ("added_by_correction" bool DEFAULT 0 NOT NULL, "session_id" text NOT NULL PRIMARY KEY, "counted_at_ms" bigint NOT NULL, "in_stream" bool NOT NULL, "arrived" bool DEFAULT 0 NOT NULL, "sent_to_event" bool DEFAULT 0 NOT NULL);
INSERT INTO "new__legacy_legacycount" ("session_id", "counted_at_ms", "in_stream", "arrived", "sent_to_event") SELECT "session_id", "counted_at_ms", "in_stream", "arrived", "sent_to_event" FROM "legacy_legacycount";
DROP TABLE "legacy_legacycount";
ALTER TABLE "new__legacy_legacycount" RENAME TO "legacy_legacycount";
CREATE INDEX "legacy_count_counted_at" ON "legacy_legacycount" ("counted_at_ms");
CREATE INDEX "legacy_count_not_in_stream" ON "legacy_legacycount" ("session_id") WHERE NOT "in_stream";
--
-- Add field correction to legacycount
--
ALTER TABLE "legacy_legacycount" ADD COLUMN "correction" bigint NULL;
--
-- Create index legacy_count_void on field(s) correction of model legacycount
--
CREATE INDEX "legacy_count_void" ON "legacy_legacycount" ("correction") WHERE "correction" IS NOT NULL;
COMMIT;

BEGIN;
--
-- Add field scopes to ingesttoken
--
CREATE TABLE "new__events_ingesttoken" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "scopes" text DEFAULT 'ingest' NOT NULL, "name" text NOT NULL UNIQUE, "created_at" datetime NOT NULL, "expires_at" datetime NULL, "revoked_at" datetime NULL, "last_used_at" datetime NULL);
INSERT INTO "new__events_ingesttoken" ("id", "name", "created_at", "expires_at", "revoked_at", "last_used_at") SELECT "id", "name", "created_at", "expires_at", "revoked_at", "last_used_at" FROM "events_ingesttoken";
DROP TABLE "events_ingesttoken";
ALTER TABLE "new__events_ingesttoken" RENAME TO "events_ingesttoken";
--
-- Alter field kind on auditentry
--
-- (no-op)
--
-- Create model SourceMap
--
CREATE TABLE "events_sourcemap" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "app_version" text NOT NULL, "file" text NOT NULL, "digest" text NOT NULL, "bytes" integer NOT NULL, "sources" integer NOT NULL, "uploaded_at_ms" bigint NOT NULL, "uploaded_by_name" text NOT NULL, "last_used_at_ms" bigint NULL, "content" BLOB NOT NULL, CONSTRAINT "events_sourcemap_file" UNIQUE ("app_version", "file"), CONSTRAINT "events_sourcemap_sizes" CHECK (("bytes" > 0 AND "sources" >= 0)));
--
-- Raw Python operation
--
-- THIS OPERATION CANNOT BE WRITTEN AS SQL
CREATE INDEX "events_sourcemap_newest" ON "events_sourcemap" ("file", "uploaded_at_ms");
CREATE INDEX "events_sourcemap_version" ON "events_sourcemap" ("app_version", "uploaded_at_ms");
COMMIT;

BEGIN;
--
-- Change Meta options on ingesttoken
--
-- (no-op)
--
-- Add field rate to ingesttoken
--
CREATE TABLE "new__events_ingesttoken" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "rate" text DEFAULT '' NOT NULL, "name" text NOT NULL UNIQUE, "created_at" datetime NOT NULL, "expires_at" datetime NULL, "revoked_at" datetime NULL, "last_used_at" datetime NULL, "scopes" text DEFAULT 'ingest' NOT NULL);
INSERT INTO "new__events_ingesttoken" ("id", "name", "created_at", "expires_at", "revoked_at", "last_used_at", "scopes") SELECT "id", "name", "created_at", "expires_at", "revoked_at", "last_used_at", "scopes" FROM "events_ingesttoken";
DROP TABLE "events_ingesttoken";
ALTER TABLE "new__events_ingesttoken" RENAME TO "events_ingesttoken";
--
-- Create constraint events_ingesttoken_has_scope on model ingesttoken
--
CREATE TABLE "new__events_ingesttoken" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "name" text NOT NULL UNIQUE, "created_at" datetime NOT NULL, "expires_at" datetime NULL, "revoked_at" datetime NULL, "last_used_at" datetime NULL, "scopes" text DEFAULT 'ingest' NOT NULL, "rate" text DEFAULT '' NOT NULL, CONSTRAINT "events_ingesttoken_has_scope" CHECK (NOT ("scopes" = '')));
INSERT INTO "new__events_ingesttoken" ("id", "name", "created_at", "expires_at", "revoked_at", "last_used_at", "scopes", "rate") SELECT "id", "name", "created_at", "expires_at", "revoked_at", "last_used_at", "scopes", "rate" FROM "events_ingesttoken";
DROP TABLE "events_ingesttoken";
ALTER TABLE "new__events_ingesttoken" RENAME TO "events_ingesttoken";
--
-- Raw Python operation
--
-- THIS OPERATION CANNOT BE WRITTEN AS SQL
COMMIT;

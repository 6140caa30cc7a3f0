BEGIN;
--
-- Alter field kind on auditentry
--
-- (no-op)
--
-- Create model SavedView
--
CREATE TABLE "events_savedview" ("id" text NOT NULL PRIMARY KEY, "list" text NOT NULL, "name" text NOT NULL, "query" text NOT NULL, "created_by_name" text NOT NULL, "created_at_ms" bigint NOT NULL, "owner_id" integer NULL REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "events_savedview_owner_list_name" UNIQUE ("owner_id", "list", "name"), CONSTRAINT "events_savedview_name" CHECK ((LENGTH("name") >= 1 AND LENGTH("name") <= 64)), CONSTRAINT "events_savedview_query" CHECK (LENGTH("query") <= 2000));
--
-- Raw Python operation
--
-- THIS OPERATION CANNOT BE WRITTEN AS SQL
CREATE UNIQUE INDEX "events_savedview_everybody_list_name" ON "events_savedview" ("list", "name") WHERE "owner_id" IS NULL;
COMMIT;

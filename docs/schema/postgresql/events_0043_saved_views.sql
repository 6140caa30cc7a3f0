BEGIN;
--
-- Alter field kind on auditentry
--
-- (no-op)
--
-- Create model SavedView
--
CREATE TABLE "events_savedview" ("id" text NOT NULL PRIMARY KEY, "list" text NOT NULL, "name" text NOT NULL, "query" text NOT NULL, "created_by_name" text NOT NULL, "created_at_ms" bigint NOT NULL, "owner_id" integer NULL, CONSTRAINT "events_savedview_owner_list_name" UNIQUE ("owner_id", "list", "name"), CONSTRAINT "events_savedview_name" CHECK ((LENGTH("name") >= 1 AND LENGTH("name") <= 64)), CONSTRAINT "events_savedview_query" CHECK (LENGTH("query") <= 2000));
--
-- Raw Python operation
--
-- THIS OPERATION CANNOT BE WRITTEN AS SQL
ALTER TABLE "events_savedview" ADD CONSTRAINT "events_savedview_owner_id_494bcc98_fk_auth_user_id" FOREIGN KEY ("owner_id") REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED;
CREATE UNIQUE INDEX "events_savedview_everybody_list_name" ON "events_savedview" ("list", "name") WHERE "owner_id" IS NULL;
CREATE INDEX "events_savedview_id_681514e2_like" ON "events_savedview" ("id" text_pattern_ops);
COMMIT;

BEGIN;
--
-- Create model Visit
--
CREATE TABLE "events_visit" ("user_id" integer NOT NULL PRIMARY KEY, "seen_ms" bigint NOT NULL, "before_ms" bigint NULL);
ALTER TABLE "events_visit" ADD CONSTRAINT "events_visit_user_id_64b1e790_fk_auth_user_id" FOREIGN KEY ("user_id") REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED;
COMMIT;

BEGIN;
--
-- Create model Visit
--
CREATE TABLE "events_visit" ("user_id" integer NOT NULL PRIMARY KEY REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED, "seen_ms" bigint NOT NULL, "before_ms" bigint NULL);
COMMIT;

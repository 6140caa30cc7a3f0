BEGIN;
--
-- Create model CommitBucket
--
CREATE TABLE "events_commitbucket" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "measure" text NOT NULL, "bound" text NOT NULL, "count" bigint NOT NULL, "total" real NOT NULL, CONSTRAINT "events_commitbucket_measure_bound" UNIQUE ("measure", "bound"), CONSTRAINT "events_commitbucket_not_negative" CHECK (("count" >= 0 AND "total" >= 0.0)));
COMMIT;

BEGIN;
--
-- Create model JobState
--
CREATE TABLE "events_jobstate" ("name" text NOT NULL PRIMARY KEY, "due_ms" bigint NOT NULL, "holder" text NOT NULL, "heartbeat_ms" bigint NULL, "started_ms" bigint NULL, "ended_ms" bigint NULL, "succeeded_ms" bigint NULL, "outcome" text NULL, "message" text NOT NULL);
--
-- Create model Backup
--
CREATE TABLE "events_backup" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "name" text NOT NULL, "folder" text NOT NULL, "host" text NOT NULL, "made_ms" bigint NOT NULL, "file_bytes" bigint NOT NULL, "sha256" text NOT NULL, "is_encrypted" bool NOT NULL, "events" bigint NOT NULL, "proven_ms" bigint NULL, "problem" text NOT NULL, CONSTRAINT "events_backup_file" UNIQUE ("folder", "name"), CONSTRAINT "events_backup_not_empty" CHECK ("file_bytes" > 0));
--
-- Create model JobRun
--
CREATE TABLE "events_jobrun" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "job" text NOT NULL, "started_ms" bigint NOT NULL, "ended_ms" bigint NULL, "outcome" text NULL, "message" text NOT NULL);
CREATE INDEX "events_jobrun_job" ON "events_jobrun" ("job", "id" DESC);
COMMIT;

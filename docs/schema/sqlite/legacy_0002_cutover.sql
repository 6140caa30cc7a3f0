BEGIN;
--
-- Create model Cutover
--
CREATE TABLE "legacy_cutover" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "mode" text NOT NULL, "reason" text NOT NULL, "switched_by_name" text NOT NULL, "switched_at" datetime NOT NULL, "count_before" bigint NOT NULL, "count_after" bigint NOT NULL, "copied_to_stream" bigint NOT NULL, "copied_to_legacy" bigint NOT NULL);
--
-- Create model ImportRun
--
CREATE TABLE "legacy_importrun" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "finished_at" datetime NOT NULL, "file_name" text NOT NULL, "successes_added" bigint NOT NULL, "report" text NOT NULL CHECK ((JSON_VALID("report") OR "report" IS NULL)));
--
-- Create model ModeInForce
--
CREATE TABLE "legacy_modeinforce" ("id" smallint NOT NULL PRIMARY KEY, "mode" text NOT NULL, "tables_dropped" bool NOT NULL);
--
-- Create model ParityRun
--
CREATE TABLE "legacy_parityrun" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "checked_at" datetime NOT NULL, "holds" bool NOT NULL, "days_held" integer NOT NULL, "finding" text NOT NULL CHECK ((JSON_VALID("finding") OR "finding" IS NULL)));
--
-- Add field event_id to clientlog
--
CREATE TABLE "new__client_logs" ("id" text NOT NULL PRIMARY KEY, "received_at_ms" bigint NOT NULL, "occurred_at" text NOT NULL, "event_type" text NOT NULL, "message" text NOT NULL, "error_name" text NULL, "stack" text NULL, "model" text NOT NULL, "write_mode" smallint NOT NULL, "connected" smallint NOT NULL, "app_version" text NOT NULL, "user_agent" text NOT NULL, "page_url" text NOT NULL, "log_lines_json" text NOT NULL, "origin" text NULL, "ip_hash" text NULL, "event_id" text NOT NULL, CONSTRAINT "client_logs_nobody_is_identified" CHECK (("ip_hash" IS NULL AND "origin" IS NULL AND "page_url" = '' AND "user_agent" = '')));
INSERT INTO "new__client_logs" ("id", "received_at_ms", "occurred_at", "event_type", "message", "error_name", "stack", "model", "write_mode", "connected", "app_version", "user_agent", "page_url", "log_lines_json", "origin", "ip_hash", "event_id") SELECT "id", "received_at_ms", "occurred_at", "event_type", "message", "error_name", "stack", "model", "write_mode", "connected", "app_version", "user_agent", "page_url", "log_lines_json", "origin", "ip_hash", '' FROM "client_logs";
DROP TABLE "client_logs";
ALTER TABLE "new__client_logs" RENAME TO "client_logs";
CREATE INDEX "idx_client_logs_received_at" ON "client_logs" ("received_at_ms" DESC);
CREATE INDEX "idx_client_logs_event_type" ON "client_logs" ("event_type");
--
-- Add field in_stream to clientlog
--
CREATE TABLE "new__client_logs" ("id" text NOT NULL PRIMARY KEY, "received_at_ms" bigint NOT NULL, "occurred_at" text NOT NULL, "event_type" text NOT NULL, "message" text NOT NULL, "error_name" text NULL, "stack" text NULL, "model" text NOT NULL, "write_mode" smallint NOT NULL, "connected" smallint NOT NULL, "app_version" text NOT NULL, "user_agent" text NOT NULL, "page_url" text NOT NULL, "log_lines_json" text NOT NULL, "origin" text NULL, "ip_hash" text NULL, "event_id" text NOT NULL, "in_stream" bool NOT NULL, CONSTRAINT "client_logs_nobody_is_identified" CHECK (("ip_hash" IS NULL AND "origin" IS NULL AND "page_url" = '' AND "user_agent" = '')));
INSERT INTO "new__client_logs" ("id", "received_at_ms", "occurred_at", "event_type", "message", "error_name", "stack", "model", "write_mode", "connected", "app_version", "user_agent", "page_url", "log_lines_json", "origin", "ip_hash", "event_id", "in_stream") SELECT "id", "received_at_ms", "occurred_at", "event_type", "message", "error_name", "stack", "model", "write_mode", "connected", "app_version", "user_agent", "page_url", "log_lines_json", "origin", "ip_hash", "event_id", 1 FROM "client_logs";
DROP TABLE "client_logs";
ALTER TABLE "new__client_logs" RENAME TO "client_logs";
CREATE INDEX "idx_client_logs_received_at" ON "client_logs" ("received_at_ms" DESC);
CREATE INDEX "idx_client_logs_event_type" ON "client_logs" ("event_type");
--
-- Add field in_stream to legacycount
--
CREATE TABLE "new__legacy_legacycount" ("session_id" text NOT NULL PRIMARY KEY, "counted_at_ms" bigint NOT NULL, "in_stream" bool NOT NULL);
INSERT INTO "new__legacy_legacycount" ("session_id", "counted_at_ms", "in_stream") SELECT "session_id", "counted_at_ms", 1 FROM "legacy_legacycount";
DROP TABLE "legacy_legacycount";
ALTER TABLE "new__legacy_legacycount" RENAME TO "legacy_legacycount";
--
-- Create index client_logs_event_id on field(s) event_id of model clientlog
--
CREATE INDEX "client_logs_event_id" ON "client_logs" ("event_id");
--
-- Create index client_logs_not_in_stream on field(s) id of model clientlog
--
CREATE INDEX "client_logs_not_in_stream" ON "client_logs" ("id") WHERE NOT "in_stream";
--
-- Create index legacy_count_counted_at on field(s) counted_at_ms of model legacycount
--
CREATE INDEX "legacy_count_counted_at" ON "legacy_legacycount" ("counted_at_ms");
--
-- Create index legacy_count_not_in_stream on field(s) session_id of model legacycount
--
CREATE INDEX "legacy_count_not_in_stream" ON "legacy_legacycount" ("session_id") WHERE NOT "in_stream";
--
-- Add field switched_by to cutover
--
ALTER TABLE "legacy_cutover" ADD COLUMN "switched_by_id" integer NULL REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED;
--
-- Create constraint legacy_modeinforce_mode on model modeinforce
--
CREATE TABLE "new__legacy_modeinforce" ("id" smallint NOT NULL PRIMARY KEY, "mode" text NOT NULL, "tables_dropped" bool NOT NULL, CONSTRAINT "legacy_modeinforce_mode" CHECK ("mode" IN ('separate', 'alias', 'gone')));
INSERT INTO "new__legacy_modeinforce" ("id", "mode", "tables_dropped") SELECT "id", "mode", "tables_dropped" FROM "legacy_modeinforce";
DROP TABLE "legacy_modeinforce";
ALTER TABLE "new__legacy_modeinforce" RENAME TO "legacy_modeinforce";
CREATE INDEX "legacy_cutover_switched_by_id_7f0c91ce" ON "legacy_cutover" ("switched_by_id");
--
-- Create constraint legacy_modeinforce_one_row on model modeinforce
--
CREATE TABLE "new__legacy_modeinforce" ("id" smallint NOT NULL PRIMARY KEY, "mode" text NOT NULL, "tables_dropped" bool NOT NULL, CONSTRAINT "legacy_modeinforce_mode" CHECK ("mode" IN ('separate', 'alias', 'gone')), CONSTRAINT "legacy_modeinforce_one_row" CHECK ("id" = 1));
INSERT INTO "new__legacy_modeinforce" ("id", "mode", "tables_dropped") SELECT "id", "mode", "tables_dropped" FROM "legacy_modeinforce";
DROP TABLE "legacy_modeinforce";
ALTER TABLE "new__legacy_modeinforce" RENAME TO "legacy_modeinforce";
--
-- Create constraint legacy_cutover_mode on model cutover
--
CREATE TABLE "new__legacy_cutover" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "mode" text NOT NULL, "reason" text NOT NULL, "switched_by_name" text NOT NULL, "switched_at" datetime NOT NULL, "count_before" bigint NOT NULL, "count_after" bigint NOT NULL, "copied_to_stream" bigint NOT NULL, "copied_to_legacy" bigint NOT NULL, "switched_by_id" integer NULL REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "legacy_cutover_mode" CHECK ("mode" IN ('separate', 'alias', 'gone')));
INSERT INTO "new__legacy_cutover" ("id", "mode", "reason", "switched_by_name", "switched_at", "count_before", "count_after", "copied_to_stream", "copied_to_legacy", "switched_by_id") SELECT "id", "mode", "reason", "switched_by_name", "switched_at", "count_before", "count_after", "copied_to_stream", "copied_to_legacy", "switched_by_id" FROM "legacy_cutover";
DROP TABLE "legacy_cutover";
ALTER TABLE "new__legacy_cutover" RENAME TO "legacy_cutover";
CREATE INDEX "legacy_cutover_switched_by_id_7f0c91ce" ON "legacy_cutover" ("switched_by_id");
COMMIT;

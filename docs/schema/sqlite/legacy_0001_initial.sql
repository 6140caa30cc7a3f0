BEGIN;
--
-- Create model LegacyCount
--
CREATE TABLE "legacy_legacycount" ("session_id" text NOT NULL PRIMARY KEY, "counted_at_ms" bigint NOT NULL);
--
-- Create model ClientLog
--
CREATE TABLE "client_logs" ("id" text NOT NULL PRIMARY KEY, "received_at_ms" bigint NOT NULL, "occurred_at" text NOT NULL, "event_type" text NOT NULL, "message" text NOT NULL, "error_name" text NULL, "stack" text NULL, "model" text NOT NULL, "write_mode" smallint NOT NULL, "connected" smallint NOT NULL, "app_version" text NOT NULL, "user_agent" text NOT NULL, "page_url" text NOT NULL, "log_lines_json" text NOT NULL, "origin" text NULL, "ip_hash" text NULL, CONSTRAINT "client_logs_nobody_is_identified" CHECK (("ip_hash" IS NULL AND "origin" IS NULL AND "page_url" = '' AND "user_agent" = '')));
CREATE INDEX "idx_client_logs_received_at" ON "client_logs" ("received_at_ms" DESC);
CREATE INDEX "idx_client_logs_event_type" ON "client_logs" ("event_type");
COMMIT;

BEGIN;
--
-- Add field text_in_stream to clientlog
--
CREATE TABLE "new__client_logs" ("text_in_stream" bool DEFAULT 0 NOT NULL, "id" text NOT NULL PRIMARY KEY, "received_at_ms" bigint NOT NULL, "occurred_at" text NOT NULL, "event_type" text NOT NULL, "message" text NOT NULL, "error_name" text NULL, "stack" text NULL, "model" text NOT NULL, "write_mode" smallint NOT NULL, "connected" smallint NOT NULL, "app_version" text NOT NULL, "user_agent" text NOT NULL, "page_url" text NOT NULL, "log_lines_json" text NOT NULL, "origin" text NULL, "ip_hash" text NULL, "event_id" text NOT NULL, "in_stream" bool NOT NULL, "imported" bool DEFAULT 0 NOT NULL, "arrived" bool DEFAULT 0 NOT NULL, "sent_to_event" bool DEFAULT 0 NOT NULL, "refused_fields" text DEFAULT '' NOT NULL, CONSTRAINT "client_logs_nobody_is_identified" CHECK (("ip_hash" IS NULL AND "origin" IS NULL AND "page_url" = '' AND "user_agent" = '')));
INSERT INTO "new__client_logs" ("id", "received_at_ms", "occurred_at", "event_type", "message", "error_name", "stack", "model", "write_mode", "connected", "app_version", "user_agent", "page_url", "log_lines_json", "origin", "ip_hash", "event_id", "in_stream", "imported", "arrived", "sent_to_event", "refused_fields") SELECT "id", "received_at_ms", "occurred_at", "event_type", "message", "error_name", "stack", "model", "write_mode", "connected", "app_version", "user_agent", "page_url", "log_lines_json", "origin", "ip_hash", "event_id", "in_stream", "imported", "arrived", "sent_to_event", "refused_fields" FROM "client_logs";
DROP TABLE "client_logs";
ALTER TABLE "new__client_logs" RENAME TO "client_logs";
CREATE INDEX "idx_client_logs_received_at" ON "client_logs" ("received_at_ms" DESC);
CREATE INDEX "idx_client_logs_event_type" ON "client_logs" ("event_type");
CREATE INDEX "client_logs_event_id" ON "client_logs" ("event_id");
CREATE INDEX "client_logs_not_in_stream" ON "client_logs" ("id") WHERE NOT "in_stream";
--
-- Create constraint client_logs_text_in_stream on model clientlog
--
CREATE TABLE "new__client_logs" ("id" text NOT NULL PRIMARY KEY, "received_at_ms" bigint NOT NULL, "occurred_at" text NOT NULL, "event_type" text NOT NULL, "message" text NOT NULL, "error_name" text NULL, "stack" text NULL, "model" text NOT NULL, "write_mode" smallint NOT NULL, "connected" smallint NOT NULL, "app_version" text NOT NULL, "user_agent" text NOT NULL, "page_url" text NOT NULL, "log_lines_json" text NOT NULL, "origin" text NULL, "ip_hash" text NULL, "event_id" text NOT NULL, "in_stream" bool NOT NULL, "imported" bool DEFAULT 0 NOT NULL, "arrived" bool DEFAULT 0 NOT NULL, "sent_to_event" bool DEFAULT 0 NOT NULL, "refused_fields" text DEFAULT '' NOT NULL, "text_in_stream" bool DEFAULT 0 NOT NULL, CONSTRAINT "client_logs_nobody_is_identified" CHECK (("ip_hash" IS NULL AND "origin" IS NULL AND "page_url" = '' AND "user_agent" = '')), CONSTRAINT "client_logs_text_in_stream" CHECK ((NOT "text_in_stream" OR (NOT "imported" AND "in_stream" AND "log_lines_json" = '[]' AND "stack" IS NULL))));
INSERT INTO "new__client_logs" ("id", "received_at_ms", "occurred_at", "event_type", "message", "error_name", "stack", "model", "write_mode", "connected", "app_version", "user_agent", "page_url", "log_lines_json", "origin", "ip_hash", "event_id", "in_stream", "imported", "arrived", "sent_to_event", "refused_fields", "text_in_stream") SELECT "id", "received_at_ms", "occurred_at", "event_type", "message", "error_name", "stack", "model", "write_mode", "connected", "app_version", "user_agent", "page_url", "log_lines_json", "origin", "ip_hash", "event_id", "in_stream", "imported", "arrived", "sent_to_event", "refused_fields", "text_in_stream" FROM "client_logs";
DROP TABLE "client_logs";
ALTER TABLE "new__client_logs" RENAME TO "client_logs";
CREATE INDEX "idx_client_logs_received_at" ON "client_logs" ("received_at_ms" DESC);
CREATE INDEX "idx_client_logs_event_type" ON "client_logs" ("event_type");
CREATE INDEX "client_logs_event_id" ON "client_logs" ("event_id");
CREATE INDEX "client_logs_not_in_stream" ON "client_logs" ("id") WHERE NOT "in_stream";
COMMIT;

BEGIN;
--
-- Create model IngestToken
--
CREATE TABLE "events_ingesttoken" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "name" text NOT NULL UNIQUE, "created_at" datetime NOT NULL, "expires_at" datetime NULL, "revoked_at" datetime NULL);
--
-- Create model ReadinessProbe
--
CREATE TABLE "events_readinessprobe" ("id" smallint NOT NULL PRIMARY KEY, "written_at_ms" bigint NOT NULL);
--
-- Create model Event
--
CREATE TABLE "telemetry_events" ("id" text NOT NULL PRIMARY KEY, "received_at_ms" bigint NOT NULL, "occurred_at" text NOT NULL, "event_type" text NOT NULL, "session_id" text NULL, "model" text NOT NULL, "write_mode" smallint NOT NULL, "connected" smallint NOT NULL, "app_version" text NOT NULL, "message" text NOT NULL, "error_name" text NULL, "stack" text NULL, "log_lines_json" text NOT NULL, "metadata_json" text NOT NULL, "source" text NOT NULL, CONSTRAINT "telemetry_events_event_type" CHECK ("event_type" IN ('flash_success', 'flash_error', 'connect_error', 'window_error', 'unhandled_rejection')), CONSTRAINT "telemetry_events_source" CHECK ("source" IN ('event', 'client_log', 'increment', 'import', 'demo')), CONSTRAINT "telemetry_events_write_mode" CHECK ("write_mode" IN (0, 1)), CONSTRAINT "telemetry_events_connected" CHECK ("connected" IN (0, 1)), CONSTRAINT "telemetry_events_success_has_session" CHECK ((NOT ("event_type" = 'flash_success') OR "session_id" IS NOT NULL)), CONSTRAINT "telemetry_events_session_id" CHECK (("session_id" IS NULL OR (LENGTH("session_id") >= 1 AND LENGTH("session_id") <= 128))), CONSTRAINT "telemetry_events_message" CHECK ((LENGTH("message") >= 1 AND LENGTH("message") <= 500)), CONSTRAINT "telemetry_events_occurred_at" CHECK (LENGTH("occurred_at") = 24));
--
-- Create model HourlyRollup
--
CREATE TABLE "events_hourlyrollup" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "hour_ms" bigint NOT NULL, "event_type" text NOT NULL, "model" text NOT NULL, "app_version" text NOT NULL, "accepted" bigint NOT NULL, CONSTRAINT "events_hourlyrollup_bucket" UNIQUE ("hour_ms", "event_type", "model", "app_version"), CONSTRAINT "events_hourlyrollup_accepted" CHECK ("accepted" >= 0));
--
-- Create model IngestTally
--
CREATE TABLE "events_ingesttally" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "seen_on" date NOT NULL, "outcome" text NOT NULL, "count" bigint NOT NULL, CONSTRAINT "events_ingesttally_day_outcome" UNIQUE ("seen_on", "outcome"));
--
-- Create model LifetimeTotal
--
CREATE TABLE "events_lifetimetotal" ("event_type" text NOT NULL PRIMARY KEY, "accepted" bigint NOT NULL, "baseline" bigint NOT NULL, "last_received_at_ms" bigint NOT NULL, CONSTRAINT "events_lifetimetotal_accepted" CHECK ("accepted" >= 0), CONSTRAINT "events_lifetimetotal_baseline" CHECK ("baseline" >= 0));
--
-- Create model CounterBaseline
--
CREATE TABLE "events_counterbaseline" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "value" bigint NOT NULL, "note" text NOT NULL, "set_by_name" text NOT NULL, "set_at" datetime NOT NULL, "set_by_id" integer NULL REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "events_counterbaseline_value" CHECK ("value" >= 0));
CREATE UNIQUE INDEX "telemetry_events_type_session" ON "telemetry_events" ("event_type", "session_id") WHERE "session_id" IS NOT NULL;
CREATE INDEX "telemetry_events_type_received" ON "telemetry_events" ("event_type", "received_at_ms" DESC);
CREATE INDEX "telemetry_events_received" ON "telemetry_events" ("received_at_ms" DESC);
CREATE INDEX "telemetry_events_failures" ON "telemetry_events" ("received_at_ms" DESC, "id" DESC) WHERE NOT ("event_type" = 'flash_success');
CREATE INDEX "telemetry_events_session" ON "telemetry_events" ("session_id") WHERE "session_id" IS NOT NULL;
CREATE INDEX "events_counterbaseline_set_by_id_38b542cb" ON "events_counterbaseline" ("set_by_id");
COMMIT;

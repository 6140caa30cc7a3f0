BEGIN;
--
-- Alter field kind on auditentry
--
-- (no-op)
--
-- Create model Alert
--
CREATE TABLE "events_alert" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "kind" text NOT NULL, "key" text NOT NULL, "subject" text NOT NULL, "facts" text NOT NULL CHECK ((JSON_VALID("facts") OR "facts" IS NULL)), "happened_at_ms" bigint NOT NULL, "planned_at_ms" bigint NULL, CONSTRAINT "events_alert_kind" CHECK ("kind" IN ('new', 'regression', 'release', 'rate', 'silence', 'job', 'disk', 'parity', 'summary')), CONSTRAINT "events_alert_once" UNIQUE ("kind", "key"));
--
-- Create model AlertChannel
--
CREATE TABLE "events_alertchannel" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "name" text NOT NULL UNIQUE, "sealed_url" text NOT NULL, "service" text NOT NULL, "kinds" text NOT NULL CHECK ((JSON_VALID("kinds") OR "kinds" IS NULL)), "is_on" bool NOT NULL, "added_at_ms" bigint NOT NULL, "added_by_name" text NOT NULL, "delivered_at_ms" bigint NULL, "problem" text NOT NULL, "person_id" integer NULL UNIQUE REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED);
--
-- Create model AlertDelivery
--
CREATE TABLE "events_alertdelivery" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "state" text NOT NULL, "due_ms" bigint NOT NULL, "attempts" integer NOT NULL, "ended_at_ms" bigint NULL, "problem" text NOT NULL, "alert_id" bigint NOT NULL REFERENCES "events_alert" ("id") DEFERRABLE INITIALLY DEFERRED, "channel_id" bigint NOT NULL REFERENCES "events_alertchannel" ("id") DEFERRABLE INITIALLY DEFERRED);
--
-- Create constraint events_alertchannel_destination on model alertchannel
--
CREATE TABLE "new__events_alertchannel" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "name" text NOT NULL UNIQUE, "sealed_url" text NOT NULL, "service" text NOT NULL, "kinds" text NOT NULL CHECK ((JSON_VALID("kinds") OR "kinds" IS NULL)), "is_on" bool NOT NULL, "added_at_ms" bigint NOT NULL, "added_by_name" text NOT NULL, "delivered_at_ms" bigint NULL, "problem" text NOT NULL, "person_id" integer NULL UNIQUE REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "events_alertchannel_destination" CHECK ((("person_id" IS NULL AND NOT ("sealed_url" = '')) OR ("person_id" IS NOT NULL AND "sealed_url" = ''))));
INSERT INTO "new__events_alertchannel" ("id", "name", "sealed_url", "service", "kinds", "is_on", "added_at_ms", "added_by_name", "delivered_at_ms", "problem", "person_id") SELECT "id", "name", "sealed_url", "service", "kinds", "is_on", "added_at_ms", "added_by_name", "delivered_at_ms", "problem", "person_id" FROM "events_alertchannel";
DROP TABLE "events_alertchannel";
ALTER TABLE "new__events_alertchannel" RENAME TO "events_alertchannel";
CREATE INDEX "events_alert_unplanned" ON "events_alert" ("id") WHERE "planned_at_ms" IS NULL;
CREATE INDEX "events_alert_happened" ON "events_alert" ("happened_at_ms", "id");
CREATE INDEX "events_alertdelivery_alert_id_95a9d372" ON "events_alertdelivery" ("alert_id");
CREATE INDEX "events_alertdelivery_channel_id_a39512d6" ON "events_alertdelivery" ("channel_id");
--
-- Create index events_alertdelivery_due on field(s) state, channel, due_ms of model alertdelivery
--
CREATE INDEX "events_alertdelivery_due" ON "events_alertdelivery" ("state", "channel_id", "due_ms");
--
-- Create constraint events_alertdelivery_state on model alertdelivery
--
CREATE TABLE "new__events_alertdelivery" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "state" text NOT NULL, "due_ms" bigint NOT NULL, "attempts" integer NOT NULL, "ended_at_ms" bigint NULL, "problem" text NOT NULL, "alert_id" bigint NOT NULL REFERENCES "events_alert" ("id") DEFERRABLE INITIALLY DEFERRED, "channel_id" bigint NOT NULL REFERENCES "events_alertchannel" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "events_alertdelivery_state" CHECK ("state" IN ('waiting', 'sent', 'given_up')));
INSERT INTO "new__events_alertdelivery" ("id", "state", "due_ms", "attempts", "ended_at_ms", "problem", "alert_id", "channel_id") SELECT "id", "state", "due_ms", "attempts", "ended_at_ms", "problem", "alert_id", "channel_id" FROM "events_alertdelivery";
DROP TABLE "events_alertdelivery";
ALTER TABLE "new__events_alertdelivery" RENAME TO "events_alertdelivery";
CREATE INDEX "events_alertdelivery_alert_id_95a9d372" ON "events_alertdelivery" ("alert_id");
CREATE INDEX "events_alertdelivery_channel_id_a39512d6" ON "events_alertdelivery" ("channel_id");
CREATE INDEX "events_alertdelivery_due" ON "events_alertdelivery" ("state", "channel_id", "due_ms");
--
-- Create constraint events_alertdelivery_once on model alertdelivery
--
CREATE TABLE "new__events_alertdelivery" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "state" text NOT NULL, "due_ms" bigint NOT NULL, "attempts" integer NOT NULL, "ended_at_ms" bigint NULL, "problem" text NOT NULL, "alert_id" bigint NOT NULL REFERENCES "events_alert" ("id") DEFERRABLE INITIALLY DEFERRED, "channel_id" bigint NOT NULL REFERENCES "events_alertchannel" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "events_alertdelivery_state" CHECK ("state" IN ('waiting', 'sent', 'given_up')), CONSTRAINT "events_alertdelivery_once" UNIQUE ("alert_id", "channel_id"));
INSERT INTO "new__events_alertdelivery" ("id", "state", "due_ms", "attempts", "ended_at_ms", "problem", "alert_id", "channel_id") SELECT "id", "state", "due_ms", "attempts", "ended_at_ms", "problem", "alert_id", "channel_id" FROM "events_alertdelivery";
DROP TABLE "events_alertdelivery";
ALTER TABLE "new__events_alertdelivery" RENAME TO "events_alertdelivery";
CREATE INDEX "events_alertdelivery_alert_id_95a9d372" ON "events_alertdelivery" ("alert_id");
CREATE INDEX "events_alertdelivery_channel_id_a39512d6" ON "events_alertdelivery" ("channel_id");
CREATE INDEX "events_alertdelivery_due" ON "events_alertdelivery" ("state", "channel_id", "due_ms");
COMMIT;

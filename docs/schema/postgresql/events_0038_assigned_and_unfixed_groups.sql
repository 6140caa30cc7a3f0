BEGIN;
--
-- Add field unfixed_at_ms to failuregroup
--
ALTER TABLE "events_failuregroup" ADD COLUMN "unfixed_at_ms" bigint NULL;
--
-- Add field assigned_to to failuregroup
--
ALTER TABLE "events_failuregroup" ADD COLUMN "assigned_to_id" integer NULL CONSTRAINT "events_failuregroup_assigned_to_id_65b3f32f_fk_auth_user_id" REFERENCES "auth_user"("id") DEFERRABLE INITIALLY DEFERRED; SET CONSTRAINTS "events_failuregroup_assigned_to_id_65b3f32f_fk_auth_user_id" IMMEDIATE;
--
-- Add field assigned_at_ms to failuregroup
--
ALTER TABLE "events_failuregroup" ADD COLUMN "assigned_at_ms" bigint NULL;
--
-- Add field assigned_by_name to failuregroup
--
ALTER TABLE "events_failuregroup" ADD COLUMN "assigned_by_name" text NULL;
--
-- Create index events_group_unfixed on field(s) unfixed_at_ms of model failuregroup
--
CREATE INDEX "events_group_unfixed" ON "events_failuregroup" ("unfixed_at_ms") WHERE "unfixed_at_ms" IS NOT NULL;
--
-- Create index events_group_assigned on field(s) assigned_to of model failuregroup
--
CREATE INDEX "events_group_assigned" ON "events_failuregroup" ("assigned_to_id") WHERE "assigned_to_id" IS NOT NULL;
COMMIT;

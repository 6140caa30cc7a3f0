BEGIN;
--
-- Add field issue_url to failuregroup
--
ALTER TABLE "events_failuregroup" ADD COLUMN "issue_url" text NULL;
--
-- Add field gave_issue to formergroup
--
ALTER TABLE "events_formergroup" ADD COLUMN "gave_issue" boolean DEFAULT false NOT NULL;
--
-- Create constraint events_failuregroup_issue_url on model failuregroup
--
ALTER TABLE "events_failuregroup" ADD CONSTRAINT "events_failuregroup_issue_url" CHECK (("issue_url" IS NULL OR (LENGTH("issue_url") <= 500 AND "issue_url"::text LIKE 'https://%')));
COMMIT;

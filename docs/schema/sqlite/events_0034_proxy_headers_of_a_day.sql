BEGIN;
--
-- Add field proxy_headers to siteday
--
ALTER TABLE "events_siteday" ADD COLUMN "proxy_headers" text NULL;
COMMIT;

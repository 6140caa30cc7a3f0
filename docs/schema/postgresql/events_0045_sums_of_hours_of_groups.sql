BEGIN;
--
-- Create index events_grouphour_sums on field(s) fingerprint, hour_ms, accepted of model grouphour
--
CREATE INDEX "events_grouphour_sums" ON "events_grouphour" ("fingerprint", "hour_ms", "accepted");
COMMIT;

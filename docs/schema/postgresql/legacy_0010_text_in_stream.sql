BEGIN;
--
-- Add field text_in_stream to clientlog
--
ALTER TABLE "client_logs" ADD COLUMN "text_in_stream" boolean DEFAULT false NOT NULL;
--
-- Create constraint client_logs_text_in_stream on model clientlog
--
ALTER TABLE "client_logs" ADD CONSTRAINT "client_logs_text_in_stream" CHECK ((NOT "text_in_stream" OR (NOT "imported" AND "in_stream" AND "log_lines_json" = '[]' AND "stack" IS NULL)));
COMMIT;

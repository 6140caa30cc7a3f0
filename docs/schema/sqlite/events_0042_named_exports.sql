BEGIN;
--
-- Create model NamedExport
--
CREATE TABLE "events_namedexport" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "name" text NOT NULL UNIQUE, "list_key" text NOT NULL, "filters" text NOT NULL, "columns" text NOT NULL CHECK ((JSON_VALID("columns") OR "columns" IS NULL)), "format" text NOT NULL, "created_at_ms" bigint NOT NULL, "created_by_name" text NOT NULL, CONSTRAINT "events_namedexport_name" CHECK ((LENGTH("name") >= 1 AND LENGTH("name") <= 64)));
--
-- Raw Python operation
--
-- THIS OPERATION CANNOT BE WRITTEN AS SQL
COMMIT;

BEGIN;
--
-- Create model ResolvedFrame
--
CREATE TABLE "events_resolvedframe" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "key" text NOT NULL, "app_version" text NOT NULL, "file" text NOT NULL, "line" integer NOT NULL, "column" integer NOT NULL, "source_map" bigint NOT NULL, "map_version" text NOT NULL, "function" text NULL, "token" text NULL, "source_file" text NULL, "source_line" integer NULL, "source_column" integer NULL, "context" text NULL, "in_app" bool NOT NULL, "unresolved" text NULL, "attempts" smallint NOT NULL, CONSTRAINT "events_resolvedframe_key" UNIQUE ("key"), CONSTRAINT "events_resolvedframe_resolved" CHECK (("unresolved" IS NOT NULL OR ("source_column" IS NOT NULL AND "source_file" IS NOT NULL AND "source_line" IS NOT NULL))));
CREATE INDEX "events_resolvedframe_file" ON "events_resolvedframe" ("file", "app_version");
CREATE INDEX "events_resolvedframe_waiting" ON "events_resolvedframe" ("source_map") WHERE "unresolved" = 'resolving';
COMMIT;

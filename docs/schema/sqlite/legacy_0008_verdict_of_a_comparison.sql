BEGIN;
--
-- Add field verdict to parityrun
--
CREATE TABLE "new__legacy_parityrun" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "verdict" text DEFAULT '' NOT NULL, "checked_at" datetime NOT NULL, "holds" bool NOT NULL, "days_held" integer NOT NULL, "finding" text NOT NULL CHECK ((JSON_VALID("finding") OR "finding" IS NULL)));
INSERT INTO "new__legacy_parityrun" ("id", "checked_at", "holds", "days_held", "finding") SELECT "id", "checked_at", "holds", "days_held", "finding" FROM "legacy_parityrun";
DROP TABLE "legacy_parityrun";
ALTER TABLE "new__legacy_parityrun" RENAME TO "legacy_parityrun";
COMMIT;

BEGIN;
--
-- Create model AuditEntry
--
CREATE TABLE "events_auditentry" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "at_ms" bigint NOT NULL, "kind" text NOT NULL, "who" text NOT NULL, "what" text NOT NULL, "why" text NOT NULL, "about" text NOT NULL, "subject" text NOT NULL);
--
-- Create model RetentionMark
--
CREATE TABLE "events_retentionmark" ("id" smallint NOT NULL PRIMARY KEY, "whole_since_ms" bigint NOT NULL, CONSTRAINT "events_retentionmark_one_row" CHECK ("id" = 1));
--
-- Let the audit log be append-only
--
CREATE TRIGGER events_auditentry_no_update BEFORE UPDATE ON events_auditentry BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER events_auditentry_no_delete BEFORE DELETE ON events_auditentry BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE INDEX "events_audit_at" ON "events_auditentry" ("at_ms" DESC, "id" DESC);
CREATE INDEX "events_audit_kind" ON "events_auditentry" ("kind", "at_ms" DESC, "id" DESC);
CREATE INDEX "events_audit_who" ON "events_auditentry" ("who", "at_ms" DESC, "id" DESC);
CREATE INDEX "events_audit_subject" ON "events_auditentry" ("subject", "at_ms" DESC, "id" DESC) WHERE NOT ("subject" = '');
COMMIT;

-- The audit log: search, and filters by person, action, time and subject, that stay fast with millions of entries.

-- What a search finds: the person, their address, the action, the subject, its names and keys, and the first sites.
ALTER TABLE sitelatch.audit_log ADD COLUMN words tsvector NOT NULL GENERATED ALWAYS AS (
    sitelatch.words(actor_name || ' ' || actor_email || ' ' || actor_address || ' ' || action)
    || sitelatch.words(coalesce(workspace, '') || ' ' || coalesce(subject, ''))
    || sitelatch.words(
        coalesce(detail ->> 'name', detail ->> 'display_name', '') || ' ' || coalesce(detail ->> 'from', '') || ' '
        || coalesce(detail ->> 'to', '') || ' ' || translate(coalesce(detail ->> 'keys', ''), '[]",', ''))
    || sitelatch.words(translate(coalesce(detail ->> 'sites', ''), '[]",', ''))
) STORED;
CREATE INDEX audit_log_words_idx ON sitelatch.audit_log USING gin (words);

-- The time at which an entry is written, not the start of its transaction: a transaction that waited for another one's
-- lock comes after it.
ALTER TABLE sitelatch.audit_log ALTER COLUMN at SET DEFAULT clock_timestamp();

-- Pages are ordered by time. Entries may have the same time, so the id comes second. The first index has an expression
-- that only the list of all entries is ordered by: with filters, the planner would otherwise read all entries in order,
-- and filter them, if it expects many matches. They may all be old.
CREATE INDEX audit_log_at_idx ON sitelatch.audit_log ((at AT TIME ZONE 'UTC'), id);
CREATE INDEX audit_log_actor_idx ON sitelatch.audit_log (lower(actor_email), at, id);
CREATE INDEX audit_log_action_idx ON sitelatch.audit_log (action, at, id);
DROP INDEX sitelatch.audit_log_workspace_idx;
CREATE INDEX audit_log_workspace_idx ON sitelatch.audit_log (workspace, at, id);
DROP INDEX sitelatch.audit_log_subject_idx;
CREATE INDEX audit_log_subject_idx ON sitelatch.audit_log (subject, at, id);

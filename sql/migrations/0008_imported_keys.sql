-- Imports of existing keys: a deleted key stays deleted, and a large change to the scope delays no other change.

-- The digests of keys that were deleted, so that an old file cannot revive them. Nothing deletes these rows.
CREATE TABLE sitelatch.deleted_keys (
    digest bytea PRIMARY KEY,
    deleted_at timestamptz NOT NULL DEFAULT now()
);

-- Deletions by every way are recorded: with the API user, by themselves, by TRUNCATE, and if a digest is replaced. Like
-- the triggers of the change feed, these fire always, and `sitelatch migrate` enables them again.
CREATE FUNCTION sitelatch.note_deleted_keys() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO sitelatch.deleted_keys (digest) SELECT digest FROM sitelatch.api_keys
        ON CONFLICT (digest) DO UPDATE SET deleted_at = now();
    ELSE
        INSERT INTO sitelatch.deleted_keys (digest) VALUES (OLD.digest)
        ON CONFLICT (digest) DO UPDATE SET deleted_at = now();
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION sitelatch.note_deleted_keys() FROM PUBLIC;
CREATE TRIGGER note_deleted_keys AFTER DELETE ON sitelatch.api_keys
    FOR EACH ROW EXECUTE FUNCTION sitelatch.note_deleted_keys();
CREATE TRIGGER note_replaced_keys AFTER UPDATE ON sitelatch.api_keys
    FOR EACH ROW WHEN (OLD.digest IS DISTINCT FROM NEW.digest) EXECUTE FUNCTION sitelatch.note_deleted_keys();
CREATE TRIGGER note_truncated_keys BEFORE TRUNCATE ON sitelatch.api_keys
    EXECUTE FUNCTION sitelatch.note_deleted_keys();
ALTER TABLE sitelatch.api_keys ENABLE ALWAYS TRIGGER note_deleted_keys;
ALTER TABLE sitelatch.api_keys ENABLE ALWAYS TRIGGER note_replaced_keys;
ALTER TABLE sitelatch.api_keys ENABLE ALWAYS TRIGGER note_truncated_keys;

-- As in 0003_change_feed.sql, but more than 10,000 changes of one transaction become one: everything may have changed.
-- Otherwise, the lock would be held while they are written, and a revocation would be read only after all of them.
CREATE OR REPLACE FUNCTION sitelatch.publish_changes() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    whats text[];
    subjects text[];
BEGIN
    WITH pending AS (
        DELETE FROM sitelatch.scope_pending WHERE xact = pg_current_xact_id() RETURNING what, subject
    )
    SELECT array_agg(what), array_agg(subject) INTO whats, subjects FROM pending WHERE what <> 'publish';
    IF cardinality(whats) > 10000 THEN
        whats := ARRAY['all'];
        subjects := ARRAY[''];
    END IF;
    PERFORM pg_advisory_xact_lock(8316306165774771556);
    BEGIN
        DELETE FROM sitelatch.scope_changes WHERE seq IN (
            SELECT oldest.seq
            FROM (
                SELECT seq, min(at) OVER (ORDER BY seq DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS later_at
                FROM (SELECT seq, at FROM sitelatch.scope_changes ORDER BY seq LIMIT 101 + 2 * cardinality(whats)) AS first
            ) AS oldest
            WHERE oldest.later_at < now() - interval '1 day'
        );
    EXCEPTION WHEN serialization_failure THEN
        NULL;
    END;
    INSERT INTO sitelatch.scope_changes (what, subject, at)
    SELECT change.what, nullif(change.subject, ''), clock_timestamp()
    FROM unnest(whats, subjects) AS change (what, subject);
    IF pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_notify('sitelatch_scope', '');
    END IF;
    RETURN NULL;
END
$$;

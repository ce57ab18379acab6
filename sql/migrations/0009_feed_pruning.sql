-- The change before a long silence stays known, by which the doors know their feed again; two who change something at once
-- do not fail for what both would prune; and what is pruned leaves no gap.
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
    -- "sitefeed" as big-endian bytes. It ends with the transaction, when the rows can be seen.
    PERFORM pg_advisory_xact_lock(8316306165774771556);
    -- The past that a door may have been away for is a day, so a row goes a day after the next one came: until then it
    -- was the newest, however old it was, and the doors stand at it. With it goes all before it, whatever the clock said
    -- then: a door that stands before a gap would not see it. Of a long past as much goes as comes, and a little more, so
    -- that no single writer pays for all.
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
        NULL; -- by default REPEATABLE READ, and another has pruned since this transaction began: the next one will do
    END;
    INSERT INTO sitelatch.scope_changes (what, subject, at)
    SELECT change.what, nullif(change.subject, ''), clock_timestamp()
    FROM unnest(whats, subjects) AS change (what, subject);
    -- Where somebody who listens has long been idle in a transaction this queue gets full, and a change that could not be
    -- notified would not be made. The doors poll.
    IF pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_notify('sitelatch_scope', '');
    END IF;
    RETURN NULL;
END
$$;

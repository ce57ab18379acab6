-- A large change announces itself, so that its commit is as quick as a small one.

-- Adds a change to scope_pending, as in 0003_change_feed.sql, unless this transaction publishes everything anyway.
CREATE OR REPLACE FUNCTION sitelatch.note_change(changed text, about text) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO sitelatch.scope_pending (what, subject)
    SELECT noted.what, noted.subject
    FROM (VALUES ($1, $2), ('publish', '')) AS noted (what, subject)
    WHERE NOT EXISTS (
        SELECT FROM sitelatch.scope_pending WHERE xact = pg_current_xact_id() AND what = 'all' AND subject = ''
    )
    ON CONFLICT DO NOTHING
$$;

-- Announces that this transaction changes too much to list. Every front door then looks everything up again.
CREATE FUNCTION sitelatch.note_large_change() RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT sitelatch.note_change('all', '')
$$;
REVOKE ALL ON FUNCTION sitelatch.note_large_change() FROM PUBLIC;

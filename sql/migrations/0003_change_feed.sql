-- The change feed: every change to what a key may access adds a row to scope_changes, no matter who makes the change.
-- The rows are numbered in the order in which the changes become visible, so a reader that has seen row n has seen
-- every earlier change.

CREATE TABLE sitelatch.scope_changes (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    what text NOT NULL,
    subject text,
    at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT scope_changes_what CHECK (what IN ('key', 'user', 'site', 'workspace', 'all'))
);

-- The changes of the current transaction, without duplicates. They are moved to the feed at the end of the commit, so
-- the lock that orders the feed is held only then. Other transactions never see these rows.
CREATE UNLOGGED TABLE sitelatch.scope_pending (
    xact xid8 NOT NULL DEFAULT pg_current_xact_id(),
    what text NOT NULL,
    subject text NOT NULL,
    PRIMARY KEY (xact, what, subject)
);

-- Adds a change to scope_pending. The 'publish' row fires publish_changes, once per transaction.
CREATE FUNCTION sitelatch.note_change(changed text, about text) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO sitelatch.scope_pending (what, subject) VALUES ($1, $2), ('publish', '') ON CONFLICT DO NOTHING
$$;
REVOKE ALL ON FUNCTION sitelatch.note_change(text, text) FROM PUBLIC;

-- Moves the transaction's changes from scope_pending to the feed.
--
-- This trigger is deferred, and so are the triggers that fire it, so it runs after all of them. Between taking the lock
-- and the end of the commit there is only one INSERT, so other writers wait neither for an idle transaction nor for a
-- large one. A transaction that holds the lock waits for nothing else, so writers cannot deadlock on it.
CREATE FUNCTION sitelatch.publish_changes() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    whats text[];
    subjects text[];
BEGIN
    WITH pending AS (
        DELETE FROM sitelatch.scope_pending WHERE xact = pg_current_xact_id() RETURNING what, subject
    )
    SELECT array_agg(what), array_agg(subject) INTO whats, subjects FROM pending WHERE what <> 'publish';
    -- The key is "sitefeed" as big-endian bytes. The lock is released at the end of the transaction, when the rows
    -- become visible.
    PERFORM pg_advisory_xact_lock(8316306165774771556);
    -- A reader may be away for up to a day. So a row is pruned a day after the next row was added: until then it was
    -- the newest row, and readers may still be positioned at it. All rows before it are pruned too, even if the clock
    -- was wrong when they were added, because a reader cannot detect a gap after its position. Each writer prunes at
    -- most twice as many rows as it adds, and 100 more, so that no single writer pays for a long backlog.
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
        -- Under REPEATABLE READ, another transaction has pruned rows since this one started. The next one prunes more.
        NULL;
    END;
    INSERT INTO sitelatch.scope_changes (what, subject, at)
    SELECT change.what, nullif(change.subject, ''), clock_timestamp()
    FROM unnest(whats, subjects) AS change (what, subject);
    -- A listener that stays idle in a transaction fills the notification queue, and a full queue would make this
    -- transaction fail. Readers also poll, so the notification can be skipped.
    IF pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_notify('sitelatch_scope', '');
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER publish_changes AFTER INSERT ON sitelatch.scope_pending
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.what = 'publish')
    EXECUTE FUNCTION sitelatch.publish_changes();

-- For each table, the changes that affect what a key may access.

CREATE FUNCTION sitelatch.note_key() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM sitelatch.note_change('key', encode(OLD.digest, 'hex'));
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM sitelatch.note_change('key', encode(NEW.digest, 'hex'));
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER note_key AFTER INSERT OR DELETE ON sitelatch.api_keys
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sitelatch.note_key();
CREATE CONSTRAINT TRIGGER note_changed_key AFTER UPDATE ON sitelatch.api_keys
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN ((OLD.digest, OLD.user_id, OLD.expires_at) IS DISTINCT FROM (NEW.digest, NEW.user_id, NEW.expires_at))
    EXECUTE FUNCTION sitelatch.note_key();

-- There is no trigger for INSERT: a new user has no keys yet, so nothing about it can be cached.
CREATE FUNCTION sitelatch.note_user() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sitelatch.note_change('user', OLD.id::text);
    -- The keys of a disabled user are cached as unknown, without the user they belong to.
    IF TG_OP = 'UPDATE' AND OLD.disabled_at IS NOT NULL THEN
        PERFORM sitelatch.note_change('key', encode(digest, 'hex')) FROM sitelatch.api_keys WHERE user_id = OLD.id;
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER note_user AFTER DELETE ON sitelatch.api_users
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sitelatch.note_user();
CREATE CONSTRAINT TRIGGER note_changed_user AFTER UPDATE ON sitelatch.api_users
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN ((OLD.id, OLD.workspace_id, OLD.all_sites, OLD.disabled_at)
        IS DISTINCT FROM (NEW.id, NEW.workspace_id, NEW.all_sites, NEW.disabled_at))
    EXECUTE FUNCTION sitelatch.note_user();

CREATE FUNCTION sitelatch.note_user_site() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM sitelatch.note_change('user', OLD.user_id::text);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM sitelatch.note_change('user', NEW.user_id::text);
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER note_user_site AFTER INSERT OR UPDATE OR DELETE ON sitelatch.api_user_sites
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sitelatch.note_user_site();

CREATE FUNCTION sitelatch.note_site() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM sitelatch.note_change('site', OLD.id);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM sitelatch.note_change('site', NEW.id);
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER note_site AFTER INSERT OR DELETE ON sitelatch.sites
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sitelatch.note_site();
CREATE CONSTRAINT TRIGGER note_changed_site AFTER UPDATE ON sitelatch.sites
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN ((OLD.id, OLD.workspace_id) IS DISTINCT FROM (NEW.id, NEW.workspace_id))
    EXECUTE FUNCTION sitelatch.note_site();

-- For changes that affect too many keys to list: a workspace gets another name, or a table is truncated.
CREATE FUNCTION sitelatch.note_all() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sitelatch.note_change('all', '');
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER note_changed_workspace AFTER UPDATE ON sitelatch.workspaces
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN ((OLD.id, OLD.name) IS DISTINCT FROM (NEW.id, NEW.name))
    EXECUTE FUNCTION sitelatch.note_all();
CREATE TRIGGER note_truncate AFTER TRUNCATE ON sitelatch.workspaces EXECUTE FUNCTION sitelatch.note_all();
CREATE TRIGGER note_truncate AFTER TRUNCATE ON sitelatch.sites EXECUTE FUNCTION sitelatch.note_all();
CREATE TRIGGER note_truncate AFTER TRUNCATE ON sitelatch.api_users EXECUTE FUNCTION sitelatch.note_all();
CREATE TRIGGER note_truncate AFTER TRUNCATE ON sitelatch.api_keys EXECUTE FUNCTION sitelatch.note_all();
CREATE TRIGGER note_truncate AFTER TRUNCATE ON sitelatch.api_user_sites EXECUTE FUNCTION sitelatch.note_all();

-- Fire also for rows that replication or a restore writes.
DO $$
DECLARE
    noting record;
BEGIN
    FOR noting IN
        SELECT tgrelid::regclass AS on_table, tgname FROM pg_catalog.pg_trigger
        WHERE tgname LIKE 'note\_%' OR tgname = 'publish_changes'
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', noting.on_table, noting.tgname);
    END LOOP;
END
$$;

-- Returns whether a missing row is known not to exist. While a dump is being restored, each table gets its rows before
-- its triggers (including those of foreign keys), and several tables may be in progress at once. So every table must
-- have a trigger.
CREATE FUNCTION sitelatch.is_whole() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT count(DISTINCT tgrelid) = 7
    FROM pg_catalog.pg_trigger
    WHERE tgrelid IN (
        'sitelatch.workspaces'::pg_catalog.regclass,
        'sitelatch.sites'::pg_catalog.regclass,
        'sitelatch.api_users'::pg_catalog.regclass,
        'sitelatch.api_keys'::pg_catalog.regclass,
        'sitelatch.api_user_sites'::pg_catalog.regclass,
        'sitelatch.api_user_activity'::pg_catalog.regclass,
        'sitelatch.scope_pending'::pg_catalog.regclass
    )
$$;

-- The feed is never empty: a reader checks that the last row it read is still there, to know that it is the same feed.
INSERT INTO sitelatch.scope_changes (what) VALUES ('all');

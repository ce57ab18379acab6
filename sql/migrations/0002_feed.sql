-- The feed of changes: whatever changes what a key may do is one row of scope_changes, whoever changes it, and the order
-- of the rows is the order in which the changes became visible. So a door that has read row n knows of all before it.

-- What a transaction has changed so far, each thing once. Its rows are gone before anybody else could see them: they
-- wait here, and not in the feed, so that the lock that makes the order is taken only at the very end.
CREATE UNLOGGED TABLE sitelatch.scope_pending (
    xact xid8 NOT NULL DEFAULT pg_current_xact_id(),
    what text NOT NULL,
    subject text NOT NULL,
    PRIMARY KEY (xact, what, subject)
);

-- The marker row has the transaction published; it is there once however many changes there are.
CREATE FUNCTION sitelatch.note_change(changed text, about text) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO sitelatch.scope_pending (what, subject) VALUES ($1, $2), ('publish', '') ON CONFLICT DO NOTHING
$$;
REVOKE ALL ON FUNCTION sitelatch.note_change(text, text) FROM PUBLIC;

-- Deferred twice: the triggers that note changes run at the commit, and what they note has this one run after all of
-- them. From the lock to the end of the commit there is one insert, so nobody waits for a writer that is idle, nor for
-- one that changed much; and who holds the lock waits for nobody, so writers cannot wait in a circle.
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
    -- "sitefeed" as big-endian bytes. It ends with the transaction, when the rows can be seen.
    PERFORM pg_advisory_xact_lock(8316306165774771556);
    -- The past that a door may have been away for is a day. Of a long one as much goes as comes, and a little more, so
    -- that no single writer pays for all. The newest row stays, for it is younger: it is made below.
    DELETE FROM sitelatch.scope_changes WHERE seq IN (
        SELECT oldest.seq
        FROM (SELECT seq, at FROM sitelatch.scope_changes ORDER BY seq LIMIT 100 + 2 * cardinality(whats)) AS oldest
        WHERE oldest.at < now() - interval '1 day'
    );
    INSERT INTO sitelatch.scope_changes (what, subject, at)
    SELECT change.what, nullif(change.subject, ''), clock_timestamp()
    FROM unnest(whats, subjects) AS change (what, subject);
    PERFORM pg_notify('sitelatch_scope', '');
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER publish_changes AFTER INSERT ON sitelatch.scope_pending
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.what = 'publish')
    EXECUTE FUNCTION sitelatch.publish_changes();

-- What of each table bears on what a key may do.

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

-- A new user has no key yet, so nobody can know of it.
CREATE FUNCTION sitelatch.note_user() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sitelatch.note_change('user', OLD.id::text);
    -- The keys of a disabled user are remembered as unknown, and not by whose they are.
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

-- What bears on too much to be told one by one: a workspace of another name, and a table emptied at a stroke.
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

DO $$
DECLARE
    emptied text;
    noting record;
BEGIN
    FOREACH emptied IN ARRAY ARRAY['workspaces', 'sites', 'api_users', 'api_keys', 'api_user_sites'] LOOP
        EXECUTE format(
            'CREATE TRIGGER note_truncate AFTER TRUNCATE ON sitelatch.%I EXECUTE FUNCTION sitelatch.note_all()', emptied
        );
    END LOOP;
    -- Also what replication and restores write.
    FOR noting IN
        SELECT tgrelid::regclass AS on_table, tgname FROM pg_catalog.pg_trigger
        WHERE tgname LIKE 'note\_%' OR tgname = 'publish_changes'
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', noting.on_table, noting.tgname);
    END LOOP;
END
$$;

-- The feed is never empty from here on: by its last row a door knows that it still reads the feed that it read before.
INSERT INTO sitelatch.scope_changes (what) VALUES ('all');

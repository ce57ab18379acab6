-- The life of a key: an API user can expire, be limited to methods and networks, and have two keys during a rotation.

-- The last use of each key of users that have had several keys. All uses of a user with one key are uses of that key, so
-- they need no rows here. Like api_user_activity, the table is narrow, and updates stay HOT.
CREATE TABLE sitelatch.api_key_activity (
    digest bytea PRIMARY KEY REFERENCES sitelatch.api_keys (digest) ON UPDATE CASCADE ON DELETE CASCADE,
    last_used_at timestamptz
) WITH (fillfactor = 40);

-- Begins when a user gets a second key. Until then, the first key was the one that was used.
CREATE FUNCTION sitelatch.begin_key_activity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO sitelatch.api_key_activity (digest, last_used_at)
    SELECT one.digest, CASE WHEN one.is_new THEN NULL ELSE a.last_used_at END
    FROM (
        SELECT k.user_id, k.digest, k.digest IN (SELECT added.digest FROM added) AS is_new,
               count(*) OVER (PARTITION BY k.user_id) AS keys
        FROM sitelatch.api_keys k
        WHERE k.user_id IN (SELECT added.user_id FROM added)
    ) AS one
    LEFT JOIN sitelatch.api_user_activity a ON a.user_id = one.user_id
    WHERE one.keys > 1
    ON CONFLICT (digest) DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER begin_key_activity AFTER INSERT ON sitelatch.api_keys
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION sitelatch.begin_key_activity();

-- It is not known which key of these users was used.
INSERT INTO sitelatch.api_key_activity (digest)
SELECT digest FROM sitelatch.api_keys
WHERE user_id IN (SELECT user_id FROM sitelatch.api_keys GROUP BY user_id HAVING count(*) > 1);

-- A key is accepted until its own expires_at or its user's, whichever is earlier. NULL in `methods` means all methods,
-- and in `networks` all addresses.
ALTER TABLE sitelatch.api_users
    ADD COLUMN expires_at timestamptz,
    ADD COLUMN methods text[],
    ADD COLUMN networks cidr[],
    -- Counts changes, so that one person does not overwrite what another has just changed. Activity is another table.
    ADD COLUMN version bigint NOT NULL DEFAULT 1,
    -- The methods that a route may list (check_method).
    ADD CONSTRAINT api_users_methods CHECK (
        array_to_string(methods, ',', '') ~ '^[A-Z0-9!#$%&''+.^_`|~-]{1,64}(,[A-Z0-9!#$%&''+.^_`|~-]{1,64})*$'
    ),
    ADD CONSTRAINT api_users_networks CHECK (cardinality(networks) > 0 AND array_position(networks, NULL) IS NULL);

CREATE FUNCTION sitelatch.count_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := OLD.version + 1;
    RETURN NEW;
END
$$;
CREATE TRIGGER count_version BEFORE UPDATE ON sitelatch.api_users FOR EACH ROW
    EXECUTE FUNCTION sitelatch.count_version();

-- The change feed reports every column that the decision reads, and no other.
DROP TRIGGER note_changed_user ON sitelatch.api_users;
CREATE CONSTRAINT TRIGGER note_changed_user AFTER UPDATE ON sitelatch.api_users
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN ((OLD.id, OLD.workspace_id, OLD.all_sites, OLD.disabled_at, OLD.expires_at, OLD.methods, OLD.networks)
        IS DISTINCT FROM
        (NEW.id, NEW.workspace_id, NEW.all_sites, NEW.disabled_at, NEW.expires_at, NEW.methods, NEW.networks))
    EXECUTE FUNCTION sitelatch.note_user();
ALTER TABLE sitelatch.api_users ENABLE ALWAYS TRIGGER note_changed_user;

-- Any front door of an earlier version caches the keys of a disabled user as unknown, so note_user still reports them.

CREATE OR REPLACE FUNCTION sitelatch.is_whole() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT count(DISTINCT tgrelid) = 8
    FROM pg_catalog.pg_trigger
    WHERE tgrelid IN (
        'sitelatch.workspaces'::pg_catalog.regclass,
        'sitelatch.sites'::pg_catalog.regclass,
        'sitelatch.api_users'::pg_catalog.regclass,
        'sitelatch.api_keys'::pg_catalog.regclass,
        'sitelatch.api_user_sites'::pg_catalog.regclass,
        'sitelatch.api_user_activity'::pg_catalog.regclass,
        'sitelatch.api_key_activity'::pg_catalog.regclass,
        'sitelatch.scope_pending'::pg_catalog.regclass
    )
$$;

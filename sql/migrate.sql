-- How the schema is brought up to date.

-- name: schema_is_there
-- Whether any migration was ever applied.
SELECT to_regclass('sitelatch.schema_migrations') IS NOT NULL;

-- name: schema_version
-- The number of the last migration that was applied.
SELECT coalesce(max(version), 0) FROM sitelatch.schema_migrations;

-- name: wait_for_migrators
-- Until this transaction ends, nobody else migrates. The number is "sitelatc" as big-endian bytes.
SELECT pg_advisory_xact_lock(8316306165875176547);

-- name: record_migration
-- Note that a migration was applied.
INSERT INTO sitelatch.schema_migrations (version, name) VALUES ($1, $2);

-- name: enable_triggers
-- Have the tables tell of all that changes, what replication and restores write too, where somebody disabled their
-- triggers, as `pg_restore --disable-triggers` does. What was changed meanwhile nobody told, so it may be anything.
DO $$
DECLARE
    noting record;
BEGIN
    FOR noting IN
        SELECT tgrelid::regclass AS on_table, tgname
        FROM pg_catalog.pg_trigger
        JOIN pg_catalog.pg_class ON pg_class.oid = tgrelid AND relnamespace = 'sitelatch'::regnamespace
        WHERE (tgname LIKE 'note\_%' OR tgname = 'publish_changes') AND tgenabled <> 'A'
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', noting.on_table, noting.tgname);
    END LOOP;
    IF FOUND THEN
        PERFORM sitelatch.note_change('all', '');
    END IF;
END
$$;

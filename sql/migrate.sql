-- Queries of sql/migrate.py.

-- name: schema_exists
-- Whether any migration was ever applied.
SELECT to_regclass('sitelatch.schema_migrations') IS NOT NULL;

-- name: quoted_names
-- The names of this database and this role, quoted for use in SQL.
SELECT quote_ident(current_database()) AS database, quote_ident(current_user) AS role;

-- name: may_create_schema
-- Whether this role can migrate: the schema exists, or the role may create it; and the quoted names of both.
SELECT to_regnamespace('sitelatch') IS NOT NULL OR has_database_privilege(current_database(), 'CREATE') AS allowed,
    quote_ident(current_database()) AS database, quote_ident(current_user) AS role;

-- name: applied_migrations
-- The migrations that were applied, in order.
SELECT version, name FROM sitelatch.schema_migrations ORDER BY version;

-- name: lock_migrations
-- Keep other processes from migrating until this transaction ends. The key is "sitelatc" as big-endian bytes.
SELECT pg_advisory_xact_lock(8316306165875176547);

-- name: record_migration
-- Record that a migration was applied.
INSERT INTO sitelatch.schema_migrations (version, name) VALUES ($1, $2);

-- name: enable_triggers
-- Enable the change feed's triggers again if somebody disabled them, as `pg_restore --disable-triggers` does. They also
-- fire for rows that replication or a restore writes. Changes made in the meantime are unknown, so publish that
-- anything may have changed.
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

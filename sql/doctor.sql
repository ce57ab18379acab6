-- Queries of `sitelatch doctor`, which changes nothing.

-- name: describe_role
-- The current role: whether it may do anything in the server, manage roles, or create databases; whether it may use the
-- schema or create objects in it; whether it owns tables in it; and whether it has the privileges of the role $1.
SELECT
    current_user::text AS name,
    rolsuper AS superuser,
    rolcreaterole AS creates_roles,
    rolcreatedb AS creates_databases,
    has_schema_privilege('sitelatch', 'USAGE') AS uses_schema,
    has_schema_privilege('sitelatch', 'CREATE') AS creates_objects,
    EXISTS (
        SELECT FROM pg_catalog.pg_class
        WHERE relnamespace = 'sitelatch'::regnamespace AND relkind IN ('r', 'p') AND pg_has_role(relowner, 'USAGE')
    ) AS owns_tables
FROM pg_catalog.pg_roles
WHERE rolname = current_user

-- name: held_privileges
-- The privileges of the current role on the tables of the schema, and on columns where it has none on the whole table.
SELECT t.relname::text AS table_name, NULL AS column_name, p.name AS privilege
FROM pg_catalog.pg_class t
CROSS JOIN unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) AS p (name)
WHERE t.relnamespace = 'sitelatch'::regnamespace AND t.relkind IN ('r', 'p') AND has_table_privilege(t.oid, p.name)
UNION ALL
SELECT t.relname::text, c.attname::text, p.name
FROM pg_catalog.pg_class t
JOIN pg_catalog.pg_attribute c ON c.attrelid = t.oid AND c.attnum > 0 AND NOT c.attisdropped
CROSS JOIN unnest('{SELECT,INSERT,UPDATE,REFERENCES}'::text[]) AS p (name)
WHERE t.relnamespace = 'sitelatch'::regnamespace AND t.relkind IN ('r', 'p')
    AND has_column_privilege(t.oid, c.attnum, p.name) AND NOT has_table_privilege(t.oid, p.name)

-- name: which_database
-- The server, identified by its start time, and the database.
SELECT pg_postmaster_start_time()::text AS started, current_database()::text AS name

-- name: server_clock
-- The time on the server, in seconds since 1970.
SELECT extract(epoch FROM clock_timestamp())::float8

-- name: disabled_feed_triggers
-- How many triggers of the change feed do not fire for every change.
SELECT count(*)
FROM pg_catalog.pg_trigger
JOIN pg_catalog.pg_class ON pg_class.oid = tgrelid AND relnamespace = 'sitelatch'::regnamespace
WHERE (tgname LIKE 'note\_%' OR tgname = 'publish_changes') AND tgenabled <> 'A'

-- name: is_whole
-- Whether all tables and their triggers are there. If not, a dump is being restored.
SELECT sitelatch.is_whole()

-- name: wake_feeds
-- Notify all change feeds, which then look for changes.
SELECT pg_notify('sitelatch_scope', '')

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

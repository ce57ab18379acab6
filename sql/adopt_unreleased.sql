-- Converts a database that a development version of Sitelatch created before the first release. It applies the renames
-- since then, and records the schema as created by the migrations that replaced the earlier ones. Run it once, as the
-- owner of the schema:
--
--     psql -f adopt_unreleased.sql "dbname=YOURS"
--     sitelatch migrate
--
-- It changes nothing unless the database's last migration is 0010_collated_sites.
DO $$
BEGIN
    LOCK TABLE sitelatch.schema_migrations;
    IF (SELECT name FROM sitelatch.schema_migrations ORDER BY version DESC LIMIT 1)
        IS DISTINCT FROM '0010_collated_sites'
    THEN
        RAISE EXCEPTION 'the last migration of this database is not 0010_collated_sites; nothing was changed';
    END IF;
    ALTER TABLE sitelatch.idempotency_keys RENAME COLUMN asker TO caller;
    ALTER TABLE sitelatch.idempotency_keys RENAME COLUMN wish TO request_digest;
    ALTER TABLE sitelatch.idempotency_keys
        RENAME CONSTRAINT idempotency_keys_wish_length TO idempotency_keys_request_digest_length;
    ALTER TABLE sitelatch.round_trips RENAME TO oidc_logins;
    ALTER TABLE sitelatch.oidc_logins RENAME CONSTRAINT round_trips_pkey TO oidc_logins_pkey;
    ALTER TABLE sitelatch.oidc_logins RENAME CONSTRAINT round_trips_digest_length TO oidc_logins_digest_length;
    ALTER INDEX sitelatch.round_trips_expires_idx RENAME TO oidc_logins_expires_idx;
    DELETE FROM sitelatch.schema_migrations;
    INSERT INTO sitelatch.schema_migrations (version, name) VALUES
        (1, '0001_scope_tables'),
        (2, '0002_activity'),
        (3, '0003_change_feed'),
        (4, '0004_admin');
END
$$;

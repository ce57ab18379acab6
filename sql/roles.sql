-- The three roles, for a database of your own. Run this once in it, as somebody who may create roles:
--
--     psql -f roles.sql "dbname=YOURS"
--     psql -c '\password sitelatch_doors'      (and so for the other two)
--
--   sitelatch_owner   owns the schema: `sitelatch migrate` runs as this one, and nothing else does
--   sitelatch_doors   `database.url` of serve: reads the scope, writes last activity
--   sitelatch_admin   `admin.database_url`: changes the scope, appends to the audit log, keeps sessions
--
-- What each may do on the tables is granted by the migrations' end (grants.sql), whether this ran before or after:
-- where it ran after, run `sitelatch migrate` once more. Running this twice changes nothing.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['sitelatch_owner', 'sitelatch_doors', 'sitelatch_admin'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE', wanted);
        END IF;
    END LOOP;
END
$$;

CREATE SCHEMA IF NOT EXISTS sitelatch AUTHORIZATION sitelatch_owner;

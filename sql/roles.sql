-- Creates Sitelatch's three roles in your own database. Run it once, as a role that may create roles:
--
--     psql -f roles.sql "dbname=YOURS"
--     psql -c '\password sitelatch_doors'      (and the same for the other two)
--
--   sitelatch_owner   owns the schema; only `sitelatch migrate` uses this role
--   sitelatch_doors   for `database.url`: reads the scope, writes last activity, usage and findings
--   sitelatch_admin   for `admin.database_url`: changes the scope, appends to the audit log, stores sessions
--
-- `sitelatch migrate` grants each role its privileges on the tables (grants.sql). If you create the roles after the
-- tables, run `sitelatch migrate` again. Running this file again changes nothing.
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

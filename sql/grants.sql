-- All privileges of the roles in roles.sql.

-- name: grant_to_doors
-- Allow the role to read the scope, except for the names of users and who authorized them, and to write last activity,
-- usage and the findings of shadow mode.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'sitelatch_doors') THEN
        GRANT USAGE ON SCHEMA sitelatch TO sitelatch_doors;
        GRANT SELECT ON
            sitelatch.schema_migrations,
            sitelatch.workspaces,
            sitelatch.sites,
            sitelatch.api_keys,
            sitelatch.api_user_sites,
            sitelatch.scope_changes
        TO sitelatch_doors;
        GRANT SELECT, INSERT, UPDATE, DELETE ON sitelatch.rate_demand TO sitelatch_doors;
        GRANT SELECT (id, workspace_id, all_sites, disabled_at, expires_at, methods, networks, requests_per_second,
            burst, requests_per_day)
            ON sitelatch.api_users TO sitelatch_doors;
        GRANT SELECT ON sitelatch.api_user_activity, sitelatch.api_key_activity TO sitelatch_doors;
        -- Earlier versions granted it on all columns.
        REVOKE UPDATE ON sitelatch.api_user_activity, sitelatch.api_key_activity FROM sitelatch_doors;
        GRANT UPDATE (last_used_at) ON sitelatch.api_user_activity, sitelatch.api_key_activity TO sitelatch_doors;
        GRANT SELECT, INSERT, UPDATE, DELETE ON
            sitelatch.usage_hours,
            sitelatch.usage_days,
            sitelatch.usage_writers,
            sitelatch.shadow_findings
        TO sitelatch_doors;
    END IF;
END
$$;

-- name: grant_to_admin
-- Allow the role to change the scope, sessions and idempotency keys, and to read and append to the audit log.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'sitelatch_admin') THEN
        GRANT USAGE ON SCHEMA sitelatch TO sitelatch_admin;
        GRANT SELECT, INSERT, UPDATE, DELETE ON
            sitelatch.workspaces,
            sitelatch.sites,
            sitelatch.api_users,
            sitelatch.api_keys,
            sitelatch.api_user_sites,
            sitelatch.sealed_keys,
            sitelatch.idempotency_keys,
            sitelatch.sessions,
            sitelatch.oidc_logins
        TO sitelatch_admin;
        GRANT SELECT, INSERT ON
            sitelatch.api_user_activity,
            sitelatch.api_key_activity,
            sitelatch.audit_log
        TO sitelatch_admin;
        GRANT EXECUTE ON FUNCTION sitelatch.note_large_change() TO sitelatch_admin;
        -- Triggers write the change feed and the deleted keys.
        GRANT SELECT ON
            sitelatch.schema_migrations,
            sitelatch.scope_changes,
            sitelatch.deleted_keys,
            sitelatch.usage_hours,
            sitelatch.usage_days,
            sitelatch.shadow_findings
        TO sitelatch_admin;
    END IF;
END
$$;

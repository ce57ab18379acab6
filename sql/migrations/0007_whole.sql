-- Whether what is not there is known not to be there. While a dump is restored, a table's rows come before its triggers
-- (foreign keys have some, too), though several tables may be under way at once: so each must have one.
CREATE FUNCTION sitelatch.is_whole() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT count(DISTINCT tgrelid) = 7
    FROM pg_catalog.pg_trigger
    WHERE tgrelid IN (
        'sitelatch.workspaces'::pg_catalog.regclass,
        'sitelatch.sites'::pg_catalog.regclass,
        'sitelatch.api_users'::pg_catalog.regclass,
        'sitelatch.api_keys'::pg_catalog.regclass,
        'sitelatch.api_user_sites'::pg_catalog.regclass,
        'sitelatch.api_user_activity'::pg_catalog.regclass,
        'sitelatch.scope_pending'::pg_catalog.regclass
    )
$$;

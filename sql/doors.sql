-- What the doors ask and write. A role that may only do this: roles.sql.

-- name: find_grant
-- What the key with this digest may do, and how far the feed had come in the same snapshot. No user: the key is
-- unknown, or its user is disabled. An expired key still has one. Not whole: a dump is being restored, and nothing that
-- is missing is known to be missing.
SELECT
    (SELECT sitelatch.is_whole()) AS whole,
    (SELECT coalesce(max(scope_changes.seq), 0) FROM sitelatch.scope_changes) AS feed_position,
    found.*
FROM (VALUES (1)) AS always (row)
LEFT JOIN (
    SELECT
        api_users.id::text AS user_id,
        workspaces.name AS workspace,
        api_users.all_sites,
        CASE WHEN api_users.all_sites THEN '{}'::text[] ELSE ARRAY(
            SELECT api_user_sites.site_id
            FROM sitelatch.api_user_sites
            WHERE api_user_sites.user_id = api_users.id
            ORDER BY api_user_sites.site_id
        ) END AS sites,
        extract(epoch FROM api_keys.expires_at)::float8 AS expires_at
    FROM sitelatch.api_keys
    JOIN sitelatch.api_users ON api_users.id = api_keys.user_id
    JOIN sitelatch.workspaces ON workspaces.id = api_users.workspace_id
    WHERE api_keys.digest = $1 AND api_users.disabled_at IS NULL
) AS found ON true;

-- name: find_sites
-- The site that each of these names refers to, and its workspace; null where there is none. A name is an id, or "/" and
-- a folded id: ids hold no "/". Whole, and the feed's position: see find_grant.
SELECT
    (SELECT sitelatch.is_whole()) AS whole,
    (SELECT coalesce(max(scope_changes.seq), 0) FROM sitelatch.scope_changes) AS feed_position,
    asked.name,
    site.id,
    workspaces.name AS workspace
FROM unnest($1::text[]) AS asked (name)
LEFT JOIN LATERAL (
    -- Two lookups by index: for each name one of them finds nothing.
    SELECT sites.id, sites.workspace_id FROM sitelatch.sites WHERE sites.id = asked.name
    UNION ALL
    SELECT sites.id, sites.workspace_id
    FROM sitelatch.sites
    WHERE sites.folded = CASE WHEN asked.name LIKE '/%' THEN substr(asked.name, 2) END
) AS site ON true
LEFT JOIN sitelatch.workspaces ON workspaces.id = site.workspace_id;

-- name: record_activity
-- Note that these users were active so many seconds ago. Nobody is waited for: whose row another holds (a delete that
-- was not committed yet) is told as held, to be noted again later. The greatest time wins; deleted users have no row.
-- Where the tables are not whole (see find_grant), others have none yet either: then it has to be done again.
-- Arrays are handed over as text[], see pool.py.
WITH used AS MATERIALIZED (
    SELECT batch.user_id, now() - make_interval(secs => greatest(min(batch.age), 0)) AS used_at
    FROM unnest($1::text[]::uuid[], $2::text[]::float8[]) AS batch (user_id, age)
    GROUP BY batch.user_id
), locked AS MATERIALIZED (
    SELECT api_user_activity.user_id, used.used_at
    FROM sitelatch.api_user_activity
    JOIN used ON used.user_id = api_user_activity.user_id
    FOR NO KEY UPDATE OF api_user_activity SKIP LOCKED
), written AS (
    UPDATE sitelatch.api_user_activity
    SET last_used_at = locked.used_at
    FROM locked
    WHERE api_user_activity.user_id = locked.user_id
        -- greatest() written as a condition: an older time then costs no row version.
        AND (api_user_activity.last_used_at IS NULL OR api_user_activity.last_used_at < locked.used_at)
    RETURNING api_user_activity.user_id
)
SELECT
    (SELECT sitelatch.is_whole()) AS whole,
    (SELECT count(*) FROM written) AS written,
    ARRAY(
        SELECT api_user_activity.user_id::text
        FROM sitelatch.api_user_activity
        JOIN used ON used.user_id = api_user_activity.user_id
        WHERE api_user_activity.user_id NOT IN (SELECT locked.user_id FROM locked)
    ) AS held;

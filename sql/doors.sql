-- Queries of the front door. Its role (roles.sql) has only the privileges for these.

-- name: find_grant
-- The grant of the key with digest $1, and the change feed's position in the same snapshot. The user is null if the key
-- is unknown, but not if it has expired or its user is disabled. `several_keys` says whether its user has other keys. If
-- `whole` is false, a dump is being restored, and a row that is missing may still arrive. If `standby` is true, the
-- answer may be older than the last revocation.
SELECT
    (SELECT sitelatch.is_whole()) AS whole,
    (SELECT coalesce(max(scope_changes.seq), 0) FROM sitelatch.scope_changes) AS feed_position,
    pg_is_in_recovery() AS standby,
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
        extract(epoch FROM least(api_keys.expires_at, api_users.expires_at))::float8 AS expires_at,
        api_users.disabled_at IS NOT NULL AS disabled,
        api_users.methods,
        api_users.networks::text[] AS networks,
        api_users.requests_per_second,
        api_users.burst,
        api_users.requests_per_day,
        EXISTS (
            SELECT FROM sitelatch.api_keys AS other
            WHERE other.user_id = api_keys.user_id AND other.digest <> api_keys.digest
        ) AS several_keys
    FROM sitelatch.api_keys
    JOIN sitelatch.api_users ON api_users.id = api_keys.user_id
    JOIN sitelatch.workspaces ON workspaces.id = api_users.workspace_id
    WHERE api_keys.digest = $1
) AS found ON true;

-- name: find_keys
-- Which of the digests $1, in hex, belong to a key. `whole`, `feed_position` and `standby` are as in find_grant.
SELECT
    (SELECT sitelatch.is_whole()) AS whole,
    (SELECT coalesce(max(scope_changes.seq), 0) FROM sitelatch.scope_changes) AS feed_position,
    pg_is_in_recovery() AS standby,
    ARRAY(
        SELECT asked.digest
        FROM unnest($1::text[]) AS asked (digest)
        -- A subquery for each digest is an index lookup. A join could become a sequential scan.
        WHERE (SELECT true FROM sitelatch.api_keys WHERE api_keys.digest = decode(asked.digest, 'hex'))
    ) AS existing;

-- name: list_keys
-- The first $2 bytes of each of the next $3 digests after $1, in ascending order, as one value. `whole`, `feed_position`
-- and `standby` are as in find_grant.
SELECT
    (SELECT sitelatch.is_whole()) AS whole,
    (SELECT coalesce(max(scope_changes.seq), 0) FROM sitelatch.scope_changes) AS feed_position,
    pg_is_in_recovery() AS standby,
    (
        SELECT string_agg(substr(page.digest, 1, $2), ''::bytea ORDER BY page.digest)
        FROM (
            SELECT api_keys.digest
            FROM sitelatch.api_keys
            WHERE api_keys.digest > $1
            ORDER BY api_keys.digest
            LIMIT $3
        ) AS page
    ) AS prefixes;

-- name: find_sites
-- The site that each of the names $1 refers to, and its workspace; null if there is none. A name is an id, or "/" and a
-- folded id: no id contains "/". `whole`, `feed_position` and `standby` are as in find_grant.
SELECT
    (SELECT sitelatch.is_whole()) AS whole,
    (SELECT coalesce(max(scope_changes.seq), 0) FROM sitelatch.scope_changes) AS feed_position,
    pg_is_in_recovery() AS standby,
    asked.name,
    site.id,
    workspaces.name AS workspace
FROM unnest($1::text[]) AS asked (name)
LEFT JOIN LATERAL (
    -- Two index lookups, so that neither needs a sequential scan. For each name, one of them finds nothing.
    SELECT sites.id, sites.workspace_id FROM sitelatch.sites WHERE sites.id = asked.name
    UNION ALL
    SELECT sites.id, sites.workspace_id
    FROM sitelatch.sites
    WHERE sites.folded = CASE WHEN asked.name LIKE '/%' THEN substr(asked.name, 2) END
) AS site ON true
LEFT JOIN sitelatch.workspaces ON workspaces.id = site.workspace_id;

-- name: record_activity
-- Record that the subjects $1 were used $2 seconds ago. A subject is the id of an API user, or for a user with several
-- keys, its id, "/" and the digest of the key in hex. The latest time wins, and deleted users and keys are skipped. This
-- does not wait for row locks: subjects whose row is locked (by a delete that is not committed yet, for example) are
-- returned as `held`, to be recorded again later. If `whole` is false (see find_grant), rows are missing, and everything
-- must be recorded again. Arrays are passed as text[] (see pool.py).
WITH batch AS MATERIALIZED (
    SELECT
        given.subject,
        left(given.subject, 36)::uuid AS user_id,
        decode(nullif(substr(given.subject, 38), ''), 'hex') AS digest,
        now() - make_interval(secs => greatest(given.age, 0)) AS used_at
    FROM unnest($1::text[], $2::text[]::float8[]) AS given (subject, age)
), used AS MATERIALIZED (
    SELECT batch.user_id, max(batch.used_at) AS used_at FROM batch GROUP BY batch.user_id
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
        -- A condition instead of greatest(), so that an older time creates no row version.
        AND (api_user_activity.last_used_at IS NULL OR api_user_activity.last_used_at < locked.used_at)
    RETURNING api_user_activity.user_id
), used_keys AS MATERIALIZED (
    SELECT batch.digest, max(batch.used_at) AS used_at FROM batch WHERE batch.digest IS NOT NULL GROUP BY batch.digest
), locked_keys AS MATERIALIZED (
    SELECT api_key_activity.digest, used_keys.used_at
    FROM sitelatch.api_key_activity
    JOIN used_keys ON used_keys.digest = api_key_activity.digest
    FOR NO KEY UPDATE OF api_key_activity SKIP LOCKED
), written_keys AS (
    UPDATE sitelatch.api_key_activity
    SET last_used_at = locked_keys.used_at
    FROM locked_keys
    WHERE api_key_activity.digest = locked_keys.digest
        AND (api_key_activity.last_used_at IS NULL OR api_key_activity.last_used_at < locked_keys.used_at)
)
SELECT
    (SELECT sitelatch.is_whole()) AS whole,
    (SELECT count(*) FROM written) AS written,
    ARRAY(
        SELECT batch.subject
        FROM batch
        JOIN sitelatch.api_user_activity ON api_user_activity.user_id = batch.user_id
        WHERE batch.user_id NOT IN (SELECT locked.user_id FROM locked)
        UNION
        SELECT batch.subject
        FROM batch
        JOIN sitelatch.api_key_activity ON api_key_activity.digest = batch.digest
        WHERE batch.digest NOT IN (SELECT locked_keys.digest FROM locked_keys)
    ) AS held;

-- name: report_demand
-- Record that process $1 has the demand $3 (requests per second) for the parties $2. Returns the number of `processes`
-- that have reported within three seconds, including this one, and the demand of the `others` for each of the parties.
WITH others AS MATERIALIZED (
    SELECT rate_demand.parties, rate_demand.rates
    FROM sitelatch.rate_demand
    WHERE rate_demand.process <> $1::text::uuid AND rate_demand.reported_at > clock_timestamp() - interval '3 seconds'
), theirs AS (
    SELECT each.party, sum(each.rate) AS rate
    FROM others, unnest(others.parties, others.rates) AS each (party, rate)
    GROUP BY each.party
), reported AS (
    INSERT INTO sitelatch.rate_demand (process, reported_at, parties, rates)
    VALUES ($1::text::uuid, clock_timestamp(), $2::text[], $3::text[]::float8[])
    ON CONFLICT (process) DO UPDATE
    SET reported_at = excluded.reported_at, parties = excluded.parties, rates = excluded.rates
), forgotten AS (
    DELETE FROM sitelatch.rate_demand
    WHERE rate_demand.process IN (
        SELECT gone.process
        FROM sitelatch.rate_demand AS gone
        WHERE gone.reported_at < clock_timestamp() - interval '1 minute' AND gone.process <> $1::text::uuid
        FOR UPDATE SKIP LOCKED
    )
)
SELECT
    (SELECT 1 + count(*) FROM others) AS processes,
    ARRAY(
        SELECT coalesce(theirs.rate, 0)::text
        FROM unnest($2::text[]) WITH ORDINALITY AS mine (party, place)
        LEFT JOIN theirs ON theirs.party = mine.party
        ORDER BY mine.place
    ) AS others;

-- Queries of the hourly upkeep.

-- name: roll_up_usage
-- Move up to $2 rows of usage_hours that are more than $1 days old to usage_days, and return how many. Other processes
-- may do this, and add usage, at the same time.
WITH moved AS (
    DELETE FROM sitelatch.usage_hours
    WHERE ctid = ANY (ARRAY(
        SELECT ctid
        FROM sitelatch.usage_hours
        WHERE day < (now() AT TIME ZONE 'UTC')::date - $1::integer
        ORDER BY day, user_id, outcome
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING day, user_id, outcome, requests, bytes_out
), written AS (
    INSERT INTO sitelatch.usage_days AS days (day, user_id, outcome, requests, bytes_out)
    SELECT
        day,
        user_id,
        outcome,
        (SELECT sum(hour) FROM unnest(requests) AS hours (hour)),
        (SELECT sum(hour) FROM unnest(bytes_out) AS hours (hour))
    FROM moved
    ORDER BY day, user_id, outcome
    -- Usage that was written late is added to what was moved earlier.
    ON CONFLICT (day, user_id, outcome) DO UPDATE SET
        requests = days.requests + excluded.requests,
        bytes_out = days.bytes_out + excluded.bytes_out
)
SELECT count(*) FROM moved;

-- name: prune_usage_days
-- Delete up to $2 rows of usage_days that are more than $1 days old, and return how many.
WITH pruned AS (
    DELETE FROM sitelatch.usage_days
    WHERE ctid = ANY (ARRAY(
        SELECT ctid
        FROM sitelatch.usage_days
        WHERE day < (now() AT TIME ZONE 'UTC')::date - $1::integer
        ORDER BY day, user_id, outcome
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING day
)
SELECT count(*) FROM pruned;

-- name: prune_usage_writers
-- Forget the last batches of processes that have written none for $1 days.
DELETE FROM sitelatch.usage_writers WHERE written_at < now() - make_interval(days => $1);

-- name: count_expiring_keys
-- How many keys of enabled users expire within $1 days, by the earlier of their own and their user's expires_at. A key
-- whose user has another one that is valid for longer does not count, because a rotation has replaced it.
SELECT count(*)
FROM sitelatch.api_keys
JOIN sitelatch.api_users ON api_users.id = api_keys.user_id
CROSS JOIN LATERAL (SELECT least(api_keys.expires_at, api_users.expires_at) AS expires_at) AS valid
WHERE api_keys.digest IN (
        -- Two index lookups. The planner makes none of a condition on the earlier time.
        SELECT soon.digest FROM sitelatch.api_keys AS soon
        WHERE soon.expires_at > now() AND soon.expires_at <= now() + make_interval(days => $1)
        UNION
        SELECT soon.digest FROM sitelatch.api_keys AS soon
        JOIN sitelatch.api_users AS users ON users.id = soon.user_id
        WHERE users.expires_at > now() AND users.expires_at <= now() + make_interval(days => $1)
    )
    AND valid.expires_at > now() AND valid.expires_at <= now() + make_interval(days => $1)
    AND api_users.disabled_at IS NULL
    AND NOT EXISTS (
        SELECT FROM sitelatch.api_keys AS other
        WHERE other.user_id = api_keys.user_id AND other.digest <> api_keys.digest
            AND (least(other.expires_at, api_users.expires_at) IS NULL
                OR least(other.expires_at, api_users.expires_at) > valid.expires_at)
    );

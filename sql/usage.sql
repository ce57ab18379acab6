-- Queries of the usage of API users.

-- name: record_usage
-- Add the batch with number $2 of process $1, gathered $3 seconds ago, to the usage of API users. Row by row, $4 has the
-- users, $5 outcomes, $6 requests and $7 bytes. A batch that was written before is skipped: its number is stored in the
-- same transaction. Returns the UTC day of the batch, and how many requests of its users have passed on that day
-- (`totals` of `users`). If `whole` is false (see find_grant), nothing was written, and the batch must be sent again.
WITH batch AS MATERIALIZED (
    SELECT gathered_at::date AS day, extract(hour FROM gathered_at)::integer AS hour, sitelatch.is_whole() AS whole
    FROM (
        SELECT (now() - make_interval(secs => greatest($3::float8, 0))) AT TIME ZONE 'UTC' AS gathered_at
    ) AS computed
), claimed AS (
    -- If an earlier attempt is still being committed, this waits for it.
    INSERT INTO sitelatch.usage_writers AS writer (process, sequence, written_at)
    SELECT $1::text::uuid, $2::bigint, now() FROM batch WHERE batch.whole
    ON CONFLICT (process) DO UPDATE SET sequence = excluded.sequence, written_at = excluded.written_at
    WHERE writer.sequence < excluded.sequence
    RETURNING writer.sequence
), given AS (
    SELECT user_id::uuid, outcome, requests::bigint, bytes_out::bigint
    FROM unnest($4::text[], $5::text[], $6::text[], $7::text[]) AS rows (user_id, outcome, requests, bytes_out)
    WHERE EXISTS (SELECT FROM claimed)
), written AS (
    INSERT INTO sitelatch.usage_hours AS usage (day, user_id, outcome, requests, bytes_out)
    SELECT
        batch.day,
        given.user_id,
        given.outcome,
        array_fill(given.requests, ARRAY[1], ARRAY[batch.hour]),
        CASE WHEN given.outcome = 'passed' THEN array_fill(given.bytes_out, ARRAY[1], ARRAY[batch.hour]) END
    FROM batch, given
    ORDER BY given.user_id, given.outcome -- every process locks rows in the same order
    ON CONFLICT (day, user_id, outcome) DO UPDATE SET
        requests[(SELECT hour FROM batch)] = coalesce(usage.requests[(SELECT hour FROM batch)], 0)
            + excluded.requests[(SELECT hour FROM batch)],
        bytes_out[(SELECT hour FROM batch)] = coalesce(usage.bytes_out[(SELECT hour FROM batch)], 0)
            + excluded.bytes_out[(SELECT hour FROM batch)]
    RETURNING
        usage.user_id, usage.outcome, (SELECT sum(one.hour)::bigint FROM unnest(usage.requests) AS one (hour)) AS total
)
SELECT
    batch.whole,
    batch.day,
    coalesce(passed.users, '{}') AS users,
    coalesce(passed.totals, '{}') AS totals
FROM batch, (
    SELECT array_agg(written.user_id::text) AS users, array_agg(written.total::text) AS totals
    FROM written
    WHERE written.outcome = 'passed'
) AS passed;

-- name: usage_by_hour
-- The usage of the user $1 in the hours (UTC) from $2 to $3.
SELECT days.day + make_interval(hours => counted.hour) AS at, counted.outcome, counted.requests, counted.bytes_out
FROM generate_series(date_trunc('day', $2::timestamp), $3::timestamp, interval '1 day') AS days (day)
CROSS JOIN LATERAL (
    SELECT usage.outcome, hour, usage.requests[hour] AS requests, usage.bytes_out[hour] AS bytes_out
    FROM sitelatch.usage_hours AS usage, generate_series(0, 23) AS hours (hour)
    WHERE usage.day = days.day::date AND usage.user_id = $1 AND usage.requests[hour] IS NOT NULL
) AS counted
WHERE days.day + make_interval(hours => counted.hour) BETWEEN date_trunc('hour', $2::timestamp) AND $3::timestamp
ORDER BY at;

-- name: usage_by_day
-- The usage of the users $1 on the days (UTC) from $2 to $3.
SELECT counted.user_id, days.day::date AS at, counted.outcome, counted.requests, counted.bytes_out
FROM generate_series(date_trunc('day', $2::timestamp), $3::timestamp, interval '1 day') AS days (day)
CROSS JOIN unnest($1::text[]) AS asked (user_id)
CROSS JOIN LATERAL (
    SELECT usage.user_id, usage.outcome, usage.requests, usage.bytes_out
    FROM sitelatch.usage_days AS usage
    WHERE usage.day = days.day::date AND usage.user_id = asked.user_id::uuid
    UNION ALL
    SELECT usage.user_id, usage.outcome, hours.requests, hours.bytes_out
    FROM sitelatch.usage_hours AS usage
    CROSS JOIN LATERAL (
        SELECT sum(hour.requests)::bigint AS requests, sum(hour.bytes_out)::bigint AS bytes_out
        FROM unnest(usage.requests, usage.bytes_out) AS hour (requests, bytes_out)
    ) AS hours
    WHERE usage.day = days.day::date AND usage.user_id = asked.user_id::uuid
) AS counted
ORDER BY at;

-- name: export_usage_by_day
-- The next $6 rows after the day $3, user $4 and outcome $5 ($3 is null at the start), on the days (UTC) from $1 to $2, of
-- all users. `visible` says whether a row belongs to the workspaces with the ids $7 (null: all).
SELECT
    counted.day::timestamp AS at,
    counted.day,
    counted.user_id,
    counted.outcome,
    counted.requests,
    counted.bytes_out,
    api_users.name,
    workspaces.name AS workspace,
    ($7::text[] IS NULL OR api_users.workspace_id = ANY($7::text[]::bigint[])) IS TRUE AS visible
FROM (
    SELECT day, user_id, outcome, sum(requests)::bigint AS requests, sum(bytes_out)::bigint AS bytes_out
    FROM (
        (SELECT usage.day, usage.user_id, usage.outcome, usage.requests, usage.bytes_out
         FROM sitelatch.usage_days AS usage
         WHERE usage.day BETWEEN $1::date AND $2::date
           AND ($3::date IS NULL OR (usage.day, usage.user_id, usage.outcome) > ($3, $4::uuid, $5::text))
         ORDER BY usage.day, usage.user_id, usage.outcome
         LIMIT $6)
        UNION ALL
        (SELECT
             usage.day,
             usage.user_id,
             usage.outcome,
             (SELECT sum(hour) FROM unnest(usage.requests) AS hours (hour)),
             (SELECT sum(hour) FROM unnest(usage.bytes_out) AS hours (hour))
         FROM sitelatch.usage_hours AS usage
         WHERE usage.day BETWEEN $1 AND $2
           AND ($3 IS NULL OR (usage.day, usage.user_id, usage.outcome) > ($3, $4, $5))
         ORDER BY usage.day, usage.user_id, usage.outcome
         LIMIT $6)
    ) AS pages
    GROUP BY day, user_id, outcome
    ORDER BY day, user_id, outcome
    LIMIT $6
) AS counted
LEFT JOIN sitelatch.api_users ON api_users.id = counted.user_id
LEFT JOIN sitelatch.workspaces ON workspaces.id = api_users.workspace_id
ORDER BY counted.day, counted.user_id, counted.outcome;

-- name: export_usage_by_hour
-- The same by hour, on whole days: the hours of the next $6 rows of usage_hours.
SELECT
    counted.day + make_interval(hours => hour) AS at,
    counted.day,
    counted.user_id,
    counted.outcome,
    counted.requests[hour] AS requests,
    counted.bytes_out[hour] AS bytes_out,
    api_users.name,
    workspaces.name AS workspace,
    ($7::text[] IS NULL OR api_users.workspace_id = ANY($7::text[]::bigint[])) IS TRUE AS visible
FROM (
    SELECT usage.day, usage.user_id, usage.outcome, usage.requests, usage.bytes_out
    FROM sitelatch.usage_hours AS usage
    WHERE usage.day BETWEEN $1::date AND $2::date
        AND ($3::date IS NULL OR (usage.day, usage.user_id, usage.outcome) > ($3, $4::uuid, $5::text))
    ORDER BY usage.day, usage.user_id, usage.outcome
    LIMIT $6
) AS counted
CROSS JOIN generate_series(0, 23) AS hours (hour)
LEFT JOIN sitelatch.api_users ON api_users.id = counted.user_id
LEFT JOIN sitelatch.workspaces ON workspaces.id = api_users.workspace_id
WHERE counted.requests[hour] IS NOT NULL
ORDER BY counted.day, counted.user_id, counted.outcome, hour;

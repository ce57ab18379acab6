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

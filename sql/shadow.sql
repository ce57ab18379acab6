-- Queries of the findings of shadow mode.

-- name: record_shadow_findings
-- Add requests to findings. Row by row, $1 has their ids, $2 routes, $3 codes, $4 details, $5 API users (or an empty text),
-- $6 sites (or an empty text) and $7 numbers of requests. If `whole` is false (see find_grant), nothing was written.
WITH state AS MATERIALIZED (
    SELECT sitelatch.is_whole() AS whole
), written AS (
    INSERT INTO sitelatch.shadow_findings AS finding
        (id, route, code, detail, user_id, site, requests, first_seen_at, last_seen_at)
    SELECT given.id, route, code, detail, nullif(user_id, '')::uuid, nullif(site, ''), requests::bigint, now(), now()
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
        AS given (id, route, code, detail, user_id, site, requests)
    WHERE (SELECT whole FROM state)
    ORDER BY given.id -- every process locks rows in the same order
    ON CONFLICT (id) DO UPDATE SET
        requests = finding.requests + excluded.requests,
        last_seen_at = excluded.last_seen_at
)
SELECT whole FROM state;

-- name: prune_shadow_findings
-- Delete findings that were last seen more than $1 days ago, and the oldest of those beyond $2.
DELETE FROM sitelatch.shadow_findings
WHERE ctid = ANY (ARRAY(
    SELECT ctid
    FROM sitelatch.shadow_findings
    WHERE last_seen_at < now() - make_interval(days => $1)
        OR id IN (SELECT id FROM sitelatch.shadow_findings ORDER BY last_seen_at DESC, id OFFSET $2)
    FOR UPDATE SKIP LOCKED
));

-- name: list_shadow_findings
-- List findings by their number of requests, with their API users. $1 is the workspaces (null: all findings, also those
-- without an API user), $2 and $3 the requests and the id of the last finding of the previous page, and $4 the number.
SELECT
    finding.id,
    finding.route,
    finding.code,
    finding.detail,
    finding.site,
    finding.requests,
    finding.first_seen_at,
    finding.last_seen_at,
    finding.user_id,
    users.name AS user_name,
    users.all_sites,
    workspaces.name AS workspace,
    (
        SELECT keys.hint
        FROM sitelatch.api_keys AS keys
        WHERE keys.user_id = users.id
        ORDER BY keys.created_at DESC
        LIMIT 1
    ) AS hint
FROM sitelatch.shadow_findings AS finding
LEFT JOIN sitelatch.api_users AS users ON users.id = finding.user_id
LEFT JOIN sitelatch.workspaces AS workspaces ON workspaces.id = users.workspace_id
WHERE ($1::text[] IS NULL OR workspaces.name = ANY ($1::text[]))
    AND ($2::bigint IS NULL OR (finding.requests, finding.id) < ($2::bigint, $3::text))
ORDER BY finding.requests DESC, finding.id DESC
LIMIT $4;

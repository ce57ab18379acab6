-- The audit log. admin/api/audit_list.py says which query answers which request.
--
-- Each query that picks entries takes the workspaces $1 (null: all), the number of entries $2, the time $3 and the id $4
-- of the last entry on the previous page (null for the first page), and the filters: the times $5 (inclusive) and $6
-- (exclusive), the subject $7, the person's email in lowercase $8 and the action $9. Null stands for no filter.

-- name: write_audit
-- Record that the person with the name $1 and the email $2, at address $3, did $4: one entry for each of the workspaces
-- $5, subjects $6 and details $7.
INSERT INTO sitelatch.audit_log (actor_name, actor_email, actor_address, action, workspace, subject, detail)
SELECT $1, $2, $3, $4, line.workspace, line.subject, line.detail::jsonb
FROM unnest($5::text[], $6::text[], $7::text[]) AS line (workspace, subject, detail)

-- name: find_audit_time
-- The time of the entry $1.
SELECT at FROM sitelatch.audit_log WHERE id = $1

-- name: pick_audit
-- A page of all entries, newest first, without the filters $7 to $9.
SELECT l.*
FROM sitelatch.audit_log l
WHERE $1::text[] IS NULL
  AND ($4::bigint IS NULL OR (l.at AT TIME ZONE 'UTC', l.id) < ($3::timestamptz AT TIME ZONE 'UTC', $4))
  AND ($5::timestamptz IS NULL OR l.at AT TIME ZONE 'UTC' >= $5 AT TIME ZONE 'UTC')
  AND ($6::timestamptz IS NULL OR l.at AT TIME ZONE 'UTC' < $6 AT TIME ZONE 'UTC')
ORDER BY l.at AT TIME ZONE 'UTC' DESC, l.id DESC
LIMIT $2

-- name: pick_audit_of_workspaces
-- The same for the entries of the workspaces $1. It reads a page of each, so that one with few entries is as fast as one
-- with many.
SELECT page.*
FROM unnest($1::text[]) AS w (name)
CROSS JOIN LATERAL (
  SELECT l.*
  FROM sitelatch.audit_log l
  WHERE l.workspace = w.name
    AND ($4::bigint IS NULL OR (l.at, l.id) < ($3::timestamptz, $4))
    AND ($5::timestamptz IS NULL OR l.at >= $5)
    AND ($6::timestamptz IS NULL OR l.at < $6)
  ORDER BY l.at DESC, l.id DESC
  LIMIT $2
) page
ORDER BY page.at DESC, page.id DESC
LIMIT $2

-- name: filter_audit
-- A page of the entries with a filter whose index has them in order, newest first.
SELECT l.id
FROM sitelatch.audit_log l
WHERE ($1::text[] IS NULL OR l.workspace = ANY($1))
  AND ($4::bigint IS NULL OR (l.at, l.id) < ($3::timestamptz, $4))
  AND ($5::timestamptz IS NULL OR l.at >= $5)
  AND ($6::timestamptz IS NULL OR l.at < $6)
  AND ($7::text IS NULL OR l.subject = $7)
  AND ($8::text IS NULL OR lower(l.actor_email) = $8)
  AND ($9::text IS NULL OR l.action = $9)
ORDER BY l.at DESC, l.id DESC
LIMIT $2

-- name: match_audit
-- From the entries that the query {pick} returns, in its order, the first $11, each with whether it matches all filters
-- and one of the searches $10 (null: no search): each word of the search must be the beginning of a word of the entry.
-- Only those that match, if $12.
SELECT id, matches
FROM (
  SELECT picked.id, picked.at,
         ($7::text IS NULL OR picked.subject = $7)
         AND ($8::text IS NULL OR lower(picked.actor_email) = $8)
         AND ($9::text IS NULL OR picked.action = $9)
         AND ($10::text[] IS NULL OR picked.words @@ sitelatch.word_beginnings($10)) AS matches
  FROM ({pick}) AS picked
  OFFSET 0
) AS checked
WHERE matches OR NOT $12
ORDER BY at DESC, id DESC
LIMIT $11

-- name: search_audit
-- A page of the entries that match, as defined in match_audit, newest first. Indexes find all of them. The CTE keeps the
-- planner from reading entries in their order instead, because it cannot estimate how many match.
WITH matching AS MATERIALIZED (
  SELECT l.id, l.at
  FROM sitelatch.audit_log l
  WHERE ($10::text[] IS NULL OR l.words @@ sitelatch.word_beginnings($10))
    AND ($1::text[] IS NULL OR l.workspace = ANY($1))
    AND ($4::bigint IS NULL OR (l.at, l.id) < ($3::timestamptz, $4))
    AND ($5::timestamptz IS NULL OR l.at >= $5)
    AND ($6::timestamptz IS NULL OR l.at < $6)
    AND ($7::text IS NULL OR l.subject = $7)
    AND ($8::text IS NULL OR lower(l.actor_email) = $8)
    AND ($9::text IS NULL OR l.action = $9)
)
SELECT id FROM matching ORDER BY at DESC, id DESC LIMIT $2

-- name: describe_audit
-- All details of the entries $1, in this order. An entry about an API user says whether the user still exists.
SELECT l.id, l.at, l.actor_name, l.actor_email, l.actor_address, l.action, l.workspace, l.subject, l.detail::text,
       CASE WHEN l.action LIKE 'user.%' AND l.subject ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
            THEN EXISTS (SELECT FROM sitelatch.api_users u WHERE u.id = l.subject::uuid)
       END AS subject_exists
FROM unnest($1::text[]::bigint[]) WITH ORDINALITY AS wanted (id, place)
JOIN sitelatch.audit_log l ON l.id = wanted.id
ORDER BY wanted.place

-- The list of API users. admin/api/user_list.py says which query answers which request, and fills in what is in braces.
--
-- Each query that picks a page takes the workspaces $1 (null: all), the number of users $2, and the sort value $3 and the
-- id $4 of the last user on the previous page ($4 is null for the first page). It has one branch for all workspaces and
-- one that reads a page of each given workspace: with an index of its own, a workspace with few users is as fast as one
-- with many. PostgreSQL plans each query for its parameters, and leaves out the branches that do not apply.
--
-- A query with filters also takes: only users that were never used $5, only users that were not used for so many days $6
-- (null: all), and only users that the person with the lowercase email $7 authorized (null: anyone).

-- name: pick_users
-- A page of API users ordered by {column}, which has the type {type}. Users without a value come last.
SELECT id, sorted_by
FROM (
  (SELECT u.id, u.{column} AS sorted_by
   FROM sitelatch.api_users u
   WHERE $1::text[] IS NULL AND u.{column} IS NOT NULL{old}
     AND ($4::uuid IS NULL OR (u.{column}, u.id) {beyond} ($3::{type}, $4))
   ORDER BY u.{column}{direction}, u.id{direction}
   LIMIT $2)
  UNION ALL
  (SELECT u.id, u.{column}
   FROM sitelatch.api_users u
   WHERE $1 IS NULL AND u.{column} IS NULL AND ($4 IS NULL OR $3 IS NOT NULL OR u.id {beyond} $4)
   ORDER BY u.{column}{direction}, u.id{direction}
   LIMIT $2)
  UNION ALL
  (SELECT page.id, page.sorted_by
   FROM unnest($1::text[]::bigint[]) AS w (id)
   CROSS JOIN LATERAL (
     (SELECT u.id, u.{column} AS sorted_by
      FROM sitelatch.api_users u
      WHERE u.workspace_id = w.id AND u.{column} IS NOT NULL{old}
        AND ($4 IS NULL OR (u.{column}, u.id) {beyond} ($3, $4))
      ORDER BY u.{column}{direction}, u.id{direction}
      LIMIT $2)
     UNION ALL
     (SELECT u.id, u.{column}
      FROM sitelatch.api_users u
      WHERE u.workspace_id = w.id AND u.{column} IS NULL AND ($4 IS NULL OR $3 IS NOT NULL OR u.id {beyond} $4)
      ORDER BY u.{column}{direction}, u.id{direction}
      LIMIT $2)
   ) page)
) AS pages
ORDER BY {order_by}
LIMIT $2

-- name: pick_never_used_users
-- A page of API users that were never used, ordered by creation.
SELECT id, sorted_by
FROM (
  (SELECT a.user_id AS id, a.created_at AS sorted_by
   FROM sitelatch.api_user_activity a
   WHERE $1::text[] IS NULL AND a.used_quarter IS NULL
     AND ($4::uuid IS NULL OR (a.created_at, a.user_id) {beyond} ($3::timestamptz, $4))
   ORDER BY a.created_at{direction}, a.user_id{direction}
   LIMIT $2)
  UNION ALL
  (SELECT page.user_id, page.created_at
   FROM unnest($1::text[]::bigint[]) AS w (id)
   CROSS JOIN LATERAL (
     SELECT a.user_id, a.created_at
     FROM sitelatch.api_user_activity a
     WHERE a.workspace_id = w.id AND a.used_quarter IS NULL
       AND ($4 IS NULL OR (a.created_at, a.user_id) {beyond} ($3, $4))
     ORDER BY a.created_at{direction}, a.user_id{direction}
     LIMIT $2
   ) page)
) AS pages
ORDER BY {order_by}
LIMIT $2

-- name: pick_users_most_recently_used_first
-- A page of API users, most recently used first, and those that were never used last. The index has only the quarter
-- of an hour of the last use, so that recording a use stays a HOT update. An incremental sort orders each quarter's users.
SELECT id, sorted_by
FROM (
  (SELECT a.user_id AS id, a.last_used_at AS sorted_by
   FROM sitelatch.api_user_activity a
   WHERE $1::text[] IS NULL AND a.used_quarter IS NOT NULL{used}
     AND ($4::uuid IS NULL OR (a.used_quarter <= sitelatch.quarter_hour($3::timestamptz)
                               AND (a.last_used_at, a.user_id) < ($3, $4)))
   ORDER BY a.used_quarter DESC, a.last_used_at DESC, a.user_id DESC
   LIMIT $2)
  UNION ALL
  (SELECT a.user_id, NULL
   FROM sitelatch.api_user_activity a
   WHERE $1 IS NULL AND a.used_quarter IS NULL{never_used} AND ($4 IS NULL OR $3 IS NOT NULL OR a.user_id < $4)
   ORDER BY a.used_quarter DESC, a.user_id DESC
   LIMIT $2)
  UNION ALL
  (SELECT page.user_id, page.last_used_at
   FROM unnest($1::text[]::bigint[]) AS w (id)
   CROSS JOIN LATERAL (
     (SELECT a.user_id, a.last_used_at
      FROM sitelatch.api_user_activity a
      WHERE a.workspace_id = w.id AND a.used_quarter IS NOT NULL{used}
        AND ($4 IS NULL OR (a.used_quarter <= sitelatch.quarter_hour($3)
                            AND (a.last_used_at, a.user_id) < ($3, $4)))
      ORDER BY a.used_quarter DESC, a.last_used_at DESC, a.user_id DESC
      LIMIT $2)
     UNION ALL
     (SELECT a.user_id, NULL
      FROM sitelatch.api_user_activity a
      WHERE a.workspace_id = w.id AND a.used_quarter IS NULL{never_used}
        AND ($4 IS NULL OR $3 IS NOT NULL OR a.user_id < $4)
      ORDER BY a.used_quarter DESC, a.user_id DESC
      LIMIT $2)
   ) page)
) AS pages
ORDER BY sorted_by DESC NULLS LAST, id DESC
LIMIT $2

-- name: pick_users_least_recently_used_first
-- A page of API users: those that were never used first, then the least recently used.
SELECT id, sorted_by
FROM (
  (SELECT a.user_id AS id, NULL::timestamptz AS sorted_by
   FROM sitelatch.api_user_activity a
   WHERE $1::text[] IS NULL AND a.used_quarter IS NULL{never_used}
     AND $3::timestamptz IS NULL AND ($4::uuid IS NULL OR a.user_id > $4)
   ORDER BY a.used_quarter, a.user_id
   LIMIT $2)
  UNION ALL
  (SELECT a.user_id, a.last_used_at
   FROM sitelatch.api_user_activity a
   WHERE $1 IS NULL AND a.used_quarter IS NOT NULL{used}
     AND ($3 IS NULL OR (a.used_quarter >= sitelatch.quarter_hour($3)
                         AND (a.last_used_at, a.user_id) > ($3, $4)))
   ORDER BY a.used_quarter, a.last_used_at, a.user_id
   LIMIT $2)
  UNION ALL
  (SELECT page.user_id, page.last_used_at
   FROM unnest($1::text[]::bigint[]) AS w (id)
   CROSS JOIN LATERAL (
     (SELECT a.user_id, NULL::timestamptz AS last_used_at
      FROM sitelatch.api_user_activity a
      WHERE a.workspace_id = w.id AND a.used_quarter IS NULL{never_used}
        AND $3 IS NULL AND ($4 IS NULL OR a.user_id > $4)
      ORDER BY a.used_quarter, a.user_id
      LIMIT $2)
     UNION ALL
     (SELECT a.user_id, a.last_used_at
      FROM sitelatch.api_user_activity a
      WHERE a.workspace_id = w.id AND a.used_quarter IS NOT NULL{used}
        AND ($3 IS NULL OR (a.used_quarter >= sitelatch.quarter_hour($3)
                            AND (a.last_used_at, a.user_id) > ($3, $4)))
      ORDER BY a.used_quarter, a.last_used_at, a.user_id
      LIMIT $2)
   ) page)
) AS pages
ORDER BY sorted_by NULLS FIRST, id
LIMIT $2

-- name: created_long_ago
-- The part of a filter for users that were not used for $6 days which limits the creation time.
AND ($6::int IS NULL OR u.created_at < now() - make_interval(days => $6))

-- name: used_long_ago
-- The filter by last use, for the activity of users that were used.
AND NOT $5::bool AND ($6::int IS NULL OR (
   a.used_quarter <= sitelatch.quarter_hour(now() - make_interval(days => $6))
   AND a.last_used_at < now() - make_interval(days => $6)))

-- name: never_used_since_long_ago
-- The filter by last use, for the activity of users that were never used.
AND ($6::int IS NULL OR a.created_at < now() - make_interval(days => $6))

-- name: by_last_use
-- The filter by last use, for the activity of all users.
(a.used_quarter IS NULL{never_used} OR a.used_quarter IS NOT NULL{used})

-- name: match_users
-- From the users that the query {pick} returns, in its order {order_by}, the first $13 that pass the filters and match
-- one of the searches $8 (null: all match by name). A user matches if each word of a search is the beginning of a word
-- in one of these: its name and who authorized it (if $9), the hint of one of its keys (if $10), one of its sites (if
-- $11). Users that do not match are returned too if $12. The users are looked up one by one (hence OFFSET 0), because
-- the planner cannot estimate how many match.
SELECT picked.id, picked.sorted_by, matching.by_name, matching.by_hint, matching.by_site
FROM ({pick}) AS picked
CROSS JOIN LATERAL (
  SELECT
    filtered.pass AND $9 AND ($8::text[] IS NULL OR u.words @@ sitelatch.word_beginnings($8)) AS by_name,
    filtered.pass AND $10 AND EXISTS (
      SELECT FROM sitelatch.api_keys k
      WHERE k.user_id = u.id AND k.words @@ sitelatch.word_beginnings($8)
    ) AS by_hint,
    filtered.pass AND $11 AND EXISTS (
      SELECT FROM sitelatch.api_user_sites m
      WHERE m.user_id = u.id AND (m.site_id IN (
        SELECT s.id FROM sitelatch.sites s
        WHERE s.words @@ sitelatch.word_beginnings($8)
      )) IS TRUE
    ) AS by_site
  FROM sitelatch.api_users u
  CROSS JOIN LATERAL (
    SELECT ($7::text IS NULL OR lower(u.authorized_by_email) = $7) AND (NOT $5::bool AND $6::int IS NULL OR EXISTS (
      SELECT FROM sitelatch.api_user_activity a WHERE a.user_id = u.id AND {by_last_use}
    )) AS pass
    OFFSET 0
  ) filtered
  WHERE u.id = picked.id
  OFFSET 0
) matching
WHERE $12 OR matching.by_name OR matching.by_hint OR matching.by_site
ORDER BY {order_by}
LIMIT $13

-- name: find_users
-- The ids of all users that match by name ($9), hint ($10) or site ($11), as defined in match_users, or pass the filter by
-- last use or by person if there is no search. The other filters are still to be applied.
SELECT u.id
FROM sitelatch.api_users u
WHERE $9 AND $8::text[] IS NOT NULL AND u.words @@ sitelatch.word_beginnings($8)
  AND ($7::text IS NULL OR lower(u.authorized_by_email) = $7)
  AND ($1::text[] IS NULL OR u.workspace_id = ANY($1::text[]::bigint[]))
UNION
SELECT u.id
FROM sitelatch.api_users u
WHERE $8 IS NULL AND lower(u.authorized_by_email) = $7
  AND ($1 IS NULL OR u.workspace_id = ANY($1::text[]::bigint[]))
UNION
SELECT a.user_id
FROM sitelatch.api_user_activity a
WHERE $8 IS NULL AND $7 IS NULL AND a.used_quarter IS NULL{never_used}
  AND ($1 IS NULL OR a.workspace_id = ANY($1::text[]::bigint[]))
UNION
SELECT a.user_id
FROM sitelatch.api_user_activity a
WHERE $8 IS NULL AND $7 IS NULL{used}
  AND ($1 IS NULL OR a.workspace_id = ANY($1::text[]::bigint[]))
UNION
SELECT k.user_id
FROM sitelatch.api_keys k
WHERE $10 AND k.words @@ sitelatch.word_beginnings($8)
UNION
SELECT m.user_id
FROM sitelatch.sites s
CROSS JOIN LATERAL (
  SELECT m.user_id
  FROM sitelatch.api_user_sites m
  WHERE m.site_id = s.id AND m.workspace_id = s.workspace_id
  OFFSET 0
) m
WHERE $11 AND s.words @@ sitelatch.word_beginnings($8)
  AND ($1 IS NULL OR s.workspace_id = ANY($1::text[]::bigint[]))

-- name: user_by_column
-- The user `found.id` if it passes the filters, with the column by which it is sorted.
SELECT u.id, u.{column} AS sorted_by
FROM sitelatch.api_users u
WHERE u.id = found.id AND ($1 IS NULL OR u.workspace_id = ANY($1::text[]::bigint[]))
  AND ($7 IS NULL OR lower(u.authorized_by_email) = $7) AND (NOT $5::bool AND $6::int IS NULL OR EXISTS (
    SELECT FROM sitelatch.api_user_activity a WHERE a.user_id = u.id AND {by_last_use}
  ))

-- name: user_by_activity
-- The user `found.id` if it passes the filters, with its last activity.
SELECT a.user_id AS id, a.last_used_at AS sorted_by
FROM sitelatch.api_user_activity a
WHERE a.user_id = found.id AND ($1 IS NULL OR a.workspace_id = ANY($1::text[]::bigint[])) AND {by_last_use}
  AND ($7 IS NULL OR EXISTS (
    SELECT FROM sitelatch.api_users u WHERE u.id = a.user_id AND lower(u.authorized_by_email) = $7
  ))

-- name: search_users
-- A page of all users that {find} finds and that pass the filters, in the order {order_by}.
SELECT v.id, v.sorted_by
FROM ({find}) AS found
CROSS JOIN LATERAL ({look_up} OFFSET 0) AS v
WHERE $4::uuid IS NULL OR CASE
  WHEN v.sorted_by IS NOT DISTINCT FROM $3::{type} THEN v.id {beyond} $4
  WHEN v.sorted_by IS NULL OR $3 IS NULL THEN {null_follows} IS NULL
  ELSE v.sorted_by {beyond} $3
END
ORDER BY {order_by}
LIMIT $2

-- name: count_users
-- How many API users the workspaces $1 (null: all) have, at most $2.
SELECT count(*)
FROM (
  (SELECT FROM sitelatch.api_users WHERE $1::text[] IS NULL LIMIT $2)
  UNION ALL
  (SELECT
   FROM unnest($1::text[]::bigint[]) AS w (id)
   CROSS JOIN LATERAL (SELECT FROM sitelatch.api_users u WHERE u.workspace_id = w.id LIMIT $2) page
   LIMIT $2)
) AS counted

-- name: passes_filters
-- Keeps the user with the id {id} only if it passes the filters.
CROSS JOIN LATERAL (
  SELECT
  FROM sitelatch.api_users filtered
  JOIN sitelatch.api_user_activity a ON a.user_id = filtered.id
  WHERE filtered.id = {id} AND ($1::text[] IS NULL OR filtered.workspace_id = ANY($1::text[]::bigint[]))
    AND ($7::text IS NULL OR lower(filtered.authorized_by_email) = $7)
    AND (NOT $5::bool AND $6::int IS NULL OR {by_last_use})
  OFFSET 0
) passing

-- name: count_matching_users
-- How many users match the search $3 (null: all), as defined in match_users, and pass the filters, at most $2 by name and
-- $4 (null: all) by hint and by authorization. `partial` is true if there may be more.
WITH filtered AS MATERIALIZED (
  (SELECT u.id
   FROM sitelatch.api_users u {user_passes}
   WHERE $3::text[] IS NULL AND lower(u.authorized_by_email) = $7::text
   LIMIT $2)
  UNION ALL
  (SELECT a.user_id
   FROM sitelatch.api_user_activity a
   WHERE $3 IS NULL AND $7 IS NULL AND a.used_quarter IS NULL{never_used}
     AND ($1::text[] IS NULL OR a.workspace_id = ANY($1::text[]::bigint[]))
   LIMIT $2)
  UNION ALL
  (SELECT a.user_id
   FROM sitelatch.api_user_activity a
   WHERE $3 IS NULL AND $7 IS NULL AND a.used_quarter IS NOT NULL{used}
     AND ($1 IS NULL OR a.workspace_id = ANY($1::text[]::bigint[]))
   LIMIT $2)
  UNION ALL
  (SELECT u.id
   FROM sitelatch.api_users u {user_passes}
   WHERE $3 IS NOT NULL AND u.words @@ sitelatch.word_beginnings($3) AND ($7 IS NULL OR lower(u.authorized_by_email) = $7)
     AND ($1 IS NULL OR u.workspace_id = ANY($1::text[]::bigint[]))
   LIMIT $2)
), hinted AS MATERIALIZED (
  SELECT k.user_id AS id
  FROM sitelatch.api_keys k {key_passes}
  WHERE k.words @@ sitelatch.word_beginnings($3)
  LIMIT $4
), authorized AS MATERIALIZED (
  SELECT m.user_id AS id
  FROM sitelatch.sites s
  CROSS JOIN LATERAL (
    SELECT m.user_id
    FROM sitelatch.api_user_sites m
    WHERE m.site_id = s.id AND m.workspace_id = s.workspace_id
    OFFSET 0
  ) m {authorization_passes}
  WHERE s.words @@ sitelatch.word_beginnings($3)
    AND ($1 IS NULL OR s.workspace_id = ANY($1::text[]::bigint[]))
  LIMIT $4
)
SELECT count(*) AS count,
       (SELECT count(*) FROM hinted) = $4 OR (SELECT count(*) FROM authorized) = $4 AS partial
FROM (SELECT id FROM filtered UNION SELECT id FROM hinted UNION SELECT id FROM authorized) AS matching

-- name: list_activity
-- The last activity of the users $1 that are in the workspaces with the ids $2 (null: all).
SELECT user_id, last_used_at
FROM sitelatch.api_user_activity
WHERE user_id = ANY($1::text[]::uuid[]) AND ($2::text[] IS NULL OR workspace_id = ANY($2::text[]::bigint[]))

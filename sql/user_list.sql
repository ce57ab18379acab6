-- The list of API users. admin/api/user_list.py says which query answers which request.
--
-- Each query that picks a page takes the workspaces $1 (null: all), the number of users $2, and the sort value $3 and the
-- id $4 of the last user on the previous page ($4 is null for the first page). It has one branch for all workspaces and
-- one that reads a page of each given workspace: with an index of its own, a workspace with few users is as fast as one
-- with many. PostgreSQL plans each query for its parameters, and leaves out the branches that do not apply.

-- name: pick_users_newest_first
-- A page of API users, newest first.
SELECT id, sorted_by
FROM (
  (SELECT u.id, u.created_at AS sorted_by
   FROM sitelatch.api_users u
   WHERE $1::text[] IS NULL AND ($4::uuid IS NULL OR (u.created_at, u.id) < ($3::timestamptz, $4))
   ORDER BY u.created_at DESC, u.id DESC
   LIMIT $2)
  UNION ALL
  (SELECT page.id, page.created_at
   FROM unnest($1::text[]::bigint[]) AS w (id)
   CROSS JOIN LATERAL (
     SELECT u.id, u.created_at
     FROM sitelatch.api_users u
     WHERE u.workspace_id = w.id AND ($4 IS NULL OR (u.created_at, u.id) < ($3, $4))
     ORDER BY u.created_at DESC, u.id DESC
     LIMIT $2
   ) page)
) AS pages
ORDER BY sorted_by DESC, id DESC
LIMIT $2

-- name: pick_users_oldest_first
-- A page of API users, oldest first.
SELECT id, sorted_by
FROM (
  (SELECT u.id, u.created_at AS sorted_by
   FROM sitelatch.api_users u
   WHERE $1::text[] IS NULL AND ($4::uuid IS NULL OR (u.created_at, u.id) > ($3::timestamptz, $4))
   ORDER BY u.created_at, u.id
   LIMIT $2)
  UNION ALL
  (SELECT page.id, page.created_at
   FROM unnest($1::text[]::bigint[]) AS w (id)
   CROSS JOIN LATERAL (
     SELECT u.id, u.created_at
     FROM sitelatch.api_users u
     WHERE u.workspace_id = w.id AND ($4 IS NULL OR (u.created_at, u.id) > ($3, $4))
     ORDER BY u.created_at, u.id
     LIMIT $2
   ) page)
) AS pages
ORDER BY sorted_by, id
LIMIT $2

-- name: pick_users_most_recently_used_first
-- A page of API users, most recently used first, and those that were never used last. The index has only the quarter
-- of an hour of the last use, so that recording a use stays a HOT update. An incremental sort orders each quarter's users.
SELECT id, sorted_by
FROM (
  (SELECT a.user_id AS id, a.last_used_at AS sorted_by
   FROM sitelatch.api_user_activity a
   WHERE $1::text[] IS NULL AND a.used_quarter IS NOT NULL
     AND ($4::uuid IS NULL OR (a.used_quarter <= sitelatch.quarter_hour($3::timestamptz)
                               AND (a.last_used_at, a.user_id) < ($3, $4)))
   ORDER BY a.used_quarter DESC, a.last_used_at DESC, a.user_id DESC
   LIMIT $2)
  UNION ALL
  (SELECT a.user_id, NULL
   FROM sitelatch.api_user_activity a
   WHERE $1 IS NULL AND a.used_quarter IS NULL AND ($4 IS NULL OR $3 IS NOT NULL OR a.user_id < $4)
   ORDER BY a.used_quarter DESC, a.user_id DESC
   LIMIT $2)
  UNION ALL
  (SELECT page.user_id, page.last_used_at
   FROM unnest($1::text[]::bigint[]) AS w (id)
   CROSS JOIN LATERAL (
     (SELECT a.user_id, a.last_used_at
      FROM sitelatch.api_user_activity a
      WHERE a.workspace_id = w.id AND a.used_quarter IS NOT NULL
        AND ($4 IS NULL OR (a.used_quarter <= sitelatch.quarter_hour($3)
                            AND (a.last_used_at, a.user_id) < ($3, $4)))
      ORDER BY a.used_quarter DESC, a.last_used_at DESC, a.user_id DESC
      LIMIT $2)
     UNION ALL
     (SELECT a.user_id, NULL
      FROM sitelatch.api_user_activity a
      WHERE a.workspace_id = w.id AND a.used_quarter IS NULL AND ($4 IS NULL OR $3 IS NOT NULL OR a.user_id < $4)
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
   WHERE $1::text[] IS NULL AND a.used_quarter IS NULL
     AND $3::timestamptz IS NULL AND ($4::uuid IS NULL OR a.user_id > $4)
   ORDER BY a.used_quarter, a.user_id
   LIMIT $2)
  UNION ALL
  (SELECT a.user_id, a.last_used_at
   FROM sitelatch.api_user_activity a
   WHERE $1 IS NULL AND a.used_quarter IS NOT NULL
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
      WHERE a.workspace_id = w.id AND a.used_quarter IS NULL AND $3 IS NULL AND ($4 IS NULL OR a.user_id > $4)
      ORDER BY a.used_quarter, a.user_id
      LIMIT $2)
     UNION ALL
     (SELECT a.user_id, a.last_used_at
      FROM sitelatch.api_user_activity a
      WHERE a.workspace_id = w.id AND a.used_quarter IS NOT NULL
        AND ($3 IS NULL OR (a.used_quarter >= sitelatch.quarter_hour($3)
                            AND (a.last_used_at, a.user_id) > ($3, $4)))
      ORDER BY a.used_quarter, a.last_used_at, a.user_id
      LIMIT $2)
   ) page)
) AS pages
ORDER BY sorted_by NULLS FIRST, id
LIMIT $2

-- name: match_users
-- From the users that the query {pick} returns, in its order {order_by}, the first $10 that match one of the searches
-- $5. A user matches if each word of a search is the beginning of a word in one of these: its name and who authorized
-- it (if $6), the hint of one of its keys (if $7), one of its sites (if $8). Users that do not match are returned too
-- if $9. The users are looked up one by one (hence OFFSET 0), because the planner cannot estimate how many match.
SELECT picked.id, picked.sorted_by, matching.by_name, matching.by_hint, matching.by_site
FROM ({pick}) AS picked
CROSS JOIN LATERAL (
  SELECT
    $6 AND u.words @@ sitelatch.word_beginnings($5) AS by_name,
    $7 AND EXISTS (
      SELECT FROM sitelatch.api_keys k
      WHERE k.user_id = u.id AND k.words @@ sitelatch.word_beginnings($5)
    ) AS by_hint,
    $8 AND EXISTS (
      SELECT FROM sitelatch.api_user_sites m
      WHERE m.user_id = u.id AND (m.site_id IN (
        SELECT s.id FROM sitelatch.sites s
        WHERE s.words @@ sitelatch.word_beginnings($5)
      )) IS TRUE
    ) AS by_site
  FROM sitelatch.api_users u
  WHERE u.id = picked.id
  OFFSET 0
) matching
WHERE $9 OR matching.by_name OR matching.by_hint OR matching.by_site
ORDER BY {order_by}
LIMIT $10

-- name: search_users
-- A page of all users that match, as defined in match_users, found through indexes: descending if $9, by last activity
-- if $10 and otherwise by creation time.
WITH matching AS (
  SELECT u.id, u.created_at AS sorted_by
  FROM sitelatch.api_users u
  WHERE $6 AND NOT $10 AND u.words @@ sitelatch.word_beginnings($5)
    AND ($1::text[] IS NULL OR u.workspace_id = ANY($1::text[]::bigint[]))
  UNION
  SELECT found.id, v.sorted_by
  FROM (
    SELECT u.id
    FROM sitelatch.api_users u
    WHERE $6 AND $10 AND u.words @@ sitelatch.word_beginnings($5)
      AND ($1 IS NULL OR u.workspace_id = ANY($1::text[]::bigint[]))
    UNION
    SELECT k.user_id
    FROM sitelatch.api_keys k
    WHERE $7 AND k.words @@ sitelatch.word_beginnings($5)
    UNION
    SELECT m.user_id
    FROM sitelatch.sites s
    CROSS JOIN LATERAL (
      SELECT m.user_id
      FROM sitelatch.api_user_sites m
      WHERE m.site_id = s.id AND m.workspace_id = s.workspace_id
      OFFSET 0
    ) m
    WHERE $8 AND s.words @@ sitelatch.word_beginnings($5)
      AND ($1 IS NULL OR s.workspace_id = ANY($1::text[]::bigint[]))
  ) found
  -- Only one of the two tables is read.
  CROSS JOIN LATERAL (
    SELECT u.workspace_id, u.created_at AS sorted_by FROM sitelatch.api_users u WHERE NOT $10 AND u.id = found.id
    UNION ALL
    SELECT a.workspace_id, a.last_used_at FROM sitelatch.api_user_activity a WHERE $10 AND a.user_id = found.id
    OFFSET 0
  ) v
  WHERE $1 IS NULL OR v.workspace_id = ANY($1::text[]::bigint[])
)
SELECT m.id, m.sorted_by
FROM matching m
WHERE $4::uuid IS NULL OR CASE
  WHEN m.sorted_by IS NOT DISTINCT FROM $3::timestamptz THEN CASE WHEN $9 THEN m.id < $4 ELSE m.id > $4 END
  WHEN m.sorted_by IS NULL OR $3 IS NULL THEN (m.sorted_by IS NULL) = $9
  WHEN $9 THEN m.sorted_by < $3
  ELSE m.sorted_by > $3
END
ORDER BY
  CASE WHEN $9 THEN m.sorted_by END DESC NULLS LAST, CASE WHEN $9 THEN m.id END DESC,
  CASE WHEN NOT $9 THEN m.sorted_by END NULLS FIRST, CASE WHEN NOT $9 THEN m.id END
LIMIT $2

-- name: list_activity
-- The last activity of the users $1 that are in the workspaces with the ids $2 (null: all).
SELECT user_id, last_used_at
FROM sitelatch.api_user_activity
WHERE user_id = ANY($1::text[]::uuid[]) AND ($2::text[] IS NULL OR workspace_id = ANY($2::text[]::bigint[]))

-- The list of API users. admin/api/user_search.py says which query answers which request, and fills in what is in braces.
--
-- Each query that picks users takes the workspaces $1 (null: all), the number of users $2, and the sort value $3 and the
-- id $4 of the last user before them ($4 is null at the start of the list). It has one branch for all workspaces and one
-- that reads a page of each given workspace: with an index of its own, a workspace with few users is as fast as one with
-- many. PostgreSQL plans each query for its parameters, and leaves out the branches that do not apply. Filters by last
-- use are part of it where they limit how much of an index must be read.

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
   WHERE $1::text[] IS NULL AND a.used_quarter IS NULL{never_used}
     AND ($4::uuid IS NULL OR (a.created_at, a.user_id) {beyond} ($3::timestamptz, $4))
   ORDER BY a.created_at{direction}, a.user_id{direction}
   LIMIT $2)
  UNION ALL
  (SELECT page.user_id, page.created_at
   FROM unnest($1::text[]::bigint[]) AS w (id)
   CROSS JOIN LATERAL (
     SELECT a.user_id, a.created_at
     FROM sitelatch.api_user_activity a
     WHERE a.workspace_id = w.id AND a.used_quarter IS NULL{never_used}
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

-- name: used_long_ago
-- The part of a filter by last use for the activity of users that were used. {cutoff} is the latest time.
AND a.used_quarter <= sitelatch.quarter_hour({cutoff}) AND a.last_used_at < {cutoff} AND a.created_at < {cutoff}

-- name: by_last_use
-- The filter by last use, for the activity of any user.
(a.used_quarter IS NULL{never_used} OR a.used_quarter IS NOT NULL{used})

-- name: passes_last_use
-- Whether the user u passes the filter by last use.
EXISTS (SELECT FROM sitelatch.api_user_activity a WHERE a.user_id = u.id AND {by_last_use})

-- name: passes_person
-- Whether the words {query} are beginnings of words of the person who authorized the user u.
(u.words @@ {query}) IS TRUE
AND ((sitelatch.words(u.authorized_by_name) || sitelatch.words(u.authorized_by_email)) @@ {query}) IS TRUE

-- name: passes_term
-- Whether the words {query} are beginnings of words in the name of the user u and of the person who authorized it, in the
-- hint of one of its keys, or in one of its sites. IS TRUE keeps the planner from using the index of words, and from
-- looking up each site.
(
  (u.words @@ {query}) IS TRUE
  OR EXISTS (SELECT FROM sitelatch.api_keys k WHERE k.user_id = u.id AND k.words @@ {query})
  OR EXISTS (
    SELECT FROM sitelatch.api_user_sites m
    WHERE m.user_id = u.id AND (m.site_id IN (SELECT s.id FROM sitelatch.sites s WHERE s.words @@ {query})) IS TRUE
  )
)

-- name: passes_rare_term
-- The same if few users have a key or a site that matches: the queries {related} find these.
((u.words @@ {query}) IS TRUE OR (u.id IN ({related})) IS TRUE)

-- name: walk_users
-- The users that the query {pick} returns and that pass {passes}, and the last user that it returns. `place` counts the
-- users that it returns.
WITH picked AS MATERIALIZED (
  SELECT ordered.id, ordered.sorted_by, row_number() OVER () AS place FROM ({pick}) AS ordered
)
SELECT id, sorted_by, place, passes
FROM (
  SELECT picked.id, picked.sorted_by, picked.place, checked.passes
  FROM picked
  CROSS JOIN LATERAL (SELECT {passes} AS passes FROM {user_row} OFFSET 0) AS checked
) AS walked
WHERE passes OR place = (SELECT count(*) FROM picked)
ORDER BY place

-- name: users_by_words
-- Users in whose name, or in that of the person who authorized them, the words {query} begin. The subquery hides the
-- words from the planner, so that it combines the index of words with the other limits: a user that matches all of them
-- is rarer than it can estimate.
SELECT {columns} FROM sitelatch.api_users u WHERE u.words @@ (SELECT {query}){limits}

-- name: users_by_keys
-- Users in the hint of one of whose keys the words {query} begin.
SELECT k.user_id FROM sitelatch.api_keys k WHERE k.words @@ {query}

-- name: users_by_sites
-- Users of the sites in whose id or name the words {query} begin.
SELECT m.user_id
FROM sitelatch.sites s
CROSS JOIN LATERAL (
  SELECT m.user_id
  FROM sitelatch.api_user_sites m
  WHERE m.site_id = s.id AND m.workspace_id = s.workspace_id
  OFFSET 0
) m
WHERE s.words @@ {query}{site_limits}

-- name: users_by_email
-- Users that the person with the lowercase email {email} authorized.
SELECT {columns} FROM sitelatch.api_users u WHERE lower(u.authorized_by_email) = {email}{limits}

-- name: users_never_used
-- Users that were never used and pass the rest of the filter by last use.
SELECT a.user_id FROM sitelatch.api_user_activity a WHERE a.used_quarter IS NULL{never_used}{activity_limits}

-- name: users_used_long_ago
-- Users that were used and pass the filter by last use.
SELECT a.user_id FROM sitelatch.api_user_activity a WHERE a.used_quarter IS NOT NULL{used}{activity_limits}

-- name: users_by_creation
-- Users that were created before {cutoff}. For the subqueries, see users_by_words.
SELECT {columns} FROM sitelatch.api_users u
WHERE u.created_at < (SELECT {cutoff}) AND u.created_at > (SELECT '-infinity'::timestamptz){limits}

-- name: users_by_expiry
-- Users that expire after {first} and no later than {last}. For the subqueries, see users_by_words.
SELECT {columns} FROM sitelatch.api_users u
WHERE u.expires_at > (SELECT {first}) AND u.expires_at <= (SELECT {last}){limits}

-- name: users_of_workspaces
-- Users of the workspaces {workspaces}.
SELECT u.id FROM sitelatch.api_users u WHERE u.workspace_id = ANY({workspaces}::text[]::bigint[])

-- name: first_users
-- Up to one more than {most} of the users that the query {users} returns.
SELECT * FROM ({users} LIMIT {most} + 1) AS first_users

-- name: count_few
-- How many users the query {users} returns, or {too_many} if there are more than {few}.
(SELECT CASE WHEN count(*) > {few} THEN {too_many} ELSE count(*) END FROM {users} AS users)

-- name: count_related
-- The results of the expressions {counts}, as text[] (see pool.py). {workspaces} stands there because each parameter
-- must be used.
SELECT ARRAY[{counts}]::bigint[]::text[] AS counts, {workspaces}::text[]

-- name: number_part
-- The users that the query {users} returns, with the number of this part of the candidates.
SELECT part.*, {number} FROM {users} AS part

-- name: sample_users
-- Up to {size} random users of the workspaces {workspaces} (null: all), with the value by which they are sorted and
-- whether they pass each condition. Each stands for `weight` users. Ids are random, so the users after {size} ids at equal
-- distances are a sample. They are also spread over users with equal values, which are in the order of their ids.
WITH neighbors AS MATERIALIZED (
  SELECT near.id, near.workspace_id, n
  FROM generate_series(0, {size} - 1) AS n
  CROSS JOIN LATERAL (
    SELECT u.id, u.workspace_id
    FROM sitelatch.api_users u
    WHERE u.id >= (lpad(to_hex((n::bigint << 32) / {size}), 8, '0') || repeat('0', 24))::uuid
    ORDER BY u.id
    LIMIT CASE WHEN {workspaces}::text[] IS NULL THEN 1 ELSE 20 END
  ) AS near
), inside AS MATERIALIZED (
  SELECT id, n FROM neighbors WHERE {workspaces} IS NULL OR workspace_id = ANY({workspaces}::text[]::bigint[])
), sample AS MATERIALIZED (
  SELECT DISTINCT id FROM (SELECT DISTINCT ON (n) id FROM inside ORDER BY n, id) AS first_inside
), scale AS (
  SELECT greatest((SELECT reltuples FROM pg_catalog.pg_class WHERE oid = 'sitelatch.api_users'::regclass), 1)
         * (SELECT count(*) FROM inside) / greatest((SELECT count(*) FROM neighbors), 1)
         / greatest((SELECT count(*) FROM sample), 1) AS weight
)
SELECT sample.id, checked.*, scale.weight
FROM sample
CROSS JOIN scale
CROSS JOIN LATERAL (SELECT {sorted_by} AS sorted_by, {flags} FROM sitelatch.api_users u WHERE u.id = sample.id OFFSET 0) AS checked

-- name: look_up_users
-- The users that the query {related} returns, of the workspaces {workspaces} (null: all), and that pass {passes}.
SELECT found.id, found.sorted_by
FROM ({related}) AS candidates (id)
CROSS JOIN LATERAL (
  SELECT {columns}
  FROM sitelatch.api_users u
  WHERE u.id = candidates.id AND ({workspaces}::text[] IS NULL OR u.workspace_id = ANY({workspaces}::text[]::bigint[]))
    AND {passes}
  OFFSET 0
) AS found

-- name: gather_users
-- A page of the users that the query {found} returns and that follow the last user of the previous page.
WITH found AS MATERIALIZED ({found})
SELECT id, sorted_by
FROM found
WHERE {follows}
ORDER BY {order_by}
LIMIT {count}

-- name: count_candidates
-- How many of the users that the queries {parts} return pass {passes}; and whether one of these queries returns more than
-- {most}, which are not all read.
WITH parts (id, part) AS MATERIALIZED ({parts})
SELECT (
    SELECT count(*)
    FROM (SELECT DISTINCT id FROM parts) AS candidates
    CROSS JOIN LATERAL (
      SELECT
      FROM sitelatch.api_users u
      WHERE u.id = candidates.id AND ({workspaces}::text[] IS NULL OR u.workspace_id = ANY({workspaces}::text[]::bigint[]))
        AND {passes}
      OFFSET 0
    ) AS passing
  ) AS passing,
  EXISTS (SELECT FROM parts GROUP BY part HAVING count(*) > {most}) AS more

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

-- name: list_activity
-- The last activity of the users $1 that are in the workspaces with the ids $2 (null: all).
SELECT user_id, last_used_at
FROM sitelatch.api_user_activity
WHERE user_id = ANY($1::text[]::uuid[]) AND ($2::text[] IS NULL OR workspace_id = ANY($2::text[]::bigint[]))

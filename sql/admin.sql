-- Queries of the admin API and the `sitelatch` command. The front door's queries are in doors.sql.

-- name: limit_reads
-- Cancel any query of this transaction that takes more than $1 milliseconds. Compile none, and use indexes, because lists
-- read few rows. With more memory for each step of a query, a search in millions of users remembers single rows, not
-- whole pages. The settings end with the transaction, so this works behind a pooler.
SELECT set_config('statement_timeout', $1, true), set_config('jit', 'off', true),
       set_config('enable_seqscan', 'off', true), set_config('work_mem', '32MB', true)

-- name: limit_lock_waits
-- Let no statement of this transaction wait more than two seconds for a lock.
SELECT set_config('lock_timeout', '2s', true)

-- name: list_workspaces
-- Workspaces in $1 (null: all), sorted by name, after the name $2, at most $3.
SELECT name, created_at
FROM sitelatch.workspaces
WHERE ($1::text[] IS NULL OR name = ANY($1)) AND ($2::text IS NULL OR name > $2)
ORDER BY name
LIMIT $3

-- name: find_workspace
-- The id of the workspace with the name $1, protected from removal and renaming until the transaction ends.
SELECT id FROM sitelatch.workspaces WHERE name = $1 FOR KEY SHARE

-- name: find_workspaces
-- The workspaces with the names $1. Their ids are text (see pool.py).
SELECT id::text, name FROM sitelatch.workspaces WHERE name = ANY($1)

-- name: create_workspace
-- Create the workspace $1. Returns no row if the name is taken.
INSERT INTO sitelatch.workspaces (name) VALUES ($1)
ON CONFLICT (name) DO NOTHING
RETURNING id, created_at

-- name: describe_workspaces
-- The workspaces with the names $1, sorted by name, with the numbers of their sites and API users.
SELECT w.name, w.created_at,
       (SELECT count(*) FROM sitelatch.sites s WHERE s.workspace_id = w.id) AS site_count,
       (SELECT count(*) FROM sitelatch.api_users u WHERE u.workspace_id = w.id) AS user_count
FROM sitelatch.workspaces w
WHERE w.name = ANY($1)
ORDER BY w.name

-- name: lock_workspace
-- Keep other transactions from adding sites and API users to the workspace $1, and from changing it, until this one
-- ends.
SELECT id FROM sitelatch.workspaces WHERE name = $1 FOR UPDATE

-- name: rename_workspace
-- Give the workspace $1 the name $2.
UPDATE sitelatch.workspaces SET name = $2 WHERE name = $1

-- name: delete_workspace
-- Delete the workspace $1, which must be empty.
DELETE FROM sitelatch.workspaces WHERE name = $1

-- name: lock_sites
-- The sites $2 that belong to workspace $1, protected from deletion until the transaction ends.
SELECT id FROM sitelatch.sites WHERE workspace_id = $1 AND id = ANY($2) ORDER BY id FOR KEY SHARE

-- name: sites_among
-- The sites $2 that belong to workspace $1.
SELECT id FROM sitelatch.sites WHERE workspace_id = $1 AND id = ANY($2)

-- name: sites_folded_like
-- The sites in workspace $1 whose folded id is one of $2.
SELECT id, folded FROM sitelatch.sites WHERE workspace_id = $1 AND folded = ANY($2)

-- name: create_user
-- Create the API user $1 in workspace $2, with the name $3 and all sites if $4, authorized by the person with the name
-- $5 and the email $6.
INSERT INTO sitelatch.api_users (id, workspace_id, name, all_sites, authorized_by_name, authorized_by_email)
VALUES ($1, $2, $3, $4, $5, $6)

-- name: create_key
-- Give the user $1 the key with digest $2, displayed as $3.
INSERT INTO sitelatch.api_keys (user_id, digest, hint) VALUES ($1, $2, $3)

-- name: seal_key
-- Store the encrypted key $2 with digest $1.
INSERT INTO sitelatch.sealed_keys (digest, sealed) VALUES ($1, $2)

-- name: sealed_keys
-- The keys of the user $1, oldest first, each with the encrypted key if there is one.
SELECT k.hint, s.sealed
FROM sitelatch.api_keys k
LEFT JOIN sitelatch.sealed_keys s ON s.digest = k.digest
WHERE k.user_id = $1
ORDER BY k.created_at, k.digest

-- name: create_user_sites
-- Authorize the user $1 of workspace $2 for the sites $3.
INSERT INTO sitelatch.api_user_sites (user_id, workspace_id, site_id) SELECT $1, $2, unnest($3::text[])

-- name: describe_users
-- All details of the API users $1 in the workspaces $2 (null: all), in the order of $1, with at most $3 sites of each.
SELECT u.id, w.name AS workspace, u.name, u.all_sites, u.authorized_by_name, u.authorized_by_email, u.created_at,
       u.disabled_at, nullif(u.expires_at, 'infinity') AS expires_at, u.methods, u.networks::text[] AS networks,
       u.requests_per_second, u.burst, u.requests_per_day, u.version, a.last_used_at,
       (SELECT coalesce(json_agg(json_build_object(
                  'hint', k.hint, 'created_at', k.created_at, 'expires_at', nullif(k.expires_at, 'infinity'),
                  'seconds_left', CASE WHEN least(k.expires_at, u.expires_at) < 'infinity' THEN ceil(greatest(
                      extract(epoch FROM least(k.expires_at, u.expires_at)) - extract(epoch FROM clock_timestamp()), 0
                  ))::bigint END,
                  -- While a user has one key, its uses are those of the key.
                  'last_activity', CASE WHEN used.digest IS NULL THEN a.last_used_at ELSE used.last_used_at END,
                  'recoverable', EXISTS (SELECT FROM sitelatch.sealed_keys s WHERE s.digest = k.digest)
                ) ORDER BY k.created_at, k.digest), '[]')::text
        FROM sitelatch.api_keys k
        LEFT JOIN sitelatch.api_key_activity used ON used.digest = k.digest
        WHERE k.user_id = u.id) AS keys,
       ARRAY(SELECT m.site_id FROM sitelatch.api_user_sites m WHERE m.user_id = u.id
             ORDER BY m.site_id LIMIT $3) AS sites,
       (SELECT count(*) FROM sitelatch.api_user_sites m WHERE m.user_id = u.id) AS site_count
FROM unnest($1::text[]::uuid[]) WITH ORDINALITY AS wanted (id, place)
JOIN sitelatch.api_users u ON u.id = wanted.id
JOIN sitelatch.workspaces w ON w.id = u.workspace_id
LEFT JOIN sitelatch.api_user_activity a ON a.user_id = u.id
WHERE $2::text[] IS NULL OR w.name = ANY($2)
ORDER BY wanted.place

-- name: users_by_beginning
-- Up to two API users with ids from $1 to $2.
SELECT id FROM sitelatch.api_users WHERE id BETWEEN $1::text::uuid AND $2::text::uuid ORDER BY id LIMIT 2

-- name: lock_user
-- The API user $1 in the workspaces $2 (null: all), protected from changes until the transaction ends.
SELECT u.id
FROM sitelatch.api_users u
JOIN sitelatch.workspaces w ON w.id = u.workspace_id
WHERE u.id = $1 AND ($2::text[] IS NULL OR w.name = ANY($2))
FOR UPDATE OF u

-- name: edit_user
-- Give the API user $1 the name $2, all sites if $3, and the state disabled if $4. Let it expire at $5, and limit its keys
-- to the methods $6 and the networks $7 (null: never, and no limits). Limit it to $8 requests per second in bursts of $9
-- and to $10 requests per day (null: as the route says). Each update counts the version.
UPDATE sitelatch.api_users
SET name = $2, all_sites = $3, disabled_at = CASE WHEN $4 THEN coalesce(disabled_at, clock_timestamp()) END,
    expires_at = $5, methods = $6, networks = $7::text[]::cidr[], requests_per_second = $8, burst = $9,
    requests_per_day = $10
WHERE id = $1

-- name: remove_user_sites
-- Take the sites $2 from the API user $1.
DELETE FROM sitelatch.api_user_sites WHERE user_id = $1 AND site_id = ANY($2)

-- name: valid_keys
-- The keys of the API user $1 that have not expired, oldest first.
SELECT digest, hint, expires_at FROM sitelatch.api_keys
WHERE user_id = $1 AND (expires_at IS NULL OR expires_at > clock_timestamp())
ORDER BY created_at, digest

-- name: delete_expired_keys
-- Delete the keys of the API user $1 that have expired.
DELETE FROM sitelatch.api_keys WHERE user_id = $1 AND expires_at <= clock_timestamp()

-- name: end_key
-- Let the key with digest $1 expire in $2 seconds, unless it expires before.
UPDATE sitelatch.api_keys
SET expires_at = least(expires_at, clock_timestamp() + make_interval(secs => $2))
WHERE digest = $1

-- name: add_key
-- Give the user $1 a further key with digest $2, displayed as $3, which expires at $4 (null: never). The time is not the
-- start of the transaction, because that may have waited for an earlier rotation.
INSERT INTO sitelatch.api_keys (user_id, digest, hint, expires_at, created_at)
VALUES ($1, $2, $3, $4, clock_timestamp())

-- name: count_version
-- Count a change of the API user $1 in other tables.
UPDATE sitelatch.api_users SET version = version WHERE id = $1

-- name: delete_user
-- Delete an API user, with its keys, sites and activity.
DELETE FROM sitelatch.api_users WHERE id = $1

-- name: prune_idempotency_keys
-- Delete idempotency keys that are older than $1 seconds: the $2 oldest that no other transaction has locked, and the
-- key $4 of the caller $3.
WITH oldest AS (
  SELECT caller, key FROM sitelatch.idempotency_keys
  WHERE created_at <= now() - make_interval(secs => $1)
  ORDER BY created_at LIMIT $2
  FOR UPDATE SKIP LOCKED
)
DELETE FROM sitelatch.idempotency_keys
WHERE created_at <= now() - make_interval(secs => $1)
  AND (caller, key) IN (SELECT caller, key FROM oldest UNION ALL SELECT $3::text, $4::text)

-- name: claim_idempotency_key
-- Record for the caller $1 that the key $2 with the request $3 creates the user $4, unless the key is already recorded.
-- Returns what is recorded. Waits for another transaction that is about to record the same key.
INSERT INTO sitelatch.idempotency_keys AS kept (caller, key, request_digest, user_id) VALUES ($1, $2, $3, $4)
ON CONFLICT (caller, key) DO UPDATE SET request_digest = kept.request_digest
RETURNING request_digest, user_id

-- name: start_session
-- Create a session with digest $1 for the person with the name $2 and the email $3, and for the workspaces $4 (null:
-- all), who signed in with the credential $5 and its claims $6. It ends after $7 seconds.
INSERT INTO sitelatch.sessions (digest, name, email, workspaces, signed_in_with, claims, expires_at)
VALUES ($1, $2, $3, $4, $5, $6::text::jsonb, now() + make_interval(secs => $7))

-- name: find_session
-- The session with digest $1, unless it ended or was unused for $2 seconds; and whether its last use must be recorded.
SELECT signed_in_with, claims::text, used_at < now() - interval '1 minute' AS touch
FROM sitelatch.sessions
WHERE digest = $1 AND expires_at > now() AND used_at > now() - make_interval(secs => $2)

-- name: touch_session
-- Record a use of the session with digest $1.
UPDATE sitelatch.sessions SET used_at = now() WHERE digest = $1

-- name: end_session
-- Delete the session with digest $1.
DELETE FROM sitelatch.sessions WHERE digest = $1

-- name: prune_sessions
-- Delete sessions that ended or were unused for $1 seconds, except those that another transaction has locked. When two
-- people sign in at the same time, each transaction may already have deleted the session that it replaces, so waiting
-- for locks could cause a deadlock.
DELETE FROM sitelatch.sessions WHERE digest IN (
  SELECT digest FROM sitelatch.sessions
  WHERE expires_at <= now() OR used_at <= now() - make_interval(secs => $1)
  FOR UPDATE SKIP LOCKED
)

-- name: start_oidc_login
-- Record a login with digest $1, which expires after $2 seconds.
INSERT INTO sitelatch.oidc_logins (digest, expires_at) VALUES ($1, now() + make_interval(secs => $2))

-- name: end_oidc_login
-- Complete the login with digest $1. Returns no row if it does not exist, was already completed, or has expired.
DELETE FROM sitelatch.oidc_logins WHERE digest = $1 AND expires_at > now() RETURNING true

-- name: prune_oidc_logins
-- Delete logins that have expired.
DELETE FROM sitelatch.oidc_logins WHERE expires_at <= now()

-- name: list_sites
-- Sites after the id $3, sorted by id, at most $4: those in the workspaces with the ids $1 (null: all) that match one
-- of the searches $2 (null: all). A site matches if each word of the search is the beginning of a word in its id or its
-- display name. As in user_list.sql, there is one branch for all workspaces, and one that reads a page of each
-- workspace.
SELECT s.id, w.name AS workspace, s.display_name, s.created_at
FROM (
  (SELECT s.*
   FROM sitelatch.sites s
   WHERE $1::text[] IS NULL
     AND ($2::text[] IS NULL OR s.words @@ sitelatch.word_beginnings($2)) AND ($3::text IS NULL OR s.id > $3)
   ORDER BY s.id
   LIMIT $4)
  UNION ALL
  (SELECT page.*
   FROM unnest($1::text[]::bigint[]) AS w (id)
   CROSS JOIN LATERAL (
     SELECT s.*
     FROM sitelatch.sites s
     WHERE s.workspace_id = w.id
       AND ($2 IS NULL OR s.words @@ sitelatch.word_beginnings($2)) AND ($3 IS NULL OR s.id > $3)
     ORDER BY s.id
     LIMIT $4
   ) page)
) AS s
JOIN sitelatch.workspaces w ON w.id = s.workspace_id
ORDER BY s.id
LIMIT $4

-- name: count_sites
-- How many sites list_sites finds in the workspaces $1 for the searches $2, counted up to $3.
SELECT count(*)
FROM (
  SELECT
  FROM sitelatch.sites s
  WHERE ($1::text[] IS NULL OR s.workspace_id = ANY($1::text[]::bigint[]))
    AND ($2::text[] IS NULL OR s.words @@ sitelatch.word_beginnings($2))
  LIMIT $3
) AS found

-- name: find_site
-- The site $1 in the workspaces $2 (null: all), and how many API users have it among their selected sites.
SELECT s.id, w.name AS workspace, s.display_name, s.created_at,
       (SELECT count(*) FROM sitelatch.api_user_sites m WHERE m.site_id = s.id) AS user_count
FROM sitelatch.sites s
JOIN sitelatch.workspaces w ON w.id = s.workspace_id
WHERE s.id = $1 AND ($2::text[] IS NULL OR w.name = ANY($2))

-- name: create_sites
-- Add the sites $2 with folded ids $3, collated ids $4 and display names $5 to workspace $1. Returns the new ones.
-- A site whose collated id already exists is not added. All callers insert in the same order, so that they do not
-- deadlock.
INSERT INTO sitelatch.sites (workspace_id, id, folded, collated, display_name)
SELECT $1, new.id, new.folded, new.collated, new.display_name
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) AS new (id, folded, collated, display_name)
WHERE NOT EXISTS (SELECT FROM sitelatch.sites s WHERE s.collated = new.collated)
ORDER BY new.collated COLLATE "C", new.folded COLLATE "C"
ON CONFLICT DO NOTHING
RETURNING id

-- name: sites_by_collated
-- The sites with the collated ids $1 in all workspaces. Among equal ones, the oldest comes first.
SELECT s.id, s.folded, s.collated, w.name AS workspace, s.display_name
FROM sitelatch.sites s
JOIN sitelatch.workspaces w ON w.id = s.workspace_id
WHERE s.collated = ANY($1)
ORDER BY s.collated_twin

-- name: has_sites_to_collate
-- Whether there are sites that were not written by the admin API.
SELECT EXISTS (SELECT FROM sitelatch.sites WHERE collated IS NULL)

-- name: wait_for_collating
-- Keep other transactions from filling in collated ids until this one ends. The lock's key is "collated" as big-endian
-- bytes.
SELECT pg_advisory_xact_lock(7165064744917034340)

-- name: sites_to_collate
-- The sites without a collated id, oldest first.
SELECT id FROM sitelatch.sites WHERE collated IS NULL ORDER BY created_at, id

-- name: collate_sites
-- Give the sites $1 the collated ids $2. Among sites with the same one, the first keeps the twin number 0.
UPDATE sitelatch.sites s
SET collated = filled.collated, collated_twin = filled.twin
FROM (
  SELECT new.id, new.collated,
         (SELECT coalesce(max(other.collated_twin) + 1, 0) FROM sitelatch.sites other
          WHERE other.collated = new.collated)
         + row_number() OVER (PARTITION BY new.collated ORDER BY new.place) - 1 AS twin
  FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS new (id, collated, place)
) AS filled
WHERE s.id = filled.id AND s.collated IS NULL

-- name: list_twins
-- Sites that have the same collated id as an older site, each with the oldest, at most $1; and how many there are.
SELECT s.id, oldest.id AS oldest, count(*) OVER () AS total
FROM sitelatch.sites s
CROSS JOIN LATERAL (
  SELECT other.id, other.collated_twin FROM sitelatch.sites other
  WHERE other.collated = s.collated ORDER BY other.collated_twin LIMIT 1
) AS oldest
WHERE s.collated_twin > 0 AND s.collated_twin > oldest.collated_twin
ORDER BY s.collated, s.collated_twin
LIMIT $1

-- name: lock_sites_for_change
-- The sites $1 in the workspaces $2 (null: all), protected from changes, and from being given to users, until the
-- transaction ends. Other sites are not locked, because the waiting time would reveal that they exist.
SELECT s.id
FROM sitelatch.sites s
JOIN sitelatch.workspaces w ON w.id = s.workspace_id
WHERE s.id = ANY($1) AND ($2::text[] IS NULL OR w.name = ANY($2))
ORDER BY s.id
FOR UPDATE OF s

-- name: rename_sites
-- Give the sites $1 that belong to workspace $3 the display names $2. Returns the previous names, even if another
-- transaction renames the same sites.
WITH before AS MATERIALIZED (
  SELECT s.id, s.display_name
  FROM sitelatch.sites s
  JOIN sitelatch.workspaces w ON w.id = s.workspace_id
  WHERE s.id = ANY($1) AND w.name = $3
  ORDER BY s.id
  FOR UPDATE OF s
)
UPDATE sitelatch.sites s
SET display_name = new.display_name
FROM unnest($1::text[], $2::text[]) AS new (id, display_name)
JOIN before ON before.id = new.id
WHERE s.id = new.id
RETURNING s.id, before.display_name AS before

-- name: delete_sites
-- Delete the sites $1, with all authorizations for them.
DELETE FROM sitelatch.sites s
USING sitelatch.workspaces w
WHERE w.id = s.workspace_id AND s.id = ANY($1)
RETURNING s.id, w.name AS workspace, s.display_name

-- name: describe_removal
-- The sites $1, each with the number of API users that have selected it, the ids of the first $2 of these, and the
-- number of API users for all sites of the workspace.
SELECT s.id, w.name AS workspace,
       (SELECT count(*) FROM sitelatch.api_user_sites m WHERE m.site_id = s.id) AS user_count,
       ARRAY(SELECT m.user_id FROM sitelatch.api_user_sites m WHERE m.site_id = s.id ORDER BY m.user_id LIMIT $2) AS users,
       (SELECT count(*) FROM sitelatch.api_users u WHERE u.workspace_id = s.workspace_id AND u.all_sites)
           AS all_sites_count
FROM sitelatch.sites s
JOIN sitelatch.workspaces w ON w.id = s.workspace_id
WHERE s.id = ANY($1)
ORDER BY s.id

-- name: count_site_users
-- How many API users have each of the sites $1 among their selected sites.
SELECT site_id, count(*) AS user_count FROM sitelatch.api_user_sites WHERE site_id = ANY($1) GROUP BY site_id

-- name: has_audit
-- Whether the audit log has an entry about the workspace $1.
SELECT EXISTS (SELECT FROM sitelatch.audit_log WHERE workspace = $1)

-- Queries of the import of keys (admin/api/key_import.py).

-- name: note_keys_at_once
-- Note each change for the feed at once, rather than all at the end of the transaction. The feed itself is still written
-- at the end, so that other writers need not wait.
SET CONSTRAINTS sitelatch.note_key, sitelatch.note_user_site, sitelatch.note_changed_user, sitelatch.note_changed_key
IMMEDIATE

-- name: keep_statistics
-- Keep autovacuum from analyzing these tables until the transaction ends. It would not count the rows of this
-- transaction, and the checks of foreign keys would then be planned as for a nearly empty table, and read most of it for
-- each row. Other changes do not wait for this lock; another import does. So no key can be imported and deleted between
-- the moment at which an import looks for deleted keys and its end.
LOCK TABLE sitelatch.api_users, sitelatch.api_keys, sitelatch.api_user_sites IN SHARE UPDATE EXCLUSIVE MODE

-- name: note_large_change
-- Announce that this transaction changes too much to list in the feed, so that the commit is quick.
SELECT sitelatch.note_large_change()

-- name: known_keys
-- The API users of those of the digests $1 (in hex) that are known, and the deleted ones among the digests.
SELECT
    asked.digest, u.id::text AS user_id, w.name AS workspace, u.all_sites, u.name, d.deleted_at,
    nullif(k.expires_at, 'infinity') AS expires_at,
    EXISTS (
        SELECT FROM sitelatch.api_keys newer
        WHERE newer.user_id = k.user_id AND (newer.created_at, newer.digest) > (k.created_at, k.digest)
    ) AS replaced,
    ARRAY(
        SELECT s.site_id FROM sitelatch.api_user_sites s WHERE s.user_id = u.id ORDER BY s.site_id COLLATE "C"
    ) AS sites
FROM unnest($1::text[]) AS asked (digest)
LEFT JOIN sitelatch.api_keys k ON k.digest = decode(asked.digest, 'hex')
LEFT JOIN sitelatch.api_users u ON u.id = k.user_id
LEFT JOIN sitelatch.workspaces w ON w.id = u.workspace_id
LEFT JOIN sitelatch.deleted_keys d ON d.digest = decode(asked.digest, 'hex') AND k.digest IS NULL
WHERE k.digest IS NOT NULL OR d.digest IS NOT NULL

-- name: known_sites
-- Which of the sites $2 exist in the workspace with the same index in $1.
SELECT w.name AS workspace, s.id
FROM unnest($1::text[], $2::text[]) AS asked (workspace, site)
JOIN sitelatch.workspaces w ON w.name = asked.workspace
JOIN sitelatch.sites s ON s.workspace_id = w.id AND s.id = asked.site

-- name: import_users
-- Create API users with the ids $1, in the workspaces $2, with the names $3 ("" for none), and all sites if $4 is 't',
-- authorized by the person $5 with the email $6.
INSERT INTO sitelatch.api_users (id, workspace_id, name, all_sites, authorized_by_name, authorized_by_email)
SELECT line.id::uuid, w.id, nullif(line.name, ''), line.all_sites::boolean, $5, $6
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS line (id, workspace, name, all_sites)
JOIN sitelatch.workspaces w ON w.name = line.workspace

-- name: import_keys
-- Give each user of $1 the key with the digest of $2 (in hex) and the hint of $3, until $4 ("" for no end).
INSERT INTO sitelatch.api_keys (user_id, digest, hint, expires_at)
SELECT line.id::uuid, decode(line.digest, 'hex'), line.hint, nullif(line.expires_at, '')::timestamptz
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS line (id, digest, hint, expires_at)

-- name: import_sealed_keys
-- Store the encrypted keys $2 (in hex) with the digests $1 (in hex).
INSERT INTO sitelatch.sealed_keys (digest, sealed)
SELECT decode(line.digest, 'hex'), decode(line.sealed, 'hex')
FROM unnest($1::text[], $2::text[]) AS line (digest, sealed)

-- name: import_user_sites
-- Authorize each user of $1 for the site of $2.
INSERT INTO sitelatch.api_user_sites (user_id, site_id, workspace_id)
SELECT u.id, line.site, u.workspace_id
FROM unnest($1::text[], $2::text[]) AS line (id, site)
JOIN sitelatch.api_users u ON u.id = line.id::uuid

-- name: lock_imported_users
-- The users $1, protected from changes until the transaction ends.
SELECT id FROM sitelatch.api_users WHERE id = ANY ($1::text[]::uuid[]) ORDER BY id FOR UPDATE

-- name: change_imported_users
-- Give the users $1 the names $2 ("" keeps the name), and all sites if $3 is 't'.
UPDATE sitelatch.api_users u
SET name = coalesce(nullif(line.name, ''), u.name), all_sites = line.all_sites::boolean
FROM unnest($1::text[], $2::text[], $3::text[]) AS line (id, name, all_sites)
WHERE u.id = line.id::uuid

-- name: change_imported_keys
-- Let the keys with the digests $1 (in hex) be valid until $2 ("" for no end).
UPDATE sitelatch.api_keys k
SET expires_at = nullif(line.expires_at, '')::timestamptz
FROM unnest($1::text[], $2::text[]) AS line (digest, expires_at)
WHERE k.digest = decode(line.digest, 'hex')
    AND k.expires_at IS DISTINCT FROM nullif(line.expires_at, '')::timestamptz

-- name: remove_other_sites
-- Withdraw from the users $1 all sites that are not paired with them in $1 and $2.
DELETE FROM sitelatch.api_user_sites s
WHERE s.user_id = ANY ($3::text[]::uuid[])
    AND NOT EXISTS (
        SELECT FROM unnest($1::text[], $2::text[]) AS kept (id, site)
        WHERE kept.id::uuid = s.user_id AND kept.site = s.site_id
    )

-- name: add_other_sites
-- Authorize each user of $1 for the site of $2, unless it is authorized already.
INSERT INTO sitelatch.api_user_sites (user_id, site_id, workspace_id)
SELECT u.id, line.site, u.workspace_id
FROM unnest($1::text[], $2::text[]) AS line (id, site)
JOIN sitelatch.api_users u ON u.id = line.id::uuid
ON CONFLICT DO NOTHING

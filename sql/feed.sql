-- How the doors follow what changes in the scope.

-- name: feed_source
-- Which server this is, and which of its pasts it continues: other numbers mean another feed.
SELECT
    pg_control_system.system_identifier::text AS system_identifier,
    CASE
        WHEN pg_is_in_recovery() THEN ''
        ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8)
    END AS timeline
FROM pg_control_system();

-- name: feed_backend
-- Who answers on this connection: a pooler names another than the server does, and a standby knows late what changed.
SELECT pg_backend_pid() AS pid, pg_is_in_recovery() AS standby;

-- name: feed_head
-- The newest change. There always is one, but while a dump is restored.
SELECT seq, extract(epoch FROM at)::float8 AS at
FROM sitelatch.scope_changes
WHERE sitelatch.is_whole()
ORDER BY seq DESC
LIMIT 1;

-- name: read_feed
-- The change $1, by which a door knows its feed again, and those after it, at most $2; with each one's age in seconds.
SELECT
    seq,
    what,
    subject,
    extract(epoch FROM at)::float8 AS at,
    extract(epoch FROM clock_timestamp() - at)::float8 AS age
FROM sitelatch.scope_changes
WHERE seq >= $1
ORDER BY seq
LIMIT $2;

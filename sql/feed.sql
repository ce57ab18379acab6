-- Queries of the change feed.

-- name: feed_source
-- The identifier of the server and its timeline. If either changes, the feed is a different one.
SELECT
    pg_control_system.system_identifier::text AS system_identifier,
    CASE
        WHEN pg_is_in_recovery() THEN ''
        ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8)
    END AS timeline
FROM pg_control_system();

-- name: feed_backend
-- The process that answers, which differs from the connection's own behind a pooler; and whether the server is a
-- standby, which gets changes late.
SELECT pg_backend_pid() AS pid, pg_is_in_recovery() AS standby;

-- name: feed_head
-- The newest change, and whether the server is a standby. There is always a newest change, except while a dump is being
-- restored.
SELECT seq, extract(epoch FROM at)::float8 AS at, pg_is_in_recovery() AS standby
FROM sitelatch.scope_changes
WHERE sitelatch.is_whole()
ORDER BY seq DESC
LIMIT 1;

-- name: read_feed
-- Change $1 and the changes after it, at most $2 in total, with their age in seconds. Change $1 shows that this is
-- still the same feed. Behind a pooler, a connection may lead to a standby at any time.
SELECT
    pg_is_in_recovery() AS standby,
    seq,
    what,
    subject,
    extract(epoch FROM at)::float8 AS at,
    extract(epoch FROM clock_timestamp() - at)::float8 AS age
FROM sitelatch.scope_changes
WHERE seq >= $1
ORDER BY seq
LIMIT $2;

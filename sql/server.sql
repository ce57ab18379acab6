-- Which server answers.

-- name: describe_server
-- When the server was started, which tells two servers apart; whether it is a standby; and whether it refuses writes,
-- as a standby always does.
SELECT
    pg_postmaster_start_time()::text AS started,
    pg_is_in_recovery() AS standby,
    current_setting('transaction_read_only') = 'on' AS read_only;

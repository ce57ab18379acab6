-- The usage of API users: requests and bytes by hour for a week, and by day for 400 days.

-- `outcome` is "passed" or the code of a refusal. There is no foreign key to api_users, so recording usage locks no user,
-- and the usage of deleted users remains until it is pruned. No cached grant depends on these tables, so they have no
-- triggers for the change feed.

-- One row for each day holds its hours (UTC): requests[0] to requests[23], where hours before the first and after the
-- last one are not stored. A row for each hour would take six times the space, for users that are active all day.
-- Updates stay HOT: each page has room for a second version of its rows, and the index covers only what never changes.
-- Its first column is the day, so a new day fills the end of the index, and old days are pruned from its start.
CREATE TABLE sitelatch.usage_hours (
    day date,
    user_id uuid,
    outcome text,
    requests bigint[] NOT NULL,
    bytes_out bigint[],
    PRIMARY KEY (day, user_id, outcome)
) WITH (fillfactor = 40);

-- Days whose hours are no longer kept. Rows are moved here from usage_hours, so each request counts in one table.
CREATE TABLE sitelatch.usage_days (
    day date,
    user_id uuid,
    outcome text,
    requests bigint NOT NULL,
    bytes_out bigint,
    PRIMARY KEY (day, user_id, outcome)
);

-- The last batch that each process has written. A batch that is sent again is skipped.
CREATE TABLE sitelatch.usage_writers (
    process uuid PRIMARY KEY,
    sequence bigint NOT NULL,
    written_at timestamptz NOT NULL
) WITH (fillfactor = 40);

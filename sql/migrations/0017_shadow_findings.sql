-- What routes in shadow mode would have refused, for the admin page.

-- `id` is a digest of the finding, so that each process adds to the same row. `detail` and `site` are JSON strings in
-- ASCII, because clients may name sites that the encoding of the database cannot store. `user_id` is null if the request
-- had no known key. There is no foreign key to api_users, so recording a finding locks no user. No cached grant depends
-- on this table, so it has no trigger for the change feed.
CREATE TABLE sitelatch.shadow_findings (
    id text PRIMARY KEY,
    route text NOT NULL,
    code text NOT NULL,
    detail text NOT NULL,
    user_id uuid,
    site text,
    requests bigint NOT NULL,
    first_seen_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL
) WITH (fillfactor = 70);

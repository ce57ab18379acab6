-- The demand for requests with limits, by which processes divide each limit among them.

-- Each process writes its row once per second. What it contains is of no use three seconds later, so it need not survive
-- a crash. A party is an API user, or an API user and a route. The rates are in requests per second.
CREATE UNLOGGED TABLE sitelatch.rate_demand (
    process uuid PRIMARY KEY,
    reported_at timestamptz NOT NULL,
    parties text[] NOT NULL,
    rates float8[] NOT NULL
);

"""Fills a database with many API users in plain SQL, for the benchmark of the admin API and the tests of its queries.

The data is uneven on purpose. One workspace has half of the users, others have few, and some have no users in the sites
that most searches find. Names contain numbers that follow the creation time, so a search for the digits of a name finds
users that were created one after another. Many users were active within the last hour, and a fifth were never active.
"""

from typing import Final

import asyncpg

from sql.migrate import migrate

WORKSPACES: Final = ("acme", "globex", "initech", "umbrella", "hooli", "stark", "wayne", "tyrell", "soylent", "few")
"""Each has half as many users as the one before it. The last one always has twenty."""

_TABLES = ("workspaces", "sites", "api_users", "api_keys", "api_user_sites", "api_user_activity")
_FILL_SECONDS = 3600.0

_FILL = """
SELECT setseed(0.5);

INSERT INTO sitelatch.workspaces (name) SELECT unnest('{{{workspaces}}}'::text[]);
CREATE TEMPORARY TABLE owners ON COMMIT DROP AS
SELECT id, row_number() OVER (ORDER BY id)::int AS place FROM sitelatch.workspaces;

INSERT INTO sitelatch.sites (id, folded, collated, workspace_id, display_name)
SELECT made.id, made.id, made.id, owners.id, made.name
FROM generate_series(1, {sites}) n
CROSS JOIN LATERAL (
    SELECT CASE WHEN n % 4 = 0 THEN 'blog' || n || '.example.com' ELSE 'site-' || n END AS id,
           CASE WHEN n % 4 = 0 THEN 'Blog of customer ' ELSE 'Shop number ' END || n AS name
) made
JOIN owners ON owners.place = CASE
    WHEN n % 1000 = 0 THEN {last}
    ELSE least({last} - 1, floor(-log(2, 1 - n % 997 / 997.0)) + 1) END;
CREATE TEMPORARY TABLE numbered_sites ON COMMIT DROP AS
SELECT workspace_id, id, row_number() OVER (PARTITION BY workspace_id ORDER BY id) - 1 AS place FROM sitelatch.sites;
CREATE UNIQUE INDEX ON numbered_sites (workspace_id, place);
CREATE TEMPORARY TABLE site_counts ON COMMIT DROP AS
SELECT workspace_id, count(*) AS sites FROM sitelatch.sites GROUP BY workspace_id;
ANALYZE numbered_sites;

INSERT INTO sitelatch.api_users
    (id, workspace_id, name, all_sites, authorized_by_name, authorized_by_email, created_at)
SELECT gen_random_uuid(), owners.id,
       CASE WHEN n % 10 = 0 THEN NULL
            ELSE (ARRAY['Integration', 'Nightly export', 'Billing sync', 'Data_warehouse loader', 'BI'])[n % 5 + 1]
                 || ' ' || n END,
       n % 3 = 0,
       (ARRAY['Ada', 'Ben', 'Chloé', 'Dmitri', 'Emeka'])[admin % 5 + 1] || ' Admin' || admin,
       'admin' || admin || '@example' || admin % 7 || '.com',
       now() - n * interval '20 seconds'
FROM (
    SELECT n, floor(200 * random() ^ 3)::int AS admin,
           CASE WHEN n % greatest({users} / 20, 1) = 0 THEN {last}
                ELSE least({last} - 1, floor(-log(2, (1 - random())::numeric)) + 1) END AS place
    FROM generate_series(1, {users}) n
) drawn
JOIN owners USING (place);

INSERT INTO sitelatch.api_keys (digest, user_id, hint, created_at)
SELECT sha256(id::text::bytea), id,
       'slk_' || substr(translate(encode(sha256(id::text::bytea), 'base64'), '+/=', 'xyz'), 1, 4) || '…'
       || substr(translate(encode(sha256(id::text::bytea), 'base64'), '+/=', 'xyz'), 5, 4), created_at
FROM sitelatch.api_users;

INSERT INTO sitelatch.api_user_sites (user_id, site_id, workspace_id)
SELECT DISTINCT u.id, s.id, u.workspace_id
FROM (
    SELECT u.id, u.workspace_id, floor(random() * c.sites)::bigint AS place
    FROM (SELECT *, abs(hashtext(id::text)) AS draw FROM sitelatch.api_users) u
    JOIN site_counts c USING (workspace_id)
    CROSS JOIN LATERAL generate_series(1, CASE WHEN draw % 1000 = 0 THEN 500 ELSE 1 + draw % 14 END)
    WHERE NOT u.all_sites
) u
JOIN numbered_sites s ON s.workspace_id = u.workspace_id AND s.place = u.place;

INSERT INTO sitelatch.api_user_activity (user_id, workspace_id, created_at, last_used_at)
SELECT id, workspace_id, created_at, CASE
    WHEN draw < 0.2 THEN NULL
    WHEN draw < 0.3 THEN now() - random() * interval '1 hour'
    ELSE greatest(now() - random() * interval '120 days', created_at) END
FROM (SELECT id, workspace_id, created_at, random() AS draw FROM sitelatch.api_users) u;
"""


async def fill(connection: asyncpg.Connection, *, users: int, sites: int) -> None:
    """Insert this many API users and sites, and about five authorizations per user. Needs a superuser.

    Triggers are disabled in the meantime, because publishing each change takes far longer than inserting it.
    """
    async with connection.transaction():
        for table in _TABLES:
            await connection.execute(f"ALTER TABLE sitelatch.{table} DISABLE TRIGGER ALL")
        statement = _FILL.format(users=users, sites=sites, workspaces=",".join(WORKSPACES), last=len(WORKSPACES))
        await connection.execute(statement, timeout=_FILL_SECONDS)
        for table in _TABLES:
            await connection.execute(f"ALTER TABLE sitelatch.{table} ENABLE TRIGGER ALL")
    await migrate(connection)  # enables the triggers of the change feed as they were
    for table in _TABLES:
        await connection.execute(f"VACUUM ANALYZE sitelatch.{table}", timeout=_FILL_SECONDS)

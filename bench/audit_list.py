"""Measures the audit log with many entries: `python -m bench.audit_list [ENTRIES [ROUNDS]]`.

The default is 1,000,000 entries, on PostgreSQL 15 from Debian with its default settings (otherwise on the embedded
server). For each combination of filters, ROUNDS (3) rounds read the first, the second and a later page of one workspace
and of all workspaces together. The benchmark prints the median and the maximum in milliseconds, and marks those over
the goal of 150 ms.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import asyncpg

from admin.api.audit_list import AuditFilter, list_audit
from admin.connections import Lane
from bench.admin_lists import start_server
from sql.migrate import migrate
from sql.pool import open_connection, open_pool

GOAL_MILLISECONDS: Final = 150
_LATER_PAGES: Final = 5
_WORKSPACES: Final = (None, "acme", "few")
_END: Final = datetime(2026, 11, 1, tzinfo=UTC)
"""The time of the newest entry. The entries are 20 seconds apart."""

_FILL: Final = """
INSERT INTO sitelatch.audit_log (at, actor_name, actor_email, actor_address, action, workspace, subject, detail)
SELECT $2::timestamptz - ($1 - n) * interval '20 seconds',
       CASE WHEN n < $1 / 3 THEN 'Gone Admin' ELSE 'Ada Admin' || n % 20 END,
       CASE WHEN n < $1 / 3 THEN 'gone@example.com' ELSE 'admin' || n % 20 || '@example.com' END,
       '10.0.' || n % 7 || '.' || n % 200,
       CASE WHEN n % 5000 = 0 THEN 'site.removed'
            ELSE (ARRAY['user.created', 'user.deleted', 'user.revealed', 'site.created'])[n % 4 + 1] END,
       CASE WHEN n % 10000 = 0 THEN 'few' ELSE (ARRAY['acme', 'globex', 'initech'])[n % 3 + 1] END,
       CASE WHEN n % 4 < 3 THEN md5((n / 4)::text)::uuid::text ELSE 'site-' || n END,
       json_build_object(
           'name', 'Nightly export ' || n / 4,
           'keys', ARRAY['slk_' || left(md5(n::text), 4) || chr(8230) || right(md5(n::text), 4)],
           'sites', ARRAY['site-' || n % 1000, 'blog-' || n % 50], 'site_count', 2
       )::jsonb
FROM generate_series(1, $1::bigint) n
"""


def _filters(entries: int) -> dict[str, AuditFilter]:
    middle = _END - timedelta(seconds=10 * entries)
    return {
        "everything": AuditFilter(),
        "a subject": AuditFilter(subject="site-99999"),
        "a person": AuditFilter(actor="Admin7@example.com"),
        "somebody long ago": AuditFilter(actor="gone@example.com"),
        "nobody": AuditFilter(actor="nobody@example.com"),
        "a common action": AuditFilter(action="user.created"),
        "a rare action": AuditFilter(action="site.removed"),
        "a day in the middle": AuditFilter(since=middle, until=middle + timedelta(days=1)),
        "until the middle": AuditFilter(until=middle),
        "person, rare action": AuditFilter(actor="admin7@example.com", action="site.removed"),
        "person, rare action, until": AuditFilter(actor="gone@example.com", action="site.removed", until=middle),
        "person, before them": AuditFilter(actor="admin7@example.com", until=_END - timedelta(seconds=16 * entries)),
        **{
            f'search "{search}"': AuditFilter(search=search)
            for search in (
                "ada",
                "gone",
                "nightly export",
                "nightly export 12345",
                "site-7",
                "site-999",
                "blog",
                "slk_a",
                "10.0.3",
                "deleted",
                "removed",
                "nobody",
                "gone removed",
            )
        },
        "person and search": AuditFilter(actor="admin7@example.com", search="blog-7"),
        "action and search": AuditFilter(action="site.removed", search="gone"),
        "until and search": AuditFilter(until=middle, search="nightly export 1234"),
    }


async def _pages(lane: Lane, workspace: str | None, only: AuditFilter) -> list[float]:
    """Return the milliseconds of the first, the second and a later page."""
    within = None if workspace is None else frozenset({workspace})
    times = []
    after: int | None = None
    for number in range(_LATER_PAGES):
        begun = time.perf_counter()
        async with lane.read() as connection:
            page = await list_audit(connection, within=within, only=only, after=after)
        if number in (0, 1, _LATER_PAGES - 1):
            times.append((time.perf_counter() - begun) * 1000)
        if page.next is None:
            break
        after = int(page.next)
    return times


async def _measure(dsn: str, entries: int, rounds: int) -> bool:
    connection: asyncpg.Connection = await open_connection(dsn, role="bench")
    await migrate(connection)
    begun = time.perf_counter()
    await connection.execute(_FILL, entries, _END, timeout=3600)
    await connection.execute("VACUUM ANALYZE sitelatch.audit_log", timeout=3600)
    print(f"{entries:,} entries were inserted in {time.perf_counter() - begun:.0f} s", flush=True)
    await connection.close()
    pool = await open_pool(dsn, role="bench")
    lane = Lane(pool, read_seconds=60)
    met = True
    print(f"{'entries':34} {'workspace':10} {'p50':>8} {'max':>8}   goal: below {GOAL_MILLISECONDS} ms", flush=True)
    for name, only in _filters(entries).items():
        for workspace in _WORKSPACES:
            times = [each for _ in range(rounds) for each in await _pages(lane, workspace, only)]
            met = met and max(times) < GOAL_MILLISECONDS
            mark = "" if max(times) < GOAL_MILLISECONDS else "   over the goal"
            print(
                f"{name:34} {workspace or 'all':10} {statistics.median(times):8.1f} {max(times):8.1f}{mark}", flush=True
            )
    await pool.close()
    return met


def main(arguments: Sequence[str]) -> int:
    """Fill a database, run the measurements and print the results. Return 1 if the goal was not met."""
    entries = int(arguments[0]) if arguments else 1_000_000
    rounds = int(arguments[1]) if len(arguments) > 1 else 3
    with tempfile.TemporaryDirectory(prefix="sitelatch-bench-") as temporary:
        server = start_server(Path(temporary))
        try:
            return 0 if asyncio.run(_measure(server.dsn, entries, rounds)) else 1
        finally:
            server.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

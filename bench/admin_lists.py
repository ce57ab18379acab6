"""Measures the lists of the admin API with many API users: `python -m bench.admin_lists [USERS [ROUNDS]]`.

The default is 1,000,000 API users with 20,000 sites and about 5,000,000 authorizations, on PostgreSQL 15 from Debian
with its default settings (otherwise on the embedded server). For each order, search and filter, ROUNDS (3) rounds read
the first, the second and a later page of each workspace and of all workspaces together. For each search and filter,
they also count the users. The benchmark prints the median and the 99th percentile in milliseconds, and marks those over
the goal: 150 ms up to a million users, 400 ms above. Then it lists all users with the command.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import asyncpg

from admin.api.user_list import NO_FILTERS, Filters, count_users, list_users
from admin.api.user_order import SORTS, Sort
from admin.connections import Lane
from admin.identity.admins import WorkspaceLimit
from bench.admin_data import WORKSPACES, fill
from sql.embedded.binaries import Binaries
from sql.embedded.server import EmbeddedServer
from sql.migrate import migrate
from sql.pool import open_connection, open_pool

_POSTGRES_15 = Path("/usr/lib/postgresql/15")
_DEFAULTS = {"shared_buffers": "128MB", "jit": "on", "min_wal_size": "80MB", "max_wal_size": "1GB"}
"""PostgreSQL's own defaults, which differ from those of the embedded server."""

_SEARCHES = (
    None,
    "i",
    "integration",
    "nightly exp",
    "1",
    "12",
    "integration 1",
    "999",
    "500000",
    "admin7",
    "admin7@example",
    "ada admin",
    "com",
    "site-1",
    "site-123",
    "blog",
    "customer 40",
    "slk_a",
    "q7",
    "nobody",
)
"""Searches that match nearly all, many, few or no users, in names, people, sites and hints."""
_FILTERS = {
    "never used": Filters(never_used=True),
    "90 days": Filters(unused_days=90),
    "7 days": Filters(unused_days=7),
    "admin1": Filters(authorized_by="admin1@example1.com"),
    "admin199": Filters(authorized_by="admin199@example3.com"),
    "nobody": Filters(authorized_by="nobody@example.com"),
    "admin1, never": Filters(authorized_by="admin1@example1.com", never_used=True),
}
_FILTERED_SEARCHES = (None, "integration", "site-123", "q7")
_LATER_PAGES = 5


class _Selection(NamedTuple):
    """The users that a list contains."""

    search: str | None
    filters: Filters = NO_FILTERS


_SELECTIONS = {
    **{search or "": _Selection(search) for search in _SEARCHES},
    **{
        f"{search or ''} [{name}]".strip(): _Selection(search, filters)
        for name, filters in _FILTERS.items()
        for search in _FILTERED_SEARCHES
    },
}


async def _pages(lane: Lane, within: WorkspaceLimit, selection: _Selection, sort: Sort) -> list[float]:
    """Return the milliseconds of the first, the second and a later page."""
    times = []
    after = None
    for number in range(_LATER_PAGES):
        begun = time.perf_counter()
        async with lane.read() as connection:
            page = await list_users(connection, within=within, **selection._asdict(), sort=sort, after=after)
        if number in (0, 1, _LATER_PAGES - 1):
            times.append((time.perf_counter() - begun) * 1000)
        after = page.next
        if after is None:
            break
    return times


async def _count(lane: Lane, within: WorkspaceLimit, selection: _Selection) -> list[float]:
    """Return the milliseconds of a count."""
    begun = time.perf_counter()
    async with lane.read() as connection:
        await count_users(connection, within=within, **selection._asdict())
    return [(time.perf_counter() - begun) * 1000]


async def _measure(dsn: str, rounds: int, goal: float) -> bool:
    pool = await open_pool(dsn, role="bench")
    lane = Lane(pool, read_seconds=60)
    met = True
    print(f"{'order':16} {'search [filter]':28} {'p50':>8} {'p99':>8}   goal: p99 below {goal:g} ms", flush=True)
    for sort in (*SORTS, None):
        for name, selection in _SELECTIONS.items():
            times: list[float] = []
            for _ in range(rounds):
                for within in (None, *(frozenset({workspace}) for workspace in WORKSPACES)):
                    if sort is None:
                        times += await _count(lane, within, selection)
                    else:
                        times += await _pages(lane, within, selection, sort)
            p99 = statistics.quantiles(times, n=100, method="inclusive")[98]
            met = met and p99 < goal
            mark = "" if p99 < goal else "   over the goal"
            print(f"{sort or 'count':16} {name:28} {statistics.median(times):8.1f} {p99:8.1f}{mark}", flush=True)
    await pool.close()
    return met


def _list_with_the_command(dsn: str, folder: Path) -> None:
    config = folder / "sitelatch.toml"
    route = '[[proxy.routes]]\nname = "data"\nupstream = "http://127.0.0.1:9"\nsites = ["query:site"]\n'
    config.write_text(f'{route}[database]\nurl = "{dsn}"\n')
    for form in ([], ["--json"]):
        begun = time.perf_counter()
        command = [sys.executable, "-m", "sitelatch", "users", "list", *form, "--config", str(config)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        name = " ".join(["users list", *form])
        print(f"{name}: {time.perf_counter() - begun:.1f} s, peak memory {usage.ru_maxrss / 1024:.0f} MiB", flush=True)


async def _prepare(dsn: str, users: int) -> None:
    connection: asyncpg.Connection = await open_connection(dsn, role="bench")
    await migrate(connection)
    begun = time.perf_counter()
    await fill(connection, users=users, sites=20_000)
    print(f"{users:,} API users were inserted in {time.perf_counter() - begun:.0f} s", flush=True)
    await connection.close()


def start_server(folder: Path) -> EmbeddedServer:
    """Start PostgreSQL 15 with its default settings, or the embedded server, in a new folder."""
    binaries = Binaries(_POSTGRES_15, Path(), 15) if (_POSTGRES_15 / "bin" / "postgres").is_file() else None
    folder.chmod(0o755)  # root starts the server as another user
    return EmbeddedServer.open(folder / "postgres", _DEFAULTS, binaries)


def main(arguments: Sequence[str]) -> int:
    """Fill a database, run the measurements and print the results. Return 1 if a goal was not met."""
    users = int(arguments[0]) if arguments else 1_000_000
    rounds = int(arguments[1]) if len(arguments) > 1 else 3
    with tempfile.TemporaryDirectory(prefix="sitelatch-bench-") as temporary:
        folder = Path(temporary)
        server = start_server(folder)
        try:
            asyncio.run(_prepare(server.dsn, users))
            met = asyncio.run(_measure(server.dsn, rounds, 150 if users <= 1_000_000 else 400))
            _list_with_the_command(server.dsn, folder)
        finally:
            server.close()
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

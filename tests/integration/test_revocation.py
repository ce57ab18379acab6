"""Revocation of thousands of open exchanges, with the real change feed and real lookups."""

import asyncio
import time
from collections import Counter

import asyncpg
import pytest

from proxy.decision.grant import Grant
from proxy.grants.cache import GrantCache, connections_used
from proxy.grants.change_feed import ChangeFeed
from proxy.grants.database_status import FeedMode
from proxy.relay.revocation import Revocation
from proxy.settings import GrantSettings
from sql.pool import open_pool
from tests.database import add_workspace
from tests.scopes import until
from tests.unit.relay.open_exchanges import FakeExchange, key_of

SETTINGS = GrantSettings()


@pytest.mark.parametrize("count", [500, pytest.param(5000, marks=pytest.mark.slow)])
async def test_when_thousands_are_rechecked_those_with_a_deleted_key_end(
    dsn: str, pool: asyncpg.Pool, count: int
) -> None:
    await add_workspace(pool, "acme", "shop")
    await pool.execute(
        "INSERT INTO sitelatch.api_users (workspace_id, name, all_sites, authorized_by_name, authorized_by_email)"
        " SELECT id, 'user-' || number, true, 'Ada', 'ada@example.com'"
        " FROM sitelatch.workspaces, generate_series(1, $1) AS number",
        count,
    )
    await pool.execute(
        "INSERT INTO sitelatch.api_keys (digest, user_id, hint)"
        " SELECT sha256(convert_to(name, 'UTF8')), id, '' FROM sitelatch.api_users"
    )
    doors_pool = await open_pool(dsn, maximum=connections_used(SETTINGS), role="doors")
    grants = GrantCache(SETTINGS, doors_pool, on_lookup=lambda result: None)
    streams: list[FakeExchange] = []
    ended: Counter[str] = Counter()
    revocation = Revocation(
        lambda: streams,
        grants,
        SETTINGS,
        read_at=lambda: feed.read_at,
        on_ended=lambda cause: ended.update([cause]),
    )
    feed = ChangeFeed(
        lambda: asyncpg.connect(dsn, statement_cache_size=0),
        grants,
        poll_seconds=SETTINGS.poll_seconds,
        on_dropped=lambda cause, dropped: None,
        on_changes=revocation.changed,
    )
    works = [asyncio.create_task(work) for work in (feed.run(), revocation.run())]
    await until(lambda: grants.database.feed_mode is FeedMode.WOKEN)
    for number in range(1, count + 1):
        grant = await grants.fetch(key_of(f"user-{number}"))
        assert isinstance(grant, Grant)
        streams.append(FakeExchange(f"user-{number}", grant, "shop"))
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("DELETE FROM sitelatch.api_users WHERE length(name) % 2 = 0")
        await connection.execute("UPDATE sitelatch.workspaces SET name = 'Acme Inc.'")  # rechecks all
    began = time.monotonic()
    await until(lambda: len(grants) == 0)
    await until(lambda: not revocation.rechecks.queued and not revocation.rechecks.workers, 60)
    print(f"{count} streams rechecked in {time.monotonic() - began:.2f} s")  # noqa: T201 - for the report
    assert all(stream.done == (len(stream.name) % 2 == 0) for stream in streams)
    assert set(ended) == {"key_gone"}
    for work in works:
        work.cancel()
    await asyncio.wait(works)
    await revocation.close()
    await grants.close()
    doors_pool.terminate()

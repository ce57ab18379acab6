"""The order, pages, search, filters and count of a list of 20,000 API users. No query may read a whole table."""

import random
import re
import unicodedata
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import asyncpg
import pytest

from admin.api.audit_list import AuditFilter, list_audit
from admin.api.response_models import Count, User
from admin.api.sites import list_sites
from admin.api.user_list import NO_FILTERS, Filters, count_users, list_users
from admin.api.user_order import SORTS, Sort
from bench.admin_data import fill
from sql.pool import connected, open_connection
from sql.queries import query
from tests.database import TEMPLATE, create_database, drop_database, run_aside

USERS = 20_000
SITES = 1_000
LARGE_TABLES = re.compile(r"Seq Scan on (api_users|api_keys|api_user_sites|api_user_activity|audit_log)\b")

SEARCHES = (
    "integration",  # one user in ten
    "NIGHTLY exp",
    "admin1",
    "ben admin11@ex",
    "1",  # the digits of the names of users that were created one after another
    "integration 1",
    "1999",
    "loader",  # not the first word
    "site-1",
    "blog of customer 40",
    "example.com",
    "k",  # many hints
    "nobody",
    "loader site-12",  # in different places
    "admin1@ex blog integration",
    "com 40",
)


class Listed(NamedTuple):
    """An API user, as the reference implementation sees it."""

    id: str
    workspace: str
    name: str | None
    by_name: str
    by_email: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    texts: list[str]
    """Each search must match in one of these."""


REFERENCE = """
SELECT u.id::text, w.name AS workspace, u.name, u.authorized_by_name AS by_name, u.authorized_by_email AS by_email,
       u.created_at, a.last_used_at, u.expires_at,
       ARRAY[concat_ws(' ', u.name, u.authorized_by_name, u.authorized_by_email)]
       || ARRAY(SELECT substr(k.hint, 5) FROM sitelatch.api_keys k WHERE k.user_id = u.id)
       || ARRAY(SELECT s.id || ' ' || s.display_name FROM sitelatch.api_user_sites m
                JOIN sitelatch.sites s ON s.id = m.site_id WHERE m.user_id = u.id) AS texts
FROM sitelatch.api_users u
JOIN sitelatch.workspaces w ON w.id = u.workspace_id
JOIN sitelatch.api_user_activity a ON a.user_id = u.id
"""


@pytest.fixture(scope="module")
def many_users(database_server: str) -> Iterator[str]:
    """The DSN of a database with many users. Tests undo their changes."""

    async def create() -> str:
        dsn = await create_database(database_server, TEMPLATE)
        connection = await open_connection(dsn, role="tests")
        await fill(connection, users=USERS, sites=SITES)
        # Users whose last activity was at the same time, as after an import.
        await connection.execute(
            "UPDATE sitelatch.api_user_activity SET last_used_at = date_trunc('day', now())"
            " WHERE user_id IN (SELECT id FROM sitelatch.api_users ORDER BY id LIMIT 300)"
        )
        # Names that differ only in case and accents, and one that is cut off in the order.
        await connection.execute(
            "UPDATE sitelatch.api_users SET name = (ARRAY['Ärger', 'arger', 'ARGER', 'Zoe', 'Øre', 'ﬁnance',"
            " repeat('n', 90)])"
            "[abs(hashtext(id::text)) % 7 + 1] WHERE id IN (SELECT id FROM sitelatch.api_users ORDER BY id LIMIT 400)"
        )
        await connection.execute(
            "INSERT INTO sitelatch.audit_log (at, actor_name, actor_email, actor_address, action, workspace, subject)"
            " SELECT now() - (20000 - n) * interval '1 second', 'Ada', 'ada' || n % 50 || '@example.com', '127.0.0.1',"
            " CASE WHEN n % 997 = 0 THEN 'site.removed' ELSE 'user.created' END,"
            " CASE WHEN n % 1000 = 0 THEN 'few' ELSE 'acme' END, (n / 5)::text FROM generate_series(1, 20000) n"
        )
        # Few users expire soon, and many have expired.
        await connection.execute(
            "UPDATE sitelatch.api_users"
            " SET expires_at = now() + make_interval(days => abs(hashtext(id::text)) % 400 - 350)"
            " WHERE id IN (SELECT id FROM sitelatch.api_users ORDER BY id DESC LIMIT 2000)"
        )
        await connection.execute("VACUUM ANALYZE")
        await connection.close()
        return dsn

    dsn = run_aside(create())
    yield dsn
    run_aside(drop_database(database_server, dsn))


@pytest.fixture
async def connection(many_users: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection in a transaction that is rolled back."""
    opened = await open_connection(many_users, role="tests")
    transaction = opened.transaction()
    await transaction.start()
    await opened.execute(query("limit_reads"), "60000")
    yield opened
    await transaction.rollback()
    await opened.close()


@pytest.fixture(scope="module")
def users(many_users: str) -> list[Listed]:
    """All users, as the reference implementation sees them."""

    async def read() -> list[Listed]:
        async with connected(many_users, role="tests") as connection:
            return [Listed(**dict(row)) for row in await connection.fetch(REFERENCE)]

    return run_aside(read())


def words(text: str) -> list[str]:
    return [word for word in re.split(r"[\s\-_.@/…]+", text.lower()) if word]


def matches(user: Listed, search: str) -> bool:
    """Whether each word of the search, separated by spaces, matches in one of the texts."""
    places = [words(text) for text in user.texts]
    return all(any(begins(found, words(term)) for found in places) for term in search.split())


def begins(found: list[str], sought: list[str]) -> bool:
    return all(any(word.startswith(start) for word in found) for start in sought)


def in_order(users: list[Listed], sort: Sort) -> list[str]:
    def key(user: Listed) -> Any:
        match sort.removeprefix("-"):
            case "created":
                return user.created_at, user.id
            case "last_activity":
                return user.last_used_at is not None, user.last_used_at and user.last_used_at.timestamp(), user.id
            case "name":
                # Users without a name come last in both orders.
                return (user.name is None) != sort.startswith("-"), order_key(user.name or ""), user.id
            case _:
                return order_key(f"{user.by_name} {user.by_email}"), user.id

    return [user.id for user in sorted(users, key=key, reverse=sort.startswith("-"))]


def order_key(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(character for character in decomposed if not unicodedata.combining(character)).lower()[:64]


def passes(user: Listed, filters: Filters) -> bool:
    by = filters.authorized_by
    if by is not None and "@" in by and user.by_email.lower() != by.lower():
        return False
    if by is not None and "@" not in by and not begins(words(f"{user.by_name} {user.by_email}"), words(by)):
        return False
    days = filters.expires_within_days
    if days is not None or filters.expired:
        if user.expires_at is None:
            return False
        now = datetime.now(UTC)
        if (user.expires_at <= now) is not filters.expired:
            return False
        if days is not None and user.expires_at > now + timedelta(days=days):
            return False
    if filters.never_used and user.last_used_at is not None:
        return False
    if filters.unused_days is None:
        return True
    return (user.last_used_at or user.created_at) < datetime.now(UTC) - timedelta(days=filters.unused_days)


async def pages(connection: asyncpg.Connection, count: int = 10**6, **parameters: Any) -> AsyncIterator[list[User]]:
    """Yield the first `count` pages of a list."""
    after = None
    for _ in range(count):
        page = await list_users(connection, after=after, sites_listed=0, **parameters)
        yield page.items
        after = page.next
        if after is None:
            return


@pytest.mark.parametrize("sort", SORTS)
async def test_all_pages_together_are_the_whole_list_in_order(
    connection: asyncpg.Connection, users: list[Listed], sort: Sort
) -> None:
    for within, count in ((None, 3), (frozenset({"umbrella", "few", "nowhere"}), 1000)):
        expected = in_order([user for user in users if within is None or user.workspace in within], sort)
        found = [
            user.id async for page in pages(connection, count, sort=sort, within=within, limit=70) for user in page
        ]
        assert found == (expected if within else expected[:210])


@pytest.mark.parametrize("search", SEARCHES)
async def test_a_search_finds_the_same_users_as_the_reference(
    connection: asyncpg.Connection, users: list[Listed], search: str
) -> None:
    users = [user for user in users if matches(user, search)]
    chosen = random.Random(search)
    for within in (None, frozenset({"acme"}), frozenset({"stark", "few", "globex"}), frozenset({"few"})):
        for sort in chosen.sample(SORTS, 4):
            expected = in_order([user for user in users if within is None or user.workspace in within], sort)
            limit = chosen.randint(3, 70)
            found = [
                user.id
                async for page in pages(connection, 3, search=search, sort=sort, within=within, limit=limit)
                for user in page
            ]
            assert found == expected[: 3 * limit], (search, sort, within, limit)
        counted = await count_users(connection, within=within, search=search)
        assert (counted.count, counted.more) == (min(len(expected), 10_000), len(expected) > 10_000)


@pytest.mark.parametrize(
    "filters",
    [
        Filters(never_used=True),
        Filters(unused_days=2),
        Filters(unused_days=4, never_used=True),
        Filters(authorized_by="ADMIN0@example0.com"),
        Filters(authorized_by="admin1@example1.com", unused_days=3),
        Filters(authorized_by="nobody@example.com"),
        Filters(authorized_by="BEN"),
        Filters(authorized_by="chloé example1", never_used=True),
        Filters(expires_within_days=5),
        Filters(expired=True),
        Filters(expired=True, unused_days=2),
    ],
    ids=str,
)
async def test_filters_select_the_same_users_as_the_reference(
    connection: asyncpg.Connection, users: list[Listed], filters: Filters
) -> None:
    users = [user for user in users if passes(user, filters)]
    chosen = random.Random(str(filters))
    for search in (None, "integration", "site-1"):
        found_by_search = [user for user in users if search is None or matches(user, search)]
        for within in (None, frozenset({"stark", "few"})):
            expected = [user for user in found_by_search if within is None or user.workspace in within]
            counted = await count_users(connection, within=within, search=search, filters=filters)
            assert (counted.count, counted.more) == (min(len(expected), 10_000), len(expected) > 10_000)
            for sort in chosen.sample(SORTS, 3):
                limit = chosen.randint(3, 70)
                found = [
                    user.id
                    async for page in pages(
                        connection, 2, search=search, sort=sort, within=within, limit=limit, filters=filters
                    )
                    for user in page
                ]
                assert found == in_order(expected, sort)[: 2 * limit], (search, sort, within, limit)


async def test_more_than_ten_thousand_users_are_not_counted_exactly(
    connection: asyncpg.Connection, users: list[Listed]
) -> None:
    assert len(users) == USERS
    for search in (None, "com"):
        assert await count_users(connection, search=search) == Count(count=10_000, more=True)
    acme = sum(user.workspace == "acme" for user in users)
    assert await count_users(connection, within=frozenset({"acme"})) == Count(
        count=min(acme, 10_000), more=acme > 10_000
    )
    assert await count_users(connection, within=frozenset({"nowhere"})) == Count(count=0, more=False)


@pytest.mark.parametrize("search", ["slk_--  -secret", "slk_...."])
async def test_a_search_without_words_before_the_secret_of_a_key_lists_all_users(
    connection: asyncpg.Connection, search: str
) -> None:
    assert await list_users(connection, search=search) == await list_users(connection)


async def test_a_search_finds_no_users_if_the_database_sees_no_words_in_it(connection: asyncpg.Connection) -> None:
    """Whether some characters are spaces depends on the locale of the database."""
    await connection.execute(
        "CREATE OR REPLACE FUNCTION sitelatch.word_beginnings(text[]) RETURNS tsquery"
        " LANGUAGE sql IMMUTABLE AS 'SELECT NULL::tsquery'"
    )
    for sort in SORTS:
        assert (await list_users(connection, search="\u180e", sort=sort)).items == []


@pytest.mark.parametrize("sort", SORTS)
async def test_updates_between_pages_neither_skip_nor_repeat_users_that_did_not_change(
    connection: asyncpg.Connection, users: list[Listed], sort: Sort
) -> None:
    """A user that was active moves to its new place in an order by activity. All others are listed exactly once."""
    chosen = random.Random(sort)
    users = [user for user in users if user.workspace == "hooli"]
    unchanged = in_order(users, sort)
    found: list[str] = []
    moved: set[str] = set()
    async for page in pages(connection, sort=sort, within=frozenset({"hooli"}), limit=40):
        found += [user.id for user in page]
        active = [user.id for user in chosen.sample(users, 5)]
        moved.update(active)
        await connection.execute(
            "UPDATE sitelatch.api_user_activity SET last_used_at = now() WHERE user_id = ANY ($1::text[]::uuid[])",
            active,
        )
        await connection.execute(
            "INSERT INTO sitelatch.api_users (workspace_id, all_sites, authorized_by_name, authorized_by_email)"
            " SELECT id, true, 'Ada', 'ada@example.com' FROM sitelatch.workspaces WHERE name = 'globex'"
        )
    if not sort.endswith("last_activity"):
        assert found == unchanged
    else:
        assert [user for user in found if user not in moved] == [user for user in unchanged if user not in moved]
        assert 20 < len(moved) < len(unchanged)


class Explaining:
    """A connection that runs EXPLAIN before each query, and records queries that read a whole large table."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.complaints: list[str] = []

    async def fetchval(self, statement: str, *parameters: Any) -> Any:
        rows = await self.fetch(statement, *parameters)
        return rows[0][0] if rows else None

    async def fetch(self, statement: str, *parameters: Any) -> list[asyncpg.Record]:
        plan = "\n".join(row[0] for row in await self._connection.fetch(f"EXPLAIN {statement}", *parameters))
        if LARGE_TABLES.search(plan):
            self.complaints.append(f"{parameters}\n{plan}")
        return await self._connection.fetch(statement, *parameters)


@pytest.mark.parametrize("sort", SORTS)
async def test_no_page_of_users_reads_a_whole_table(connection: asyncpg.Connection, sort: Sort) -> None:
    explaining: Any = Explaining(connection)
    for within in (None, frozenset({"acme"}), frozenset({"stark", "few"}), frozenset({"few"})):
        for search in (None, "integration", "integration 1", "admin11", "site-1", "1999", "nobody"):
            page = await list_users(explaining, within=within, search=search, sort=sort, limit=5)
            if page.next is not None:
                await list_users(explaining, within=within, search=search, sort=sort, after=page.next, limit=5)
    assert explaining.complaints == []


@pytest.mark.parametrize(
    "filters",
    [
        NO_FILTERS,
        Filters(never_used=True),
        Filters(unused_days=3),
        Filters(never_used=True, authorized_by="admin150@example3.com"),
    ],
    ids=str,
)
async def test_no_filter_and_no_count_reads_a_whole_table(connection: asyncpg.Connection, filters: Filters) -> None:
    explaining: Any = Explaining(connection)
    for within in (None, frozenset({"stark", "few"})):
        for search in (None, "admin11", "site-1"):
            await count_users(explaining, within=within, search=search, filters=filters)
            for sort in SORTS if filters != NO_FILTERS else ():
                page = await list_users(explaining, within=within, search=search, sort=sort, filters=filters, limit=5)
                if page.next is not None:
                    after = page.next
                    await list_users(
                        explaining, within=within, search=search, sort=sort, filters=filters, after=after, limit=5
                    )
    assert explaining.complaints == []


async def test_no_page_of_sites_or_audit_entries_reads_a_whole_table(connection: asyncpg.Connection) -> None:
    explaining: Any = Explaining(connection)
    few = frozenset({"few"})
    for within in (None, few, frozenset({"acme", "few"})):
        for search, found in ((None, True), ("site-1", within != few), ("nothing", False)):
            sites = await list_sites(explaining, within=within, search=search)
            assert bool(sites.items) == found
        for subject, count in ((None, 5), ("200", 1 if within == few else 5), ("unknown", 0)):
            entries = await list_audit(explaining, within=within, only=AuditFilter(subject=subject), limit=5)
            assert len(entries.items) == count
        middle = datetime.now(UTC) - timedelta(hours=1)
        for only in (
            AuditFilter(actor="Ada7@example.com"),
            AuditFilter(action="site.removed"),
            AuditFilter(until=middle),
            AuditFilter(since=middle, action="user.created"),
            AuditFilter(search="ada"),
            AuditFilter(search="ada7"),
            AuditFilter(search="1999"),
            AuditFilter(search="nobody"),
            AuditFilter(search="nobody", actor="nobody@example.com"),
        ):
            page = await list_audit(explaining, within=within, only=only, limit=5)
            if page.next is not None:
                await list_audit(explaining, within=within, only=only, after=int(page.next), limit=5)
    assert explaining.complaints == []

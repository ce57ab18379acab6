"""Sites that some data services treat as the same: new ones are refused, and existing ones are kept and listed."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from admin.api.similar_sites import fill_in_collations, list_similar_sites
from admin.api.site_collation import collate_site
from admin.api.site_creation import NewSite, add_sites
from admin.api.site_file import read_site_file
from admin.api.site_import import SiteImport, import_sites
from admin.api.sites import list_sites, remove_sites
from admin.identity.admins import Actor
from admin.problems import Conflict
from sql.migrate import migrate
from sql.pool import open_connection
from tests.database import add_user, add_workspace
from tests.integration.adminapi import BY_ADA, AdminClient, acme, admin

__all__ = ["acme", "admin"]

BY_BEN = Actor(BY_ADA.person, "command", frozenset({"acme"}))
PAIRS = [("cafe", "café"), ("isik", "ışık"), ("my shop", "my+shop"), ("strasse-1", "straße-١")]


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await open_connection(dsn, role="tests")
    yield opened
    await opened.close()


async def add(connection: asyncpg.Connection, workspace: str, *sites: str, by: Actor = BY_ADA) -> None:
    created = [NewSite(site) for site in sites]
    await add_sites(connection, workspace=workspace, sites=created, by=by, create_workspace=True)


async def ids(connection: asyncpg.Connection) -> set[str]:
    return {site.id for site in (await list_sites(connection)).items}


@pytest.mark.parametrize("pair", PAIRS)
async def test_a_site_similar_to_an_existing_one_is_refused(
    connection: asyncpg.Connection, pair: tuple[str, str]
) -> None:
    for first, second in (pair, pair[::-1]):
        await add(connection, "acme", first)
        with pytest.raises(Conflict, match="Some data services treat") as refused:
            await add(connection, "acme", "new", second)
        assert [fault.place for fault in refused.value.faults] == [(1, "id")]
        assert f'"{second}" and the site "{first}"' in str(refused.value)
        assert await ids(connection) == {first}, "either all sites are added, or none"
        await add(connection, "acme", first)
        await remove_sites(connection, [first], by=BY_ADA)
        await add(connection, "acme", second)
        await remove_sites(connection, [second], by=BY_ADA)


async def test_two_similar_sites_in_one_list_are_refused(connection: asyncpg.Connection) -> None:
    with pytest.raises(Conflict, match="Some data services treat"):
        await add(connection, "acme", "café", "blog", "cafe")
    assert await ids(connection) == set()


async def test_a_similar_site_is_named_only_to_admins_of_its_workspace(
    connection: asyncpg.Connection,
) -> None:
    await add(connection, "globex", "café-secret")
    await add(connection, "acme", "shop")
    with pytest.raises(Conflict, match='the site "café-secret" of the workspace "globex"'):
        await add(connection, "acme", "cafe-secret")
    with pytest.raises(Conflict, match=r'^"cafe-secret" is taken: .* in another workspace') as refused:
        await add_sites(connection, workspace="acme", sites=[NewSite("cafe-secret")], by=BY_BEN)
    assert "globex" not in str(refused.value)
    assert "é" not in str(refused.value)


async def test_the_admin_api_refuses_a_site_too_similar_to_an_existing_one(acme: AdminClient) -> None:
    assert (await acme.request("PUT", "/sites/caf%C3%A9", {"workspace": "acme"}))[0] == 201
    status, problem, _ = await acme.request("PUT", "/sites/cafe", {"workspace": "acme"})
    assert (status, problem["code"]) == (409, "conflict")
    [error] = problem["errors"]
    assert error["parameter"] == "id"
    assert 'and the site "café" as equal' in error["detail"]
    status, problem, _ = await acme.request("POST", "/sites", {"csv": "site,workspace\nok,acme\ncafe,acme\n"})
    assert status == 409
    assert (await acme.request("GET", "/sites/ok"))[0] == 404


async def test_only_one_of_many_concurrent_similar_sites_is_added(dsn: str) -> None:
    spellings = ["cafe", "café", "CAFÉ", "cafe\u0301", "ｃafé", "cafe+"]
    connections = [await open_connection(dsn, role="tests") for _ in spellings]
    try:
        await add(connections[0], "acme", "shop")
        async with asyncio.timeout(30):
            done = await asyncio.gather(
                *(add(one, "acme", spelt) for one, spelt in zip(connections, spellings, strict=True)),
                return_exceptions=True,
            )
        assert [type(one) for one in done].count(Conflict) == len(spellings) - 1, done
        assert len(await ids(connections[0])) == 2
    finally:
        for one in connections:
            await one.close()


async def test_two_imports_of_similar_sites_in_opposite_order_do_not_deadlock(dsn: str) -> None:
    """After folding, the two lists have their sites in opposite order, which would deadlock without sorting."""
    connections = [await open_connection(dsn, role="tests") for _ in range(2)]
    lists = (("éa", "zz"), ("ea", "źz"))
    try:
        await add(connections[0], "acme", "shop")
        for number in range(20):
            files = [read_site_file("".join(f"{site}{number}\n" for site in some), workspace="acme") for some in lists]
            async with asyncio.timeout(30):
                done = await asyncio.gather(
                    *(import_sites(one, file, by=BY_ADA) for one, file in zip(connections, files, strict=True)),
                    return_exceptions=True,
                )
            # The import that comes second finds the sites of the first one before or after it starts to add its own.
            outcomes = [isinstance(one, SiteImport) and not one.faults for one in done]
            assert sorted(outcomes) == [False, True], done
            assert isinstance(done[outcomes.index(False)], SiteImport | Conflict)
    finally:
        for one in connections:
            await one.close()


async def test_existing_similar_sites_are_kept_and_listed(bare_dsn: str) -> None:
    connection = await open_connection(bare_dsn, role="tests")
    try:
        await migrate(connection)
        await add_workspace(connection, "acme", "café", "shop", "isik")
        await add_workspace(connection, "globex", "cafe", "ışık", "wiki")
        await connection.execute(
            "UPDATE sitelatch.sites SET created_at = now() - interval '1 day' WHERE id IN ('cafe', 'isik')"
        )
        user = await add_user(connection, "acme", "café")
        assert await fill_in_collations(connection) == 6
        assert await fill_in_collations(connection) == 0
        twins = await list_similar_sites(connection)
        assert (set(twins.pairs), twins.more) == ({("cafe", "café"), ("isik", "ışık")}, 0)
        assert await connection.fetchval("SELECT count(*) FROM sitelatch.api_user_sites WHERE user_id = $1", user) == 1
        # Existing sites can be added again, as a nightly import does.
        await add(connection, "acme", "café", "shop", "isik")
        await add(connection, "globex", "cafe", "wiki")
        with pytest.raises(Conflict, match="Some data services treat"):
            await add(connection, "acme", "câfe")
        # It is refused even after the first of the two sites is removed.
        await remove_sites(connection, ["cafe"], by=BY_ADA)
        with pytest.raises(Conflict, match="Some data services treat"):
            await add(connection, "globex", "cafe")
        assert (await list_similar_sites(connection)).pairs == (("isik", "ışık"),)
        await remove_sites(connection, ["café"], by=BY_ADA)
        await add(connection, "globex", "cafe")
    finally:
        await connection.close()


async def test_only_some_similar_sites_are_listed_and_the_rest_are_counted(connection: asyncpg.Connection) -> None:
    await add_workspace(connection, "acme", *(f"{one}{number}" for one in ("é", "e", "ê") for number in range(15)))
    assert await fill_in_collations(connection) == 45
    twins = await list_similar_sites(connection)
    assert (len(twins.pairs), twins.more) == (20, 10)
    assert all(collate_site(oldest) == collate_site(twin) and oldest != twin for oldest, twin in twins.pairs)


async def test_a_site_inserted_with_sql_is_compared_at_the_next_change(connection: asyncpg.Connection) -> None:
    """An older Sitelatch writes sites without a collated id while replicas are upgraded one by one."""
    await add(connection, "acme", "shop")
    await add_workspace(connection, "globex", "café")
    with pytest.raises(Conflict, match='the site "café" of the workspace "globex"'):
        await add(connection, "acme", "cafe")
    assert await fill_in_collations(connection) == 1, "the refused change was rolled back completely"
    await add_workspace(connection, "initech", "cafe")
    assert await fill_in_collations(connection) == 1
    assert (await list_similar_sites(connection)).pairs == (("café", "cafe"),)


async def test_filling_in_collations_waits_for_a_concurrent_insert_and_keeps_both_sites(dsn: str) -> None:
    adder, filler = [await open_connection(dsn, role="tests") for _ in range(2)]
    try:
        await add_workspace(adder, "acme", "café")
        await adder.execute("INSERT INTO sitelatch.workspaces (name) VALUES ('globex')")
        async with asyncio.timeout(30):
            adding = adder.transaction()
            await adding.start()
            await adder.execute(
                "INSERT INTO sitelatch.sites (id, folded, collated, workspace_id, display_name)"
                " SELECT 'cafe', 'cafe', 'cafe', id, '' FROM sitelatch.workspaces WHERE name = 'globex'"
            )
            filling = asyncio.create_task(fill_in_collations(filler))
            blocked = "EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
            await adder.execute(
                f"DO $$ BEGIN WHILE NOT {blocked} LOOP PERFORM pg_sleep(0.02); END LOOP; END $$", timeout=20
            )
            await adding.commit()
            assert await filling == 1
        assert (await list_similar_sites(filler)).pairs == (("cafe", "café"),)
    finally:
        await adder.close()
        await filler.close()


async def test_filling_in_collations_adds_nothing_to_the_change_feed(connection: asyncpg.Connection) -> None:
    await add_workspace(connection, "acme", "café", "cafe")
    before = await connection.fetchval("SELECT max(seq) FROM sitelatch.scope_changes")
    await fill_in_collations(connection)
    assert await connection.fetchval("SELECT max(seq) FROM sitelatch.scope_changes") == before


async def test_filling_in_collations_does_not_wait_for_a_new_authorization(
    connection: asyncpg.Connection, dsn: str
) -> None:
    """PostgreSQL takes a stronger row lock when a column of a non-partial unique index changes."""
    await add_workspace(connection, "acme", "café")
    user = await add_user(connection, "acme")
    other = await open_connection(dsn, role="tests")
    try:
        async with asyncio.timeout(20), other.transaction():
            await other.execute("INSERT INTO sitelatch.api_user_sites (user_id, site_id) VALUES ($1, 'café')", user)
            assert await fill_in_collations(connection) == 1
    finally:
        await other.close()


@pytest.mark.parametrize("encoding", ["LATIN1", "EUC_JP", "SQL_ASCII"])
async def test_similar_sites_are_refused_in_databases_with_other_encodings(database_server: str, encoding: str) -> None:
    server = await open_connection(database_server, role="tests")
    name = f"encoded_{encoding.lower()}"
    pairs = {"LATIN1": ("cafe", "café"), "EUC_JP": ("さくら", "サクラ"), "SQL_ASCII": ("cafe", "café")}
    try:
        await server.execute(f"DROP DATABASE IF EXISTS {name}")
        await server.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C'"
        )
        connection = await open_connection(database_server.replace("/postgres?", f"/{name}?"), role="tests")
        try:
            await migrate(connection)
            first, second = pairs[encoding]
            await add_workspace(connection, "acme", first)
            assert await fill_in_collations(connection) == 1
            with pytest.raises(Conflict, match="Some data services treat"):
                await add(connection, "acme", second)
        finally:
            await connection.close()
    finally:
        await server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await server.close()

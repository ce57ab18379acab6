"""Checks whether the upstreams and the database of a config answer, and whether its addresses are free."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from aiohttp import web

from proxy.grants.connections import DATABASE_FAILURES, describe_connecting
from proxy.relay.aiohttp_listeners import start_listening
from proxy.relay.connection_errors import connection_error
from proxy.relay.upstream_address import Create, UpstreamAddress
from proxy.settings import ListenSettings, RouteSettings
from sitelatch.config import Config
from sitelatch.config_source import Fault
from sitelatch.database import opened_database
from sitelatch.toml_scanner import Place
from sql.embedded.server import EmbeddedServerFailed, ServerBinariesMissing
from sql.pool import connected
from sql.queries import query
from sql.settings import DatabaseSettings

_SECONDS: Final = 5.0
_MAY_CREATE_SCHEMA = query("may_create_schema")


async def unreachable_parts(config: Config) -> AsyncIterator[Fault]:
    """Yield a fault for each upstream and database that does not answer, and for each address that is in use."""
    for index, route in enumerate(config.proxy.routes):
        if reason := await upstream_problem(route):
            yield Fault(("proxy", "routes", index, "upstream"), f"{reason}.")
    admin_url = config.admin_database.url
    for place, database in _databases(config).items():
        if reason := await database_problem(database, config.directory, migrates=database.url == admin_url):
            yield Fault(place, f"{reason}.")
    tables: dict[str, ListenSettings] = {"proxy": config.proxy, "ops": config.ops, "admin": config.admin}
    for name, settings in tables.items():
        if reason := await _listen_problem(settings):
            yield Fault((name, "listen"), f"cannot listen on {settings.listen}: {reason}.")


async def upstream_problem(route: RouteSettings) -> str | None:
    """Return why a route's upstream does not accept a connection (and TLS, for an https:// upstream), or None."""

    try:
        await UpstreamAddress(route.upstream, route.upstream_tls).connect(_attempt, _SECONDS)
    except (OSError, UnicodeError, ExceptionGroup) as error:
        return connection_error(error).detail
    return None


class _ClosesAtOnce(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


async def _attempt(create: Create) -> None:
    await create(_ClosesAtOnce)


def _databases(config: Config) -> dict[Place, DatabaseSettings]:
    """Return the databases of a config, keyed by the place of their DSN. Equal DSNs occur once."""
    database = config.database
    urls: dict[Place, str | None] = {
        ("database", "url"): database.url,
        ("database", "listen_url"): database.listen_url,
        ("admin", "database_url"): config.admin.database_url,
    }
    places: dict[str, Place] = {}
    for place, url in urls.items():
        if url is not None:
            places.setdefault(url, place)
    return {place: database.model_copy(update={"url": url}) for url, place in places.items()}


async def database_problem(settings: DatabaseSettings, directory: Path, *, migrates: bool = True) -> str | None:
    """Return why a database cannot be used, or None. An embedded server is started for a moment.

    `migrates` means that `sitelatch migrate` uses this DSN, so its role must be allowed to create the schema.
    """
    allowed = True
    try:
        async with (
            opened_database(settings, directory) as dsn,
            connected(dsn, role="command") as connection,
        ):
            if migrates:
                [(allowed, database, role)] = await connection.fetch(_MAY_CREATE_SCHEMA)
    except (EmbeddedServerFailed, ServerBinariesMissing) as error:
        return str(error)
    except DATABASE_FAILURES as error:
        return describe_connecting(error)
    if allowed:
        return None
    return (
        "the database answers, but this role may not create the schema `sitelatch`. As the owner of the database, run "
        f"GRANT CREATE ON DATABASE {database} TO {role}"
    )


async def _listen_problem(settings: ListenSettings) -> str | None:
    runner = web.AppRunner(web.Application(), access_log=None)
    await runner.setup()
    try:
        await start_listening(runner, settings)
    except OSError as error:
        return error.strerror or type(error).__name__
    finally:
        await runner.cleanup()
    return None

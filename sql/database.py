"""Resolves the `[database]` section of the config file: the URL of a server, or an embedded server to start."""

from pathlib import Path
from typing import NamedTuple

from sql.embedded.server import EmbeddedServer
from sql.settings import DatabaseSettings

_EMBEDDED = "embedded:"


class Database(NamedTuple):
    """The URL of a database, and its embedded server if it has one. The caller must stop `server`."""

    dsn: str
    server: EmbeddedServer | None


async def resolve(settings: DatabaseSettings, config_dir: Path) -> Database:
    """Return the database of these settings. Start the embedded server if the settings ask for one.

    `embedded:DIR` is relative to the config file's folder. Raises ValueError if DIR is missing, and the errors of
    EmbeddedServer.
    """
    if not settings.url.startswith(_EMBEDDED):
        return Database(settings.url, None)
    directory = settings.url.removeprefix(_EMBEDDED)
    if not directory:
        raise ValueError("database.url: `embedded:` must be followed by a folder, for example `embedded:var/postgres`")
    server = await EmbeddedServer.start(config_dir / directory)
    return Database(server.dsn, server)

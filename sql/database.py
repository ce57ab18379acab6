"""Resolves the `[database]` section of the config file: the URL of a server, or an embedded server to start."""

from pathlib import Path
from typing import Final, NamedTuple

from sql.dsn.dsn import Dsn, read_dsn
from sql.embedded.server import EmbeddedServer
from sql.settings import DatabaseSettings

EMBEDDED: Final = "embedded:"
"""The prefix of a `[database] url` that names the folder of an embedded server."""


class Database(NamedTuple):
    """The location of a database, and its embedded server if it has one. The caller must stop `server`."""

    dsn: Dsn
    server: EmbeddedServer | None


async def resolve(settings: DatabaseSettings, config_dir: Path) -> Database:
    """Return the database of these settings. Start the embedded server if the settings ask for one.

    `embedded:DIR` is relative to the config file's folder. Raises ValueError if DIR is missing,
    BadDatabaseUrl, and the errors of EmbeddedServer.
    """
    if not settings.url.startswith(EMBEDDED):
        return Database(read_dsn(settings.url), None)
    directory = settings.url.removeprefix(EMBEDDED)
    if not directory:
        raise ValueError("database.url: `embedded:` must be followed by a folder, for example `embedded:var/postgres`")
    server = await EmbeddedServer.start(config_dir / directory)
    # The environment, such as PGHOSTADDR, does not apply to this server.
    return Database(read_dsn(server.dsn, {}), server)

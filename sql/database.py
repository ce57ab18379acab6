"""What `[database]` of the config file means: a server's URL, or an embedded server that is started here."""

from pathlib import Path
from typing import NamedTuple

from sql.embedded.server import EmbeddedServer
from sql.settings import DatabaseSettings

_EMBEDDED = "embedded:"


class Database(NamedTuple):
    """Where the database is. `server` has to be stopped by whoever asked; None: it is not ours."""

    dsn: str
    server: EmbeddedServer | None


async def resolve(settings: DatabaseSettings, config_dir: Path) -> Database:
    """Return the database of these settings, its embedded server started where they ask for one.

    `embedded:DIR` is relative to the config file's folder. ValueError where DIR is missing, else what EmbeddedServer
    raises.
    """
    if not settings.url.startswith(_EMBEDDED):
        return Database(settings.url, None)
    directory = settings.url.removeprefix(_EMBEDDED)
    if not directory:
        raise ValueError("database.url: `embedded:` needs a folder, as in `embedded:var/postgres`")
    server = await EmbeddedServer.start(config_dir / directory)
    return Database(server.dsn, server)

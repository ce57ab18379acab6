"""The DSNs of a config, and a connection to each that leads to a usable database."""

from dataclasses import dataclass, field
from typing import Final

import asyncpg

from sitelatch.config import Config
from sitelatch.toml_scanner import Place
from sql.settings import DatabaseSettings

URL: Final[Place] = ("database", "url")
LISTEN_URL: Final[Place] = ("database", "listen_url")
ADMIN_URL: Final[Place] = ("admin", "database_url")


@dataclass(frozen=True, slots=True)
class Dsns:
    """The DSNs of a config. `connections` has one for each DSN that leads to a usable database."""

    config: Config
    connections: dict[Place, asyncpg.Connection] = field(default_factory=dict)

    def settings(self) -> dict[Place, DatabaseSettings]:
        """Return the settings of all databases, keyed by the place of their DSN."""
        database = self.config.database
        urls = {URL: database.url, ADMIN_URL: self.config.admin.database_url, LISTEN_URL: database.listen_url}
        return {place: database.model_copy(update={"url": url}) for place, url in urls.items() if url is not None}

    def named(self, place: Place) -> str:
        """Return the name of a DSN for messages: its option and its line."""
        return f"{_option(place)} ({self.config.source.origin(place)})"

    def why_unusable(self, place: Place) -> str | None:
        """Return a sentence if the DSN leads to no usable database."""
        return None if place in self.connections else f"{_option(place)} leads to no usable database."


def _option(place: Place) -> str:
    return ".".join(map(str, place))

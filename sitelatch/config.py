"""The config as one frozen object, with all tables of the config file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import PrivateAttr

from admin.settings import AdminSettings
from proxy.settings import (
    ActivitySettings,
    DrainSettings,
    GrantSettings,
    KeySettings,
    LimitSettings,
    LogSettings,
    OpsSettings,
    ProxySettings,
)
from sitelatch.config_source import ConfigSource
from sql.settings import DatabaseSettings, Settings


class Config(Settings):
    """The whole config, validated. Its paths are absolute."""

    proxy: ProxySettings
    limits: LimitSettings = LimitSettings()
    keys: KeySettings = KeySettings()
    grants: GrantSettings = GrantSettings()
    activity: ActivitySettings = ActivitySettings()
    database: DatabaseSettings = DatabaseSettings()
    drain: DrainSettings = DrainSettings()
    log: LogSettings = LogSettings()
    ops: OpsSettings = OpsSettings()
    admin: AdminSettings = AdminSettings()

    _source: ConfigSource = PrivateAttr(default=ConfigSource(Path("sitelatch.toml"), {}, {}))

    @classmethod
    def parse(cls, tables: Mapping[str, Any], source: ConfigSource) -> Self:
        """Validate the tables of a config. Raises pydantic's ValidationError."""
        config = cls.model_validate(tables)
        config._source = source
        return config

    @property
    def source(self) -> ConfigSource:
        """Where each value was written, for messages."""
        return self._source

    @property
    def file(self) -> Path:
        """The config file."""
        return self._source.file

    @property
    def directory(self) -> Path:
        """The directory of the config file. Relative paths in the config are relative to it."""
        return self._source.file.parent

    @property
    def admin_database(self) -> DatabaseSettings:
        """The database settings of the admin role: `admin.database_url` if it is set, otherwise `database.url`."""
        return self.database.model_copy(update={"url": self.admin.database_url or self.database.url})

    def __repr__(self) -> str:
        return f"Config({str(self.file)!r})"

    __str__ = __repr__

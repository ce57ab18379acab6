"""The config: one TOML file with overrides from the environment, loaded once into one frozen object.

Each error message names the table, the key and the rule, and says how to fix it. Messages never repeat a value, because
values may be secrets.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr, ValidationError

from admin.settings import AdminSettings
from proxy.decision.key_locations import KeyPlaces
from proxy.decision.routes import RouteTable
from proxy.http.drop_headers import DropHeaders
from proxy.http.forwarding import address_matcher
from proxy.relay.front_door import server_context
from proxy.relay.listeners import parse_listen
from proxy.relay.upstream_pool import UpstreamPool
from proxy.settings import (
    ActivitySettings,
    DrainSettings,
    GrantSettings,
    KeySettings,
    LimitSettings,
    LogSettings,
    OpsSettings,
    ProxySettings,
    Settings,
)
from sitelatch.config_conflicts import conflicts
from sitelatch.config_errors import ConfigError, complaints, sentence
from sitelatch.environment import apply_environment
from sql.pool import BadDatabaseUrl, is_readable
from sql.settings import DatabaseSettings

EMBEDDED = "embedded:"


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

    _file: Path = PrivateAttr(default=Path("sitelatch.toml"))

    @property
    def directory(self) -> Path:
        """The directory of the config file. Relative paths in the config are relative to it."""
        return self._file.parent

    @property
    def admin_database(self) -> DatabaseSettings:
        """The database settings of the admin role: `admin.database_url` if it is set, otherwise `database.url`."""
        return self.database.model_copy(update={"url": self.admin.database_url or self.database.url})

    def __repr__(self) -> str:
        return f"Config({str(self._file)!r})"

    __str__ = __repr__


def load(file: Path, environ: Mapping[str, str]) -> Config:
    """Read and check the whole config. Raises ConfigError, which contains all errors found."""
    file = file.absolute()
    try:
        raw: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{file}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{file}: is not UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{file}: is not valid TOML: {error}"]) from None
    apply_environment(raw, Config, environ)
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(complaints(error, Config, raw)) from None
    for place, url in {
        "[database] url": config.database.url,
        "[admin] database_url": config.admin.database_url,
    }.items():
        if url == EMBEDDED:
            raise ConfigError([f'{place}: `embedded:` needs a directory, like "embedded:var/postgres".'])
    config = _with_absolute_paths(config, file.parent)
    config._file = file
    if found := _problems(config):
        raise ConfigError(found)
    return config


def check_files(config: Config) -> None:
    """Raise ConfigError if a file that `serve` needs cannot be loaded.

    This is not part of `load`, so that commands such as `users list` do not need to read TLS keys.
    """
    found = []
    if config.proxy.tls is not None:
        try:
            server_context(config.proxy.tls)
        except OSError as error:
            found.append(f"[proxy.tls]: cannot load the certificate or key: {error.strerror}.")
    for route in config.proxy.routes:
        try:
            UpstreamPool(route.upstream, route.upstream_tls, config.limits, lambda _: None)
        except OSError as error:
            found.append(f'[[proxy.routes]] "{route.name}" upstream_tls: cannot load a file: {error.strerror}.')
    if found:
        raise ConfigError(found)


def _problems(config: Config) -> list[str]:
    """Return an error message for each value that is invalid, and for values that are invalid in combination."""
    found = []
    listens = {"[proxy]": config.proxy.listen, "[ops]": config.ops.listen, "[admin]": config.admin.listen}
    for place, listen in listens.items():
        try:
            parse_listen(listen)
        except ValueError as error:
            found.append(f"{place} listen: {error}")
    if config.proxy.listen in (config.ops.listen, config.admin.listen) and not config.proxy.listen.endswith(":0"):
        found.append(
            "[proxy] listen: must not be the same address as [ops] or [admin] listen. Only those two can share an "
            "address. Give the front door another port."
        )
    found += _database_problems(config)
    try:
        address_matcher(config.proxy.trusted_proxies)
    except ValueError:
        found.append('[proxy] trusted_proxies: must be addresses, networks like "10.0.0.0/8", or "unix".')
    proxy = config.proxy
    try:
        DropHeaders(proxy.drop_headers)
    except ValueError as error:
        found.append(f"[proxy] drop_headers: {sentence(error)}")
        proxy = proxy.model_copy(update={"drop_headers": ()})
    for route in config.proxy.routes:
        try:
            UpstreamPool(route.upstream, route.upstream_tls, config.limits, lambda _: None)
        except ValueError as error:
            found.append(f'[[proxy.routes]] "{route.name}" upstream: {sentence(error)}')
        except OSError:
            continue  # `check_files` reports this
    keys = config.keys
    try:
        KeyPlaces(keys.from_)
    except ValueError as error:
        found.append(f"[keys] from: {sentence(error)}")
        keys = KeySettings()
    try:
        found += conflicts(proxy, keys, RouteTable(proxy.routes, keys))
    except ValueError as error:
        found.append(f"[[proxy.routes]] {sentence(error)}")
    return found


def _database_problems(config: Config) -> list[str]:
    found = []
    listen_url = config.database.listen_url
    for place, url in {
        "[database] url": config.database.url,
        "[admin] database_url": config.admin.database_url,
    }.items():
        if url is None or url.startswith(EMBEDDED):
            continue
        if not url.startswith(("postgresql://", "postgres://")):
            found.append(f'{place}: must be "embedded:DIR" or a DSN that begins with "postgresql://".')
        elif not is_readable(url):
            found.append(f"{place}: {BadDatabaseUrl()}.")
    if listen_url is not None and config.database.url.startswith(EMBEDDED):
        found.append("[database] listen_url: is not used with an embedded database. Remove the line.")
    elif listen_url is not None and not is_readable(listen_url):
        found.append(f"[database] listen_url: {BadDatabaseUrl()}.")
    return found


def _with_absolute_paths(config: Config, directory: Path) -> Config:
    """Return the config with its relative paths (database directory, PEM files) resolved against `directory`."""

    def absolute(path: str) -> str:
        return str(directory / path)

    def embedded(url: str) -> str:
        return EMBEDDED + absolute(url.removeprefix(EMBEDDED)) if url.startswith(EMBEDDED) else url

    def files(table: Settings | None, *names: str) -> Settings | None:
        if table is None:
            return None
        return table.model_copy(update={name: absolute(path) for name in names if (path := getattr(table, name))})

    proxy = config.proxy
    routes = tuple(
        route.model_copy(update={"upstream_tls": files(route.upstream_tls, "ca", "certificate", "key")})
        for route in proxy.routes
    )
    admin_url = config.admin.database_url
    return config.model_copy(
        update={
            "proxy": proxy.model_copy(update={"routes": routes, "tls": files(proxy.tls, "certificate", "key")}),
            "database": config.database.model_copy(update={"url": embedded(config.database.url)}),
            "admin": config.admin.model_copy(update={"database_url": embedded(admin_url) if admin_url else None}),
        }
    )

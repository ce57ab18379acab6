"""Loading the config: one TOML file with overrides from the environment, read once.

Each error message names the table, the key and the rule, and says how to fix it. Messages never repeat a value, because
values may be secrets.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sitelatch.config import Config
from sitelatch.config_checks import check_values
from sitelatch.config_errors import ConfigError, complaints, unusable_texts
from sitelatch.environment import apply_environment
from sql.database import EMBEDDED
from sql.settings import Settings
from sql.text_files import NotText, read_text


def load(file: Path, environ: Mapping[str, str]) -> Config:
    """Read and check the whole config. Raises ConfigError, which contains all errors found."""
    try:
        file = file.absolute()  # fails if the working directory was removed
        raw: dict[str, Any] = tomllib.loads(read_text(file))
    except NotText as error:
        raise ConfigError([f"{file}: cannot be read: {error}"]) from None
    except OSError as error:
        raise ConfigError([f"{file}: cannot be read: {error.strerror}"]) from None
    except (ValueError, RecursionError) as error:  # ValueError: also for a number with thousands of digits
        raise ConfigError([f"{file}: is not valid TOML: {error}"]) from None
    apply_environment(raw, Config, environ)
    try:
        config = Config.parse(raw, file)
    except ValidationError as error:
        raise ConfigError(complaints(error, Config, raw)) from None
    if found := unusable_texts(raw):
        raise ConfigError(found)
    for place, url in {
        "[database] url": config.database.url,
        "[admin] database_url": config.admin.database_url,
    }.items():
        if url == EMBEDDED:
            raise ConfigError([f'{place}: `embedded:` needs a directory, like "embedded:var/postgres".'])
    config = _with_absolute_paths(config, file.parent)
    if found := check_values(config, environ):
        raise ConfigError(found)
    return config


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

"""Loading the config: one TOML file with overrides from the environment, read once.

Each error message names the file and the line, or the variable, and says how to fix the mistake. Messages never repeat
a value, because values may be secrets.
"""

from collections.abc import Mapping
from pathlib import Path

from sitelatch.config import Config
from sitelatch.config_checks import combined_problems, file_problems, single_problems
from sitelatch.config_database import database_file_problems
from sitelatch.config_draft import ConfigDraft
from sitelatch.config_errors import unusable_texts
from sitelatch.config_source import ConfigError, ConfigSource
from sitelatch.environment import apply_environment
from sitelatch.toml_document import parse_toml
from sql.database import EMBEDDED
from sql.settings import Settings
from sql.text_files import NotText, read_text


def load(file: Path, environ: Mapping[str, str]) -> Config:
    """Read and check the whole config. Raises ConfigError, which contains all mistakes found."""
    try:
        file = file.absolute()  # fails if the working directory was removed
        text = read_text(file)
    except NotText as error:
        raise ConfigError([f"{file}: cannot be read: {error}"]) from None
    except OSError as error:
        raise ConfigError([f"{file}: cannot be read: {error.strerror}"]) from None
    return parse(text, file, environ)


def parse(text: str, file: Path, environ: Mapping[str, str]) -> Config:
    """Check the text of a config for `file`. Raises ConfigError, which contains all mistakes found."""
    document = parse_toml(text)
    found = [f"{file}{f':{line}' if line else ''}: is not valid TOML: {message}" for line, message in document.mistakes]
    if not document.is_whole:
        raise ConfigError(found)
    source = ConfigSource(file, document.tables, document.lines)
    wrong = apply_environment(source, Config, environ)
    draft = ConfigDraft(source)
    for place in document.unreadable:
        draft.without_value(place)
    for variable in wrong:
        for place in source.places_of(variable):
            draft.without_value(place)
    faults = list(unusable_texts(source.tables))
    for fault in faults:
        draft.remove(fault.place)
    config, invalid = draft.validated()
    faults += invalid
    if config is not None and (invalid := draft.faults(single_problems(config, environ))):
        faults += invalid
        for fault in invalid:
            draft.remove(fault.place)
        config, _ = draft.validated()
    if config is not None:
        config = _with_absolute_paths(config, file.parent)
        faults += draft.faults(combined_problems(config))
        if faults or found or wrong:
            faults += draft.faults([*file_problems(config), *database_file_problems(config, environ)])
    found += source.complaints(faults)
    found += [f"{variable}: {message}" for variable, message in wrong.items()]
    if found or config is None or not draft.is_whole:
        raise ConfigError(found, faults)
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

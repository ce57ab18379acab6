"""Checks the DSNs of a config: their syntax, their options, and the files that they name."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress

from sitelatch.config import Config
from sitelatch.config_errors import sentence
from sitelatch.config_source import Fault
from sitelatch.toml_scanner import Place
from sql.database import EMBEDDED
from sql.dsn.dsn import Dsn, read_dsn
from sql.dsn.password_file import UnusablePasswordFile
from sql.dsn.syntax import BadDatabaseUrl, written_secrets
from sql.tls import UnusableTlsFile, tls_context

_URL: Place = ("database", "url")
_LISTEN_URL: Place = ("database", "listen_url")
_ADMIN_URL: Place = ("admin", "database_url")


def database_problems(config: Config, environ: Mapping[str, str]) -> Iterator[Fault]:
    """Yield a fault for each DSN that is invalid."""
    for place, url in ((_URL, config.database.url), (_ADMIN_URL, config.admin.database_url)):
        if url == EMBEDDED:
            yield Fault(place, '`embedded:` needs a directory, like "embedded:var/postgres".')
    urls = _urls(config)
    if _LISTEN_URL in urls and config.database.url.startswith(EMBEDDED):
        del urls[_LISTEN_URL]
        yield Fault(_LISTEN_URL, "is not used with an embedded database. Remove the line.", (_URL,))
    for place, url in urls.items():
        try:
            read_dsn(url, environ)
        except BadDatabaseUrl as error:
            yield Fault(place, sentence(error))


def database_warnings(config: Config, environ: Mapping[str, str] = os.environ) -> list[Fault]:
    """Return a warning for each option that is ignored, and for hosts and password files that may not work."""
    found = []
    for place, url in _urls(config).items():
        dsn = read_dsn(url, environ)
        found += [Fault(place, warning) for warning in dsn.warnings]
        if (warning := _primary_warning(dsn)) is not None:
            found.append(Fault(place, warning))
        try:
            for host in dsn.hosts:
                dsn.password_for(host)
        except UnusablePasswordFile as error:
            if dsn.names_password_file:
                found.append(Fault(place, f"the password file {error}."))
    return found


def database_file_problems(config: Config, environ: Mapping[str, str] = os.environ) -> Iterator[Fault]:
    """Yield a fault for each DSN that names a file for TLS that cannot be loaded."""
    for place, url in _urls(config).items():
        try:
            _check_tls(read_dsn(url, environ))
        except UnusableTlsFile as error:
            yield Fault(place, sentence(error))


def config_secrets(config: Config, environ: Mapping[str, str] = os.environ) -> set[str]:
    """Return the secrets of a config in all spellings that it contains, so that the log can mask them."""
    oidc = config.admin.oidc
    found = {config.admin.recoverable_keys, oidc.client_secret if oidc is not None else None}
    for url in _urls(config).values():
        dsn = read_dsn(url, environ)
        found |= {url, *written_secrets(url), dsn.password, dsn.tls.key_password}
        for host in dsn.hosts:
            with suppress(UnusablePasswordFile):
                found.add(dsn.password_for(host))
    return set(filter(None, found))


def _primary_warning(dsn: Dsn) -> str | None:
    """Return a warning if the DSN may lead to a server other than the primary."""
    wanted = dsn.target_session_attrs
    if wanted in ("standby", "prefer-standby", "read-only"):
        return f"target_session_attrs={wanted} leads to a server that accepts no writes. Set it to read-write."
    if wanted == "any" and sum(not host.is_socket for host in dsn.hosts) > 1:
        return (
            "the first host that accepts connections is used, even if it is a standby, which Sitelatch cannot use. Set "
            "target_session_attrs=read-write."
        )
    return None


def _check_tls(dsn: Dsn) -> None:
    for host in dsn.hosts:
        if not host.is_socket and dsn.tls.mode != "disable":
            tls_context(dsn.tls, host.name)


def _urls(config: Config) -> dict[Place, str]:
    """Return the DSNs of a config, keyed by their place in it. An embedded database has none."""
    urls: dict[Place, str | None] = {_URL: config.database.url, _ADMIN_URL: config.admin.database_url}
    found = {place: url for place, url in urls.items() if url is not None and not url.startswith(EMBEDDED)}
    if config.database.listen_url is not None:
        found[_LISTEN_URL] = config.database.listen_url
    return found

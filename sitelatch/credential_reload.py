"""Reads the credentials of admins again while `serve` runs: their tokens, and the secret for the OpenID issuer."""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import structlog

from admin.settings import AdminSettings
from proxy.observe.known_secrets import KnownSecrets
from proxy.relay.tls_files import WatchedFiles
from sitelatch.config import Config
from sitelatch.config_database import config_secrets
from sitelatch.config_file import load
from sitelatch.environment import files_in

_RELOADED = ("admin.tokens", "admin.oidc.client_secret")

_log = structlog.get_logger("sitelatch")


def watched_credentials(
    config: Config,
    use: Callable[[AdminSettings], None],
    secrets: KnownSecrets,
    environ: Mapping[str, str] = os.environ,
) -> WatchedFiles:
    """Return the files that variables such as SITELATCH_ADMIN__OIDC__CLIENT_SECRET_FILE name.

    When one of them changes, the whole config is read again. `use` is called with the new credentials. Other options
    need a restart, and the log names those that have changed. The new secrets are added to `secrets` before they are
    used.
    """

    def read() -> Callable[[], None]:
        fresh = load(config.file, environ)
        found = config_secrets(fresh, environ)

        def use_fresh() -> None:
            secrets.add(found)
            use(fresh.admin)
            changed = [name for name in changed_options(config, fresh) if not name.startswith(_RELOADED)]
            if changed:
                _log.warning("restart_needed", changed_options=changed)

        return use_fresh

    return WatchedFiles("the credentials of admins", files_in(environ), read)


def changed_options(old: Config, new: Config) -> list[str]:
    """Return the names of the options that differ, such as `limits.head_seconds`."""
    before, after = dict(_options(old.model_dump(by_alias=True))), dict(_options(new.model_dump(by_alias=True)))
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _options(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _options(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value

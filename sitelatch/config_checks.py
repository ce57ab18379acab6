"""Checks a config in ways that need more than one table, or the code that will use the values."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from proxy.decision.key_reader import KeyReader
from proxy.http.drop_headers import DropHeaders
from proxy.http.forwarding import address_matcher
from proxy.relay.listeners import UnixListen, parse_listen
from proxy.relay.tls_files import client_context, server_context
from proxy.relay.unix_sockets import group_id
from proxy.settings import KeySettings, ListenSettings
from sitelatch.config import Config
from sitelatch.config_conflicts import conflicts
from sitelatch.config_database import database_file_problems, database_problems
from sitelatch.config_errors import sentence
from sitelatch.config_routes import compiled_routes, item_problems, route_item_problems
from sitelatch.config_source import Fault
from sitelatch.toml_scanner import Place
from sql.database import EMBEDDED
from sql.embedded.binaries import ServerBinariesMissing, find_binaries
from sql.settings import Settings

_KEYS: Place = ("keys", "from")
_TLS: Place = ("proxy", "tls")


def single_problems(config: Config, environ: Mapping[str, str]) -> list[Fault]:
    """Return a fault for each value that is invalid by itself."""
    found = [*_address_problems(config), *database_problems(config, environ), *route_item_problems(config.proxy.routes)]
    proxy = config.proxy
    found += item_problems(("proxy", "trusted_proxies"), proxy.trusted_proxies, _network)
    found += item_problems(("proxy", "drop_headers"), proxy.drop_headers, lambda entry: DropHeaders([entry]))
    found += item_problems(_KEYS, config.keys.from_, lambda entry: KeyReader([entry]))
    return found


def combined_problems(config: Config) -> list[Fault]:
    """Return a fault for each value that is invalid in combination with others."""
    found = list(_listener_problems(config))
    keys = config.keys
    try:
        KeyReader(keys.from_)
    except ValueError as error:
        found.append(Fault(_KEYS, sentence(error)))
        keys = KeySettings()
    routes, problems = compiled_routes(config.proxy.routes, keys)
    return [*found, *problems, *conflicts(config.proxy, routes)]


def _network(network: str) -> None:
    try:
        address_matcher((network,))
    except ValueError:
        raise ValueError('must be an address, a network like "10.0.0.0/8", or "unix"') from None


def _listeners(config: Config) -> dict[str, ListenSettings]:
    return {"proxy": config.proxy, "ops": config.ops, "admin": config.admin}


def _address_problems(config: Config) -> Iterator[Fault]:
    for table, settings in _listeners(config).items():
        try:
            parse_listen(settings.listen)
        except ValueError as error:
            yield Fault((table, "listen"), str(error))


def _listener_problems(config: Config) -> Iterator[Fault]:
    for table, settings in _listeners(config).items():
        if not isinstance(parse_listen(settings.listen), UnixListen):
            for key in ("socket_mode", "socket_group"):
                if getattr(settings, key) is not None:
                    message = 'is for unix sockets only. Remove it, or listen on "unix:/PATH".'
                    yield Fault((table, key), message, ((table, "listen"),))
    proxy, ops, admin = config.proxy, config.ops, config.admin
    for table, other in (("ops", ops), ("admin", admin)):
        if proxy.listen == other.listen and not proxy.listen.endswith(":0"):
            yield Fault(
                ("proxy", "listen"),
                "must not be the same address as [ops] or [admin] listen. Only those two can share an address. Give "
                "the front door another port.",
                ((table, "listen"),),
            )
            break
    if ops.listen == admin.listen:
        for key in ("socket_mode", "socket_group"):
            if getattr(ops, key) != getattr(admin, key):
                yield Fault(
                    ("ops", key),
                    "must be the same as in [admin], because both share a socket.",
                    (("admin", key), ("ops", "listen"), ("admin", "listen")),
                )
    identity_proxy = admin.identity_proxy
    if (
        identity_proxy is not None
        and "unix" in identity_proxy.addresses
        and admin.socket_mode is not None
        and admin.socket_mode & 0o002
    ):
        yield Fault(
            ("admin", "socket_mode"),
            "lets every user of this machine connect, and [admin.identity_proxy] trusts the headers of every client of "
            "the socket, so any user could act as any admin. Use socket_group.",
        )


def check_files(config: Config) -> None:
    """Raise ConfigError if a file that `serve` needs cannot be loaded.

    This is not part of `load`, so that commands such as `users list` do not need to read TLS keys.
    """
    config.source.check(file_problems(config))


def check_all_files(config: Config) -> None:
    """Raise ConfigError if a file that `serve` or a database connection needs cannot be loaded.

    `serve` does not check the files of database connections: it retries, as in an outage.
    """
    config.source.check([*file_problems(config), *database_file_problems(config)])


def file_problems(config: Config) -> list[Fault]:
    """Return a fault for each file, group or optional package that `serve` needs and cannot use."""
    found = []
    for table, settings in _listeners(config).items():
        if settings.socket_group is not None:
            try:
                group_id(settings.socket_group)
            except OSError as error:
                found.append(Fault((table, "socket_group"), sentence(error.strerror)))
    if (tls := config.proxy.tls) is not None:
        found += _tls_problems(_TLS, tls, ("certificate", "key"), partial(server_context, tls))
    for index, route in enumerate(config.proxy.routes):
        if (own := route.upstream_tls) is not None:
            place = ("proxy", "routes", index, "upstream_tls")
            found += _tls_problems(place, own, ("ca", "certificate", "key"), partial(client_context, own))
    if config.database.url.startswith(EMBEDDED):
        try:
            find_binaries()
        except ServerBinariesMissing as error:
            found.append(Fault(("database", "url"), sentence(error)))
    return found


def _tls_problems(place: Place, tls: Settings, keys: Iterable[str], load: Callable[[], object]) -> Iterator[Fault]:
    """Yield a fault for each file that cannot be read, or else one if the files cannot be used together."""
    found = []
    for key in keys:
        path = getattr(tls, key)
        if path is not None and "-----BEGIN" in path:
            # The path may be a private key, so the message does not contain it.
            found.append(Fault((*place, key), "must be the path of a PEM file, not its content."))
        elif path is not None:
            try:
                with open(path, "rb") as file:
                    file.read(1)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                message = f"cannot read {path}: {reason}. Correct the path, or its permissions."
                found.append(Fault((*place, key), message))
    yield from found
    if not found:
        try:
            load()
        except OSError as error:
            yield Fault(place, f"cannot load the files: {sentence(error.strerror)}")

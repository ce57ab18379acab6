"""Checks a config in ways that need more than one table, or the code that will use the values."""

from collections.abc import Mapping

from proxy.decision.key_reader import KeyReader
from proxy.decision.route_table import RouteTable
from proxy.http.drop_headers import DropHeaders
from proxy.http.forwarding import address_matcher
from proxy.relay.listeners import UnixListen, parse_listen
from proxy.relay.tls_files import server_context
from proxy.relay.unix_sockets import group_id
from proxy.relay.upstream_pool import UpstreamPool
from proxy.settings import KeySettings, ListenSettings
from sitelatch.config import Config
from sitelatch.config_conflicts import conflicts
from sitelatch.config_database import database_problems
from sitelatch.config_errors import ConfigError, sentence


def check_values(config: Config, environ: Mapping[str, str]) -> list[str]:
    """Return an error message for each value that is invalid, and for values that are invalid in combination."""
    found = _listener_problems(config)
    if config.proxy.listen in (config.ops.listen, config.admin.listen) and not config.proxy.listen.endswith(":0"):
        found.append(
            "[proxy] listen: must not be the same address as [ops] or [admin] listen. Only those two can share an "
            "address. Give the front door another port."
        )
    found += database_problems(config, environ)
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
        KeyReader(keys.from_)
    except ValueError as error:
        found.append(f"[keys] from: {sentence(error)}")
        keys = KeySettings()
    try:
        found += conflicts(proxy, keys, RouteTable(proxy.routes, keys))
    except ValueError as error:
        found.append(f"[[proxy.routes]] {sentence(error)}")
    return found


def _listeners(config: Config) -> dict[str, ListenSettings]:
    return {"[proxy]": config.proxy, "[ops]": config.ops, "[admin]": config.admin}


def _listener_problems(config: Config) -> list[str]:
    found = []
    for place, settings in _listeners(config).items():
        try:
            where = parse_listen(settings.listen)
        except ValueError as error:
            found.append(f"{place} listen: {error}")
            continue
        if not isinstance(where, UnixListen):
            found += [
                f'{place} {key}: is for unix sockets only. Remove it, or listen on "unix:/PATH".'
                for key in ("socket_mode", "socket_group")
                if getattr(settings, key) is not None
            ]
    ops, admin = config.ops, config.admin
    if ops.listen == admin.listen and (ops.socket_mode, ops.socket_group) != (admin.socket_mode, admin.socket_group):
        found.append("[ops] socket_mode, socket_group: must be the same as in [admin], because both share a socket.")
    proxy = admin.identity_proxy
    if proxy is not None and "unix" in proxy.addresses and admin.socket_mode is not None and admin.socket_mode & 0o002:
        found.append(
            "[admin] socket_mode: lets every user of this machine connect, and [admin.identity_proxy] trusts the "
            "headers of every client of the socket, so any user could act as any admin. Use socket_group."
        )
    return found


def check_files(config: Config) -> None:
    """Raise ConfigError if a file that `serve` needs cannot be loaded.

    This is not part of `load`, so that commands such as `users list` do not need to read TLS keys.
    """
    found = []
    for place, settings in _listeners(config).items():
        if settings.socket_group is not None:
            try:
                group_id(settings.socket_group)
            except OSError as error:
                found.append(f"{place} socket_group: {error.strerror}.")
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

"""Opens connections to PostgreSQL. The database driver gets explicit arguments, so it parses and guesses nothing."""

import asyncio
import os
import socket
import ssl
from contextlib import suppress
from functools import lru_cache
from typing import Any

import asyncpg
from asyncpg.connect_utils import SSLMode

from sql.dialing import dial, is_ip_address
from sql.dsn.dsn import Dsn
from sql.dsn.hosts import Host
from sql.dsn.password_file import UnusablePasswordFile
from sql.dsn.socket_options import SocketOption
from sql.name_lookups import Addresses, Resolve
from sql.open_connections import PooledConnection
from sql.tls import UnusableTlsFile, tls_context

_COMMAND_SECONDS = 30.0


class CannotConnect(ConnectionError):  # noqa: N818 - names what happened
    """No host accepted a connection. The message says why, and never contains a password."""


class NoMatchingServer(CannotConnect):
    """A server answered, but it is not of the kind that `target_session_attrs` requires."""


async def connect_to(
    host: Host, dsn: Dsn, role: str, session: str, *, seconds: float, resolve: Resolve
) -> PooledConnection:
    """Connect to a host within `seconds`, over the first of its addresses that accepts a connection.

    Raises CannotConnect, TimeoutError, and the errors that the server reports.
    """
    address = host.socket_path if host.is_socket else host.address or host.name
    if host.is_socket or is_ip_address(address):
        async with asyncio.timeout(seconds):
            return await _connect_at(address, host, dsn, role, session)
    deadline = asyncio.get_running_loop().time() + seconds
    try:
        async with asyncio.timeout_at(deadline):
            addresses = await resolve(host.name, host.port)
    except TimeoutError:
        raise TimeoutError("the name was not looked up in time") from None
    except (OSError, UnicodeError) as error:
        raise CannotConnect(f"{host}: {_reason(error, None, session)}") from None
    async with asyncio.timeout_at(deadline):
        try:
            if len(addresses) == 1:
                return await _connect_at(str(addresses[0][4][0]), host, dsn, role, session)

            async def connect_like(sock: socket.socket) -> PooledConnection:
                """Connect to the address of a socket, because the driver opens its own sockets."""
                address = str(sock.getpeername()[0])
                sock.close()
                try:
                    return await _connect_at(address, host, dsn, role, session)
                except asyncpg.CannotConnectNowError:
                    raise CannotConnect(f"{host}: the server is starting or stopping") from None

            async def resolved(*_: object) -> Addresses:
                return addresses

            return await dial(host.name, host.port, connect_like, seconds=seconds, resolve=resolved)
        except (TimeoutError, CannotConnect):
            raise
        except (OSError, UnicodeError) as error:
            raise CannotConnect(f"{host}: {_reason(error, None, session)}") from None


async def _connect_at(address: str, host: Host, dsn: Dsn, role: str, session: str) -> PooledConnection:
    """Connect to an address of a host, encrypted or not, as `sslmode` says."""
    try:
        password = dsn.password_for(host)
        missing = "the DSN has no password" if password is None else ""
    except UnusablePasswordFile as error:
        password, missing = None, f"the DSN has no password, and {error}"
    arguments: dict[str, Any] = {
        "host": address,
        "port": host.port,
        "user": dsn.user,
        "password": password or "",
        "database": dsn.database,
        "server_settings": {"application_name": f"sitelatch-{role}", **dsn.server_settings},
        "target_session_attrs": session,
        "krbsrvname": "postgres",
        "gsslib": "gssapi",
        "command_timeout": _COMMAND_SECONDS,
        # A pooler in transaction mode may send the next statement to another server connection.
        "statement_cache_size": 0,
    }
    attempts = _encryption(host, dsn)
    for tls in attempts:
        try:
            connection: PooledConnection = await asyncpg.connect(
                ssl=tls or False,
                direct_tls=dsn.tls.direct and tls is not None,
                connection_class=_connection_class(
                    () if host.is_socket else dsn.socket_options, attempts[0] if tls is None else None
                ),
                **arguments,
            )
            return connection
        except asyncpg.ConnectionDoesNotExistError:  # raised by the driver
            if tls is not attempts[-1]:
                continue
            raise CannotConnect(f"{host}: the server closed the connection, or is not PostgreSQL") from None
        except asyncpg.PostgresError as error:
            if tls is not attempts[-1] and _may_want_other_encryption(error):
                continue
            if missing and isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
                raise CannotConnect(f"{host}: {str(error).partition(chr(10))[0]} ({missing})") from None
            raise
        except TimeoutError:
            raise
        except Exception as error:
            # Some errors do not belong to the driver's own classes, such as UnicodeError for a host name.
            retry = isinstance(error, (ConnectionError, ssl.SSLError)) and not isinstance(error, ConnectionRefusedError)
            if retry and tls is not attempts[-1]:
                continue
            failure = NoMatchingServer if isinstance(error, asyncpg.TargetServerAttributeNotMatched) else CannotConnect
            raise failure(f"{host}: {_reason(error, tls, session)}") from None
    raise AssertionError


def _may_want_other_encryption(error: asyncpg.PostgresError) -> bool:
    """Return whether PostgreSQL or PgBouncer may have refused a connection because it is, or is not, encrypted."""
    return isinstance(
        error, (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.ProtocolViolationError)
    ) and not isinstance(error, asyncpg.InvalidPasswordError)


def _encryption(host: Host, dsn: Dsn) -> list[ssl.SSLContext | None]:
    """Return the ways to connect to a host, best first. None means no TLS. Raises CannotConnect."""
    if host.is_socket or dsn.tls.mode == "disable":
        return [None]
    try:
        context = tls_context(dsn.tls, host.name)
    except UnusableTlsFile as error:
        raise CannotConnect(str(error)) from None
    match dsn.tls.mode:
        case "allow":
            return [None, context]
        case "prefer":
            return [context, None]
        case _:
            return [context]


@lru_cache(maxsize=16)
def _connection_class(options: tuple[SocketOption, ...], preferred: ssl.SSLContext | None) -> type[PooledConnection]:
    """Return a class of connections that set these socket options. The driver gives no other access to the socket.

    `preferred` is for connections that fall back to no TLS, because TLS is only preferred. They ask for TLS again
    before they cancel a query, and wait for the answer. PgBouncer 1.18 crashes if it reads a cancel request whose
    client has already left.
    """

    class Connection(PooledConnection):
        def __init__(
            self, protocol: Any, transport: asyncio.Transport, loop: Any, address: Any, config: Any, parameters: Any
        ) -> None:
            if preferred is not None:
                parameters = parameters._replace(ssl=preferred, sslmode=SSLMode.prefer)
            super().__init__(protocol, transport, loop, address, config, parameters)
            for option in options:
                with suppress(OSError):  # not all systems have all options
                    transport.get_extra_info("socket").setsockopt(*option)

    return Connection


def _reason(error: Exception, tls: ssl.SSLContext | None, session: str) -> str:
    """Return why an attempt failed. The text of an unknown error is left out, because it may quote the password."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"the server's certificate is not accepted: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed ({error.reason})"
        case socket.gaierror():
            return error.strerror or "unknown host"
        case OSError() if error.errno:
            return os.strerror(error.errno)
        case ConnectionError() if tls is not None:
            return "the server does not accept TLS, or is not PostgreSQL"
        case asyncpg.TargetServerAttributeNotMatched():
            return f"the server is not {session}"
        case asyncpg.InterfaceError():
            return str(error).partition("\n")[0]
        case asyncpg.InternalClientError():
            return str(error).partition(":")[0]  # the rest may describe a different error
        case OSError():
            return "no address of the host accepts connections"
        case _:
            return f"the server's answer was not understood ({type(error).__name__})"

"""Connects to a host name, some of whose addresses may not answer (RFC 8305). For the database and for upstreams."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import TypeVar

from aiohappyeyeballs import AddrInfoType, start_connection

from sql.name_lookups import Resolve

Connection = TypeVar("Connection")

_NEXT_SECONDS = 0.25
"""After this time, the next address is tried too, even if the previous one has not failed yet (RFC 8305 §5)."""


def is_ip_address(host: str) -> bool:
    """Return whether a host is an IP address rather than a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def dial(
    host: str,
    port: int,
    connect: Callable[[socket.socket], Awaitable[Connection]],
    *,
    seconds: float,
    resolve: Resolve,
) -> Connection:
    """Connect a socket to an address of the name, pass it to `connect`, and return the result.

    The first address that accepts a connection is used. If `connect` then fails with an OSError, or takes more than
    the address's share of `seconds`, the other addresses are tried. Raises OSError, which includes TimeoutError. If an
    address has accepted a connection, the error is that of the first one that did.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    tried: dict[socket.socket, AddrInfoType] = {}
    failed: OSError | None = None

    def new_socket(address: AddrInfoType) -> socket.socket:
        sock = socket.socket(*address[:3])
        tried[sock] = address
        return sock

    try:
        async with asyncio.timeout_at(deadline):
            addresses = list(await resolve(host, port))
    except TimeoutError:
        raise socket.gaierror(socket.EAI_AGAIN, "the name was not looked up in time") from None
    async with asyncio.timeout_at(deadline):
        while True:
            share = (deadline - clock()) / len(addresses)
            try:
                sock = await start_connection(
                    addresses, happy_eyeballs_delay=min(_NEXT_SECONDS, share / 2), socket_factory=new_socket
                )
            except RuntimeError as error:  # uvloop raises it in place of an OSError
                raise failed or OSError(str(error)) from error
            except OSError:
                if failed is not None:
                    raise failed from None
                raise
            addresses.remove(tried[sock])
            tried.clear()
            try:
                async with asyncio.timeout(share if addresses else None):
                    return await connect(sock)
            except OSError as error:
                sock.close()
                failed = failed or error
                if not addresses:
                    raise failed from None
            except BaseException:
                sock.close()
                raise

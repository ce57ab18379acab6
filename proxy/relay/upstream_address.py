"""The address of an upstream: its URL, how to connect to it, and its TLS context."""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import urlsplit

from proxy.settings import UpstreamTlsSettings
from sql.dialing import Resolve, dial, resolve

Connection = TypeVar("Connection")
Create = Callable[[Callable[[], Any]], Awaitable[Any]]
"""A function that connects a protocol, which it gets from the function passed to it."""

_UPSTREAM_URL = re.compile(r"(?:https?://[^/?#@\s]+/?|unix:/[^?#\s]+)\Z")


class UpstreamAddress:
    """A host and port, or a unix socket. Host names are resolved for each connection."""

    def __init__(self, url: str, tls: UpstreamTlsSettings | None, *, resolve: Resolve = resolve) -> None:
        """Raises ValueError on a bad URL, and OSError if a TLS file cannot be used."""
        if not _UPSTREAM_URL.match(url):
            raise ValueError("an upstream is http://HOST[:PORT], https://HOST[:PORT] or unix:/PATH, without a path")
        self._unix_path = url.removeprefix("unix:") if url.startswith("unix:") else None
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        if tls is not None and not secure:
            raise ValueError("upstream_tls is for https:// upstreams only")
        self._host, self._port = parts.hostname or "", parts.port or (443 if secure else 80)
        self._is_name = not _is_ip_address(self._host)
        self._resolve = resolve
        self._tls: dict[str, Any] = {}
        if secure:
            name = (tls.server_name if tls else None) or self._host
            self._tls = {"ssl": _client_context(tls), "server_hostname": name}
        self.host_field = b"localhost" if self._unix_path else parts.netloc.encode()

    async def connect(self, attempt: Callable[[Create], Awaitable[Connection]], seconds: float) -> Connection:
        """Return what `attempt` makes of the function that connects a protocol.

        If a name has several addresses, `attempt` may be called for several of them. Raises OSError and UnicodeError.
        """
        if self._unix_path is not None:
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(seconds):
                return await attempt(partial(loop.create_unix_connection, path=self._unix_path))
        if self._is_name:
            return await dial(
                self._host,
                self._port,
                lambda sock: attempt(partial(self._create, sock=sock)),
                seconds=seconds,
                resolve=self._resolve,
            )
        async with asyncio.timeout(seconds):
            return await attempt(partial(self._create, host=self._host, port=self._port))

    async def _create(self, protocol: Callable[[], Any], **where: Any) -> None:
        await asyncio.get_running_loop().create_connection(protocol, **where, **self._tls)


def _is_ip_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _client_context(tls: UpstreamTlsSettings | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca if tls else None)
    context.set_alpn_protocols(["http/1.1"])
    if tls is not None and tls.certificate is not None:
        context.load_cert_chain(tls.certificate, tls.key)
    return context

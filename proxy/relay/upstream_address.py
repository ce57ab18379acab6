"""The address of an upstream: its URL, how to connect to it, and its TLS context."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from proxy.relay.tls_files import WatchedFiles, client_context, client_files
from proxy.settings import UpstreamTlsSettings
from sql.dialing import dial, is_ip_address
from sql.name_lookups import NameLookups, Resolve

Connection = TypeVar("Connection")
Create = Callable[[Callable[[], Any]], Awaitable[Any]]
"""A function that opens a connection. It gets the connection's protocol from the factory that is passed to it."""

_UPSTREAM_URL = re.compile(r"(?:https?://[^/?#@\s]+/?|unix:/[^?#\s]+)\Z")


class UpstreamAddress:
    """A host and port, or a unix socket. Host names are resolved for each connection."""

    def __init__(self, url: str, tls: UpstreamTlsSettings | None, *, resolve: Resolve | None = None) -> None:
        """Raises ValueError on a bad URL, and OSError if a TLS file cannot be used."""
        if not _UPSTREAM_URL.match(url):
            raise ValueError("an upstream is http://HOST[:PORT], https://HOST[:PORT] or unix:/PATH, without a path")
        self._unix_path = url.removeprefix("unix:") if url.startswith("unix:") else None
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        if tls is not None and not secure:
            raise ValueError("upstream_tls is for https:// upstreams only")
        self._host, self._port = parts.hostname or "", parts.port or (443 if secure else 80)
        self._is_name = not is_ip_address(self._host)
        self._resolve = resolve or NameLookups().resolve
        self._server_name = (tls.server_name if tls else None) or self._host
        self._tls_settings = tls
        self._tls = client_context(tls) if secure else None
        self.host_field = b"localhost" if self._unix_path else parts.netloc.encode()

    def watched(self, place: str) -> WatchedFiles | None:
        """Return the files of its TLS context. `place` is the config table that names them."""
        if self._tls is None:
            return None
        return WatchedFiles(place, client_files(self._tls_settings), self._load)

    def _load(self) -> Callable[[], None]:
        context = client_context(self._tls_settings)

        def use() -> None:
            self._tls = context

        return use

    async def connect(self, attempt: Callable[[Create], Awaitable[Connection]], seconds: float) -> Connection:
        """Call `attempt` with a function that opens a connection, and return its result.

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
        if self._tls is not None:
            where |= {"ssl": self._tls, "server_hostname": self._server_name}
        await asyncio.get_running_loop().create_connection(protocol, **where)

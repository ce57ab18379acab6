"""Looks up the addresses of host names in threads of their own.

The event loop's own lookups share a few threads, two with uvloop. While a name server is silent, lookups of its names
would occupy them for seconds, and nothing could connect to any other name.
"""

import asyncio
import errno
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from aiohappyeyeballs import AddrInfoType

Addresses = Sequence[AddrInfoType]
Resolve = Callable[[str, int], Awaitable[Addresses]]

_PATIENCE_SECONDS: Final = 1.0
"""The system itself waits for several seconds before it asks a name server again."""
_MAX_THREADS: Final = 4


@dataclass(slots=True)
class _Lookup:
    found: asyncio.Future[Addresses]
    asked_at: float
    threads: int = field(default=0)


def _addresses(host: str, port: int) -> Addresses:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [*dict.fromkeys(found)]  # a hosts file may list an address twice


class NameLookups:
    """Looks up names. Callers that ask for the same name at the same time share a lookup, which outlasts them."""

    def __init__(
        self,
        look_up: Callable[[str, int], Addresses] = _addresses,
        *,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        """`look_up` may block. After `patience_seconds` without an answer, the next caller asks again."""
        self._look_up = look_up
        self._patience_seconds = patience_seconds
        self._lookups: dict[tuple[str, int], _Lookup] = {}

    async def resolve(self, host: str, port: int) -> Addresses:
        """Return the addresses of a name, in the system's order. Raises OSError, and UnicodeError for invalid names."""
        loop = asyncio.get_running_loop()
        lookup = self._lookups.get((host, port))
        if lookup is None:
            lookup = self._lookups[host, port] = _Lookup(loop.create_future(), loop.time())
            lookup.found.add_done_callback(_retrieve)
            self._ask(lookup, host, port)
        elif loop.time() - lookup.asked_at >= self._patience_seconds and lookup.threads < _MAX_THREADS:
            lookup.asked_at = loop.time()
            self._ask(lookup, host, port)
        return await asyncio.shield(lookup.found)

    def _ask(self, lookup: _Lookup, host: str, port: int) -> None:
        """Start a thread. The process does not wait for it when it exits."""
        loop = asyncio.get_running_loop()

        def run() -> None:
            found: Addresses | OSError | UnicodeError
            try:
                found = self._look_up(host, port)
            except (OSError, UnicodeError) as error:
                found = error
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._answer, lookup, host, port, found)

        lookup.threads += 1
        try:
            threading.Thread(target=run, name="name-lookup", daemon=True).start()
        except RuntimeError:  # the system has no room for another thread
            self._answer(lookup, host, port, OSError(errno.EAGAIN, "no thread is free for the lookup of the name"))

    def _answer(self, lookup: _Lookup, host: str, port: int, found: Addresses | OSError | UnicodeError) -> None:
        """Use the first answer, and an error only if no other thread can still answer."""
        lookup.threads -= 1
        if lookup.found.done():
            return
        if not isinstance(found, (OSError, UnicodeError)):
            lookup.found.set_result(found)
        elif not lookup.threads:
            lookup.found.set_exception(found)
        else:
            return
        del self._lookups[host, port]


def _retrieve(found: asyncio.Future[Addresses]) -> None:
    """Mark an error as known, because all callers may have left."""
    if not found.cancelled():
        found.exception()

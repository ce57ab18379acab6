"""Queries of the scope tables: what a key may access, and which workspace owns a site."""

from collections.abc import Collection, Sequence
from sys import intern
from typing import Any

import asyncpg

from proxy.decision.grant import Grant, SiteOwner
from proxy.decision.limits import read_limits
from proxy.decision.networks import read_network
from proxy.decision.site_ids import fold_site, folded_part
from proxy.grants.answers import Found
from proxy.grants.connections import DISCONNECTED, Connection, Pool, ScopeIncomplete, ScopeOutdated, acquire
from sql.queries import query

_FIND_GRANT = query("find_grant")
_FIND_KEYS = query("find_keys")
_FIND_SITES = query("find_sites")
_LIST_KEYS = query("list_keys")

_TRIES = 10
"""How many closed connections in a row to tolerate. If they are slow, the caller's deadline ends the attempts."""


class ScopeTable:
    """Queries the scope tables over a pool. Raises one of DATABASE_FAILURES; the caller enforces a deadline."""

    def __init__(self, pool: Pool, seconds: float) -> None:
        self._pool = pool
        self._seconds = seconds
        """The time limit for acquiring a connection, and for releasing one whose query was canceled."""
        self.newest_position = 0
        """The feed's position in the newest answer. A feed that ends earlier belongs to another database."""
        self.feed_position = 0
        """The position up to which the feed was read. An older answer comes from a standby or another database."""

    async def find_grant(self, digest: bytes) -> Found | None:
        """Return what the key with this digest may access, or None if it is unknown."""
        (row,) = await self._fetch(_FIND_GRANT, digest)
        if row["user_id"] is None:
            return None
        grant = Grant(
            user_id=row["user_id"],
            workspace=intern(row["workspace"]),
            all_sites=row["all_sites"],
            # Many grants name the same sites. Interning lets them share the strings.
            sites=frozenset(map(intern, row["sites"])),
            expires_at=row["expires_at"],
            disabled=row["disabled"],
            methods=None if row["methods"] is None else frozenset(method.encode() for method in row["methods"]),
            networks=None if row["networks"] is None else tuple(map(read_network, row["networks"])),
            limits=read_limits(row["requests_per_second"], row["burst"], row["requests_per_day"]),
            subject=f"{row['user_id']}/{digest.hex()}" if row["several_keys"] else row["user_id"],
        )
        return Found(grant, row["feed_position"])

    async def find_keys(self, digests: Collection[bytes]) -> frozenset[bytes]:
        """Return which of these digests belong to a key."""
        (row,) = await self._fetch(_FIND_KEYS, [digest.hex() for digest in digests])
        return frozenset(map(bytes.fromhex, row["existing"]))

    async def list_keys(self, after: bytes, prefix_bytes: int, count: int) -> bytes:
        """Return the first bytes of the next `count` digests after this one, in ascending order."""
        (row,) = await self._fetch(_LIST_KEYS, after, prefix_bytes, count)
        prefixes: bytes | None = row["prefixes"]
        return prefixes or b""

    async def find_sites(self, names: Sequence[str]) -> dict[str, SiteOwner]:
        """Return the sites that these names (site_ids.py) refer to. Names without a site are not in the result."""
        try:
            rows = await self._fetch(_FIND_SITES, list(names))
        except asyncpg.UntranslatableCharacterError:
            # The database is not in UTF-8, and its encoding lacks a character of a name. So there is no such site.
            if len(names) == 1:
                return {}
            half = len(names) // 2
            return await self.find_sites(names[:half]) | await self.find_sites(names[half:])
        return {
            row["name"]: SiteOwner(row["id"], intern(row["workspace"]))
            for row in rows
            if row["id"] is not None and _refers_to(row["name"], row["id"])
        }

    async def _fetch(self, sql: str, *arguments: object) -> Sequence[Any]:
        tries_left = _TRIES
        while True:
            tries_left -= 1
            connected = False
            try:
                async with acquire(self._pool, self._seconds) as connection:
                    connected = True
                    return await self._fetch_over(connection, sql, *arguments)
            except DISCONNECTED:
                # After a restart of the server the pool is full of closed connections, so try the next one. If no new
                # connection can be made, the database is down.
                if not connected or not tries_left:
                    raise

    async def _fetch_over(self, connection: Connection, sql: str, *arguments: object) -> Sequence[Any]:
        feed_position = self.feed_position
        rows = await connection.fetch(sql, *arguments)
        # The feed may have been lost during the query, for example by a restore. Then its new, lower position
        # counts.
        feed_position = min(feed_position, self.feed_position)
        if not all(row["whole"] for row in rows):
            raise ScopeIncomplete("triggers are missing, so a dump is being restored")
        if any(row["standby"] for row in rows):
            raise ScopeOutdated("the server is a standby, which may lag behind")
        if any(row["feed_position"] < feed_position for row in rows):
            raise ScopeOutdated("the answer is older than the change feed")
        self.newest_position = max([self.newest_position, *(row["feed_position"] for row in rows)])
        return rows


def _refers_to(name: str, site_id: str) -> bool:
    """Return whether the name refers to this site by Python's folding too, and not only by the stored folded id.

    The feed names changed sites by id, and Python folds that id. If the stored folded id differed from it, a change
    would not invalidate the answer for this name.
    """
    return folded_part(name) in (None, fold_site(site_id))

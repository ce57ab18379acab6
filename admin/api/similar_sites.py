"""Existing sites whose ids some data service may take for equal (collation.py). A new one is refused."""

from typing import Final, NamedTuple

import asyncpg

from admin.api.site_collation import collate_site
from admin.connections import Connection
from sql.queries import query

HAS_SITES_TO_COLLATE = query("has_sites_to_collate")
WAIT_FOR_COLLATING = query("wait_for_collating")
SITES_TO_COLLATE = query("sites_to_collate")
COLLATE_SITES = query("collate_sites")
LIST_TWINS = query("list_twins")

_AT_ONCE: Final = 1000
_TRIES: Final = 5
_FILL_SECONDS: Final = 600.0
_MOST_TOLD: Final = 20


class SimilarSites(NamedTuple):
    """Pairs of such sites, and how many further pairs there are."""

    pairs: tuple[tuple[str, str], ...]
    more: int


async def fill_in_collations(connection: Connection) -> int:
    """Fill in the collated ids of sites that SQL, or an older Sitelatch, wrote. Return how many there were.

    Of sites with the same collated id the oldest is the first; the others stay, marked as its twins.
    """
    if not await connection.fetchval(HAS_SITES_TO_COLLATE):
        return 0
    for tries_left in reversed(range(_TRIES)):
        try:
            async with connection.transaction():
                return await _fill(connection)
        except asyncpg.UniqueViolationError:
            # A site with the same collated id was added in this moment. The next try sees it.
            if not tries_left:
                raise
    raise AssertionError


async def _fill(connection: Connection) -> int:
    await connection.execute(WAIT_FOR_COLLATING, timeout=_FILL_SECONDS)
    sites = [row["id"] for row in await connection.fetch(SITES_TO_COLLATE, timeout=_FILL_SECONDS)]
    for start in range(0, len(sites), _AT_ONCE):
        some = sites[start : start + _AT_ONCE]
        await connection.execute(COLLATE_SITES, some, [collate_site(site) for site in some], timeout=_FILL_SECONDS)
    return len(sites)


async def list_similar_sites(connection: Connection) -> SimilarSites:
    """Return the pairs of sites whose ids some data service may take for equal."""
    rows = await connection.fetch(LIST_TWINS, _MOST_TOLD, timeout=_FILL_SECONDS)
    return SimilarSites(tuple((row["oldest"], row["id"]) for row in rows), rows[0]["total"] - len(rows) if rows else 0)

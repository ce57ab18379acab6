"""Similar sites: sites with equal collated ids (`site_collation`). A new site that is similar to another is refused."""

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

_BATCH: Final = 1000
_ATTEMPTS: Final = 5
_FILL_SECONDS: Final = 600.0
_MAX_PAIRS: Final = 20


class SimilarSites(NamedTuple):
    """Pairs of similar sites, and the number of further pairs."""

    pairs: tuple[tuple[str, str], ...]
    more: int


async def fill_in_collations(connection: Connection) -> int:
    """Fill in the missing collated ids of sites that SQL or an older Sitelatch has written. Return their number.

    Of several sites with the same collated id, the oldest gets it. The others remain, marked as similar to it.
    """
    if not await connection.fetchval(HAS_SITES_TO_COLLATE):
        return 0
    for attempts_left in reversed(range(_ATTEMPTS)):
        try:
            async with connection.transaction():
                return await _fill(connection)
        except asyncpg.UniqueViolationError:
            # A site with the same collated id was added concurrently. The next attempt sees it.
            if not attempts_left:
                raise
    raise AssertionError


async def _fill(connection: Connection) -> int:
    await connection.execute(WAIT_FOR_COLLATING, timeout=_FILL_SECONDS)
    sites = [row["id"] for row in await connection.fetch(SITES_TO_COLLATE, timeout=_FILL_SECONDS)]
    for start in range(0, len(sites), _BATCH):
        batch = sites[start : start + _BATCH]
        await connection.execute(COLLATE_SITES, batch, [collate_site(site) for site in batch], timeout=_FILL_SECONDS)
    return len(sites)


async def list_similar_sites(connection: Connection) -> SimilarSites:
    """Return the pairs of similar sites."""
    rows = await connection.fetch(LIST_TWINS, _MAX_PAIRS, timeout=_FILL_SECONDS)
    return SimilarSites(tuple((row["oldest"], row["id"]) for row in rows), rows[0]["total"] - len(rows) if rows else 0)

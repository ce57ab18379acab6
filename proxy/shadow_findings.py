"""The findings of shadow mode: which requests would have been refused, summed up and written in batches."""

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice
from typing import Final, NamedTuple

import structlog

from proxy.grants.connections import DATABASE_FAILURES, Pool, ScopeIncomplete, acquire, describe
from proxy.observe.redaction import public_sites
from sql.queries import query

_RECORD: Final = query("record_shadow_findings")
_PRUNE: Final = query("prune_shadow_findings")

MOST_FINDINGS: Final = 10_000
"""How many different findings a process keeps in a day, and how many the database keeps."""
MOST_SITES_OF_ONE_USER: Final = 100
"""How many sites of one API user are told apart in a day. Clients choose these names."""
OTHER_SITES: Final = "…"
"""Stands for all further sites."""
DAYS_KEPT: Final = 30

_LONGEST_DETAIL: Final = 500
_DAY_SECONDS: Final = 86_400.0
_FLUSH_SECONDS: Final = 5.0
_PRUNE_SECONDS: Final = 600.0
_WRITE_SECONDS: Final = 5.0
_LAST_WRITE_SECONDS: Final = 1.0
_BATCH: Final = 1_000

_log = structlog.get_logger()


class Finding(NamedTuple):
    """What requests would have been refused for."""

    route: str
    code: str
    detail: str
    """The public sentence of the refusal. It contains nothing from a request."""
    user_id: str = ""
    """The API user, if the request had a known key."""
    site: str = ""
    """The site that the key does not cover, if that is the reason."""

    @property
    def id(self) -> str:
        """A digest, the same in every process."""
        return hashlib.sha256(json.dumps(self).encode()).hexdigest()


class ShadowFindings:
    """Counts requests by finding, and writes the counts to the database.

    Each finding is logged once a day, with its count. An outage of the database delays the counts. If the answer to a
    commit is lost, its counts are written twice.
    """

    def __init__(self, pool: Pool, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._clock = clock
        self.left_out = 0
        """How many requests were not counted, because there were too many different findings."""
        self._counts: Counter[Finding] = Counter()
        self._known: set[Finding] = set()
        self._new: list[Finding] = []
        self._sites: Counter[str] = Counter()
        self._forget_at = clock() + _DAY_SECONDS
        self._prune_at = clock()
        self._failing = False
        self._one_flush = asyncio.Lock()

    def __len__(self) -> int:
        """Return how many different findings there have been today."""
        return len(self._known)

    def add(self, finding: Finding) -> None:
        """Count a request. Secrets in its site are masked."""
        if finding.site:
            finding = finding._replace(site=public_sites((finding.site,))[0])
        if finding not in self._known:
            if finding.site and self._sites[finding.user_id] >= MOST_SITES_OF_ONE_USER:
                finding = finding._replace(site=OTHER_SITES)
            if finding not in self._known:
                if len(self._known) >= MOST_FINDINGS:
                    self.left_out += 1
                    return
                self._known.add(finding)
                self._new.append(finding)
                if finding.site:
                    self._sites[finding.user_id] += 1
        self._counts[finding] += 1

    async def run(self) -> None:
        """Flush regularly until canceled."""
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            await self.flush()

    async def close(self) -> None:
        """Write all counts, unless the database is too slow. What is left is lost."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WRITE_SECONDS):
                await self.flush()

    async def flush(self) -> bool:
        """Log the new findings, and write all counts. Returns False if some were not written; the next flush will."""
        async with self._one_flush:
            self._log_new()
            written = await self._write_all()
            if self._clock() >= self._forget_at:
                self._forget_at = self._clock() + _DAY_SECONDS
                self._known = set(self._counts)
                self._sites = Counter(finding.user_id for finding in self._known if finding.site)
            return written

    def _log_new(self) -> None:
        new, self._new = self._new, []
        for finding in new:
            _log.warning(
                "shadow_finding",
                route=finding.route,
                code=finding.code,
                user_id=finding.user_id or None,
                site=finding.site or None,
                requests=self._counts[finding],
                detail=finding.detail,
            )

    async def _write_all(self) -> bool:
        left = len(self._counts)
        while left > 0:
            batch = {finding: self._counts.pop(finding) for finding in list(islice(self._counts, _BATCH))}
            left -= len(batch)
            if not await self._write(batch):
                return False
        return True

    async def _write(self, batch: Mapping[Finding, int]) -> bool:
        written = False
        try:
            async with asyncio.timeout(_WRITE_SECONDS), acquire(self._pool, _WRITE_SECONDS) as connection:
                rows = [_row(finding, requests) for finding, requests in batch.items()]
                [row] = await connection.fetch(_RECORD, *map(list, zip(*rows, strict=True)))
                if not row["whole"]:
                    raise ScopeIncomplete("triggers are missing, so a dump is being restored")
                written = True
                if self._clock() >= self._prune_at:
                    self._prune_at = self._clock() + _PRUNE_SECONDS
                    await connection.execute(_PRUNE, DAYS_KEPT, MOST_FINDINGS)
        except DATABASE_FAILURES as error:
            if not self._failing:
                _log.warning("shadow_findings_kept", findings=len(batch), reason=describe(error))
        finally:
            if not written:
                self._counts.update(batch)
            self._failing = not written
        return written


def _row(finding: Finding, requests: int) -> tuple[str, ...]:
    detail = json.dumps(finding.detail[:_LONGEST_DETAIL])
    site = json.dumps(finding.site) if finding.site else ""
    return finding.id, finding.route, finding.code, detail, finding.user_id, site, str(requests)

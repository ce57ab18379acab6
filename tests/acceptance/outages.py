"""A fault campaign: clients send requests, admins create and delete keys, and the database fails and recovers.

For every fault, these counts must be zero: requests that wrongly pass, 401 for keys that exist, failed requests with
known keys, and lost last activity.
"""

import asyncio
import contextlib
import os
import random
import re
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx

from proxy.decision.api_keys import digest, new_key
from tests.acceptance.faults import Fault
from tests.acceptance.harness import ADMIN_TOKEN, START_SECONDS, Sitelatch, Table
from tests.acceptance.load import Client, Key, KeyLog, Load, client_of, send_and_check
from tests.acceptance.own_database import OwnDatabase
from tests.acceptance.wire import DEADLINE_SECONDS, until
from tests.database import add_user, add_workspace

SETTINGS: dict[str, Table] = {
    "log": {"access": "off"},
    # Grants expire during the fault, so stale grants are used.
    "grants": {"ttl_seconds": 1, "stale_seconds": 120, "lookup_seconds": 1},
    "activity": {"flush_seconds": 0.25, "resolution_seconds": 0.5},
    # All requests come from one address.
    "keys": {"unknown_per_minute": 1_000_000},
}
CLOCK_SECONDS = 0.05
"""The tolerance for times of last activity, which Sitelatch writes as ages that the database subtracts from its
clock."""

_QUIET_SECONDS = 0.5
_METRIC = re.compile(rb"^sitelatch_(revocation_bound_seconds|feed_up\S*|activity_pending) (\S+)$", re.MULTILINE)


@dataclass
class Figures:
    """The results of a campaign."""

    fault: str
    counts: Counter[str]
    lasted: float
    """The duration of the fault in seconds."""
    lookups: float
    """The time from the end of the fault to the first successful request with an unused key, in seconds."""
    feed: float
    """The time from the end of the fault until the change feed was read again, in seconds."""
    second: float
    """The time from the end of the fault until a process that was started during the fault served requests, in seconds.

    Zero if there was none.
    """
    longest_pass: float
    """The longest time for which a deleted key was still accepted, in seconds."""
    waits: tuple[float, float]
    """The 99th percentile and the maximum of the response times of known keys, in seconds."""
    lost: list[str]
    """Users whose recorded last activity is older than their last use."""
    busy: float
    """The CPU that the process used during the fault while it received no requests."""
    grown_kib: int
    events: Counter[str]
    """The number of log events of the process by name."""

    def __str__(self) -> str:
        counted = (
            "created",
            "deleted",
            "unavailable",
            "wrong passes",
            "wrong 401",
            "failed known keys",
            "wrong responses",
        )
        parts = [
            f"{self.counts['requests']} requests",
            *(f"{name} {self.counts[name]}" for name in counted),
            f"activity lost {len(self.lost)}",
            f"fault {self.lasted:.1f} s",
            f"recovered: lookups {1000 * self.lookups:.0f} ms, feed {1000 * self.feed:.0f} ms",
            f"second process {1000 * self.second:.0f} ms",
            f"a deleted key passed {1000 * self.longest_pass:.0f} ms",
            f"known keys waited p99 {1000 * self.waits[0]:.0f} ms, longest {1000 * self.waits[1]:.0f} ms",
            f"idle CPU {100 * self.busy:.0f} %",
            f"memory {self.grown_kib:+} KiB",
            f"log {dict(self.events)}",
        ]
        return f"{self.fault}: " + "; ".join(parts)


@dataclass
class Campaign:
    """One fault of the database, with one process under load and a second one that starts during the fault."""

    database: OwnDatabase
    latch: Sitelatch
    second: Sitelatch | None
    """The second process, or None to save time."""
    known: list[Key]
    rate: float = 1000
    """Requests per second."""
    requests: int = 0
    """The minimum number of requests."""
    fault_seconds: float = 1.4
    wrong: list[str] = field(default_factory=list)

    async def run(self, name: str, fault: Fault) -> Figures:
        key_log = self.key_log = KeyLog(self.known)
        await self._create_unused_keys(500 + int(0.06 * self.requests))
        await fault.prepare()
        log_before, memory_before = len(self.latch.log_lines()), self.latch.memory_kib("VmRSS")
        load = Load(self.latch.address, key_log, rate=self.rate)
        async with contextlib.AsyncExitStack() as stack:
            if self.second is not None:
                stack.callback(self.second.stop)
            await stack.enter_async_context(_in_background(self._watch_bound()))
            async with contextlib.AsyncExitStack() as lasting:
                async with load, self._admins():
                    await asyncio.sleep(max(0.5, 0.2 * self.requests / self.rate))
                    key_log.healthy = False
                    began = time.monotonic()
                    await fault.begin()
                    lasting.push_async_callback(fault.end, key_log)
                    if self.second is not None:
                        self.second.launch()
                    await asyncio.sleep(self.fault_seconds)
                    if self.second is not None:
                        await self._check_second(self.second)
                    assert await asyncio.to_thread(self.latch.ready) == 200
                await asyncio.sleep(0.1)
                busy = await self._idle()
                await stack.enter_async_context(load)
                await asyncio.sleep(0.2)
            back = time.monotonic()
            lasted = back - began
            feed, lookups, second = await asyncio.gather(
                self._feed_up(back), self._first_unused_key_passes(back), self._second_serves(back, self.second)
            )
            await self._resolve_uncertain_keys()
            key_log.healthy = True
            async with self._admins():
                await asyncio.sleep(max(0.3, 0.2 * self.requests / self.rate))
            await until(lambda: key_log.counts["requests"] >= self.requests, "enough requests", 120)
            await load.__aexit__()
            await self._check_every_key()
            await self._activity_written()
            lost = await self._lost_activity()
        longest = key_log.check_late_passes()
        waits = sorted(key_log.waits)
        self.wrong = key_log.wrong
        return Figures(
            name,
            key_log.counts,
            lasted,
            lookups,
            feed,
            second,
            longest,
            (waits[len(waits) * 99 // 100], waits[-1]),
            lost,
            busy,
            self.latch.memory_kib("VmRSS") - memory_before,
            Counter(str(line["event"]) for line in self.latch.log_lines()[log_before:]),
        )

    async def _create_unused_keys(self, count: int) -> None:
        made = [Key(str(uuid4()), new_key()) for _ in range(count)]
        async with self.database.superuser() as connection, connection.transaction():
            users = [key.user_id for key in made]
            await connection.execute(
                "INSERT INTO sitelatch.api_users"
                " (id, workspace_id, all_sites, authorized_by_name, authorized_by_email)"
                " SELECT unnest($1::uuid[]), id, false, 'Ada Admin', 'ada@example.com'"
                " FROM sitelatch.workspaces WHERE name = 'acme'",
                users,
            )
            await connection.execute(
                "INSERT INTO sitelatch.api_user_sites (user_id, site_id) SELECT unnest($1::uuid[]), 'shop'", users
            )
            await connection.execute(
                "INSERT INTO sitelatch.api_keys (user_id, digest, hint)"
                " SELECT *, 'slk_ab12…wxyz' FROM unnest($1::uuid[], $2::bytea[])",
                users,
                [digest(key.key.encode()) for key in made],
            )
        self.key_log.unused_keys = made

    @contextlib.asynccontextmanager
    async def _admins(self) -> AsyncIterator[None]:
        """Create and delete keys continuously."""
        async with (
            _admin(self.latch) as admin,
            _in_background(self._create_and_delete(admin), self._create_and_delete(admin)),
        ):
            yield

    async def _create_and_delete(self, admin: httpx.AsyncClient) -> None:
        key_log = self.key_log
        while True:
            with contextlib.suppress(httpx.TransportError):
                made = await admin.post("/users", json={"workspace": "acme", "sites": ["shop"]})
                if made.status_code == 201:
                    key_log.counts["created"] += 1
                    key_log.existing_keys.append(Key(made.json()["id"], made.json()["api_key"], created_at=time.time()))
            await asyncio.sleep(0.04)
            if len(key_log.existing_keys) > 4:
                key = key_log.existing_keys.pop(random.randrange(len(key_log.existing_keys)))
                key.deleting_since, key.uncertain = time.time(), True
                key_log.deleted_keys.append(key)
                with contextlib.suppress(httpx.TransportError):
                    answer = await admin.delete(f"/users/{key.user_id}")
                    if answer.status_code in (204, 404):
                        key_log.counts["deleted"] += 1
                        key.deleted_at, key.uncertain = time.time(), False
            await asyncio.sleep(0.04)

    async def _metrics(self) -> dict[str, float]:
        ops = await client_of(self.latch.ops)
        try:
            answer = await ops.send(b"GET /metrics HTTP/1.1\r\nHost: ops\r\n\r\n")
        finally:
            ops.close()
        return {name.decode(): float(value) for name, value in _METRIC.findall(answer.body)}

    async def _watch_bound(self) -> None:
        while True:
            at = time.time()
            self.key_log.bounds.append((at, (await self._metrics())["revocation_bound_seconds"]))
            await asyncio.sleep(0.1)

    async def _idle(self) -> float:
        """Return the CPU that the process uses while it receives no requests."""
        before = _cpu_seconds(self.latch.pid)
        await asyncio.sleep(_QUIET_SECONDS)
        return (_cpu_seconds(self.latch.pid) - before) / _QUIET_SECONDS

    async def _feed_up(self, since: float) -> float:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                if any(name.startswith("feed_up") and value for name, value in (await self._metrics()).items()):
                    return time.monotonic() - since
                await asyncio.sleep(0.02)

    async def _first_unused_key_passes(self, since: float) -> float:
        async with asyncio.timeout(DEADLINE_SECONDS), _client(self.latch) as client:
            while True:
                answer = await send_and_check(client, self.key_log, self.key_log.unused_keys.pop(), "shop")
                if answer is not None and answer.status == 200:
                    return time.monotonic() - since
                await asyncio.sleep(0.01)

    async def _check_second(self, second: Sitelatch) -> None:
        """Check that a process that started during the fault responds with 200 or with 503 and Retry-After."""
        await until(lambda: listens(second.address), "the second process listens", seconds=START_SECONDS)
        async with _client(second) as client:
            answer = await client.send(self.known[0].request("shop"))
            if answer.status != 200 and not (answer.status == 503 and answer.retry_after):
                self.key_log.wrong.append(f"the second process responded with {answer.status}")

    async def _second_serves(self, since: float, second: Sitelatch | None) -> float:
        if second is None:
            return 0.0
        async with _client(second) as client:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while (answer := await client.send(self.known[0].request("shop"))).status != 200:
                    if answer.status != 503:
                        self.key_log.wrong.append(f"the second process responded with {answer.status}")
                    await asyncio.sleep(0.02)
        served = time.monotonic() - since
        await asyncio.to_thread(second.wait_for_readiness, 200)
        return served

    async def _resolve_uncertain_keys(self) -> None:
        """Read from the database whether requests to the admin API without a response took effect."""
        key_log = self.key_log
        async with self.database.superuser() as connection:
            existing = {str(row["id"]) for row in await connection.fetch("SELECT id FROM sitelatch.api_users")}
        for key in [*key_log.existing_keys, *key_log.deleted_keys]:
            if key.uncertain and key.user_id in existing:
                key.deleting_since, key.deleted_at, key.uncertain = None, None, False
            elif key.uncertain:
                key.deleted_at, key.uncertain = key.deleted_at or time.time(), False
        everyone = [*key_log.existing_keys, *key_log.deleted_keys]
        key_log.existing_keys = [key for key in everyone if not key.deleting_since]
        key_log.deleted_keys = [key for key in everyone if key.deleting_since]

    async def _check_every_key(self) -> None:
        """Send a request with every key. Now that the database is healthy, each must get the right response."""
        async with _client(self.latch) as client:
            for key in [*self.key_log.all(), *self.key_log.unavailable_keys[-50:]]:
                if key.uncertain:
                    continue  # its deletion was in progress when the admins were stopped
                answer = await send_and_check(client, self.key_log, key, "shop")
                assert answer is not None
                if answer.status != (401 if key.deleting_since else 200):
                    self.key_log.wrong.append(
                        f"finally {answer.status} for a key that {'is deleted' if key.deleting_since else 'exists'}"
                    )

    async def _activity_written(self) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (await self._metrics())["activity_pending"]:
            assert time.monotonic() < deadline, "activity is not written"
            await asyncio.sleep(0.05)

    async def _lost_activity(self) -> list[str]:
        async with self.database.superuser() as connection:
            rows = await connection.fetch(
                "SELECT user_id::text, extract(epoch FROM last_used_at)::float8 AS used"
                " FROM sitelatch.api_user_activity"
            )
        written = {row["user_id"]: row["used"] or 0.0 for row in rows}
        return [
            f"{key.user_id}: used {key.uses[-1]:.3f}, written {written[key.user_id]:.3f}"
            for key in [*self.key_log.all(), *self.key_log.unavailable_keys]
            if key.uses and key.user_id in written and written[key.user_id] < key.uses[-1] - CLOCK_SECONDS
        ]


@contextlib.asynccontextmanager
async def _in_background(*work: object) -> AsyncIterator[None]:
    """Run coroutines in the background until the end of the block."""
    tasks = [asyncio.ensure_future(one) for one in work]  # type: ignore[call-overload]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


@contextlib.asynccontextmanager
async def _client(latch: Sitelatch) -> AsyncIterator[Client]:
    client = await client_of(latch.address)
    try:
        yield client
    finally:
        client.close()


@contextlib.asynccontextmanager
async def _admin(latch: Sitelatch) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=f"http://{latch.admin}/admin",
        headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
        trust_env=False,
        timeout=2,
    ) as client:
        yield client


def listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as sock:
        return sock.connect_ex((host, int(port))) == 0


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def create_sites_and_keys(database: OwnDatabase, others: int = 5_000) -> list[Key]:
    """Create the sites, and the keys that exist during the whole test: for one site, two sites, or all sites."""
    scopes = [("shop",), ("shop", "blog"), ()]
    known = []
    async with database.superuser() as connection:
        await add_workspace(connection, "acme", "shop", "blog")
        await add_workspace(connection, "globex", "wiki")
        for number in range(60):
            key, sites = new_key(), scopes[number % 3]
            user_id = await add_user(connection, "acme", *sites, digest=digest(key.encode()), all_sites=not sites)
            known.append(Key(user_id, key, frozenset(sites or ("shop", "blog")), created_at=time.time()))
        # Many other users, so that a restore takes some time.
        await connection.execute(
            "WITH made AS ("
            "  INSERT INTO sitelatch.api_users (workspace_id, all_sites, authorized_by_name, authorized_by_email)"
            "  SELECT id, true, 'Ada Admin', 'ada@example.com' FROM sitelatch.workspaces, generate_series(1, $1::int)"
            "  WHERE name = 'globex' RETURNING id)"
            " INSERT INTO sitelatch.api_keys (digest, user_id, hint)"
            " SELECT sha256(id::text::bytea), id, 'slk_ab12…wxyz' FROM made",
            others,
        )
    return known

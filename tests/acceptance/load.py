"""Load generator, and a record of every key that detects requests that wrongly pass or are wrongly refused.

Times are `time.time()`, because the database uses the clock of the same machine.
"""

import asyncio
import contextlib
import math
import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from proxy.decision.api_keys import new_key
from tests.acceptance.wire import DEADLINE_SECONDS

_NOTICED_SECONDS = 2.0
"""The time to detect the loss of the change feed (`poll_seconds` + 0.5 s) and to read the bound again."""

REVOCATION_SLACK_SECONDS = 0.5
"""The additional time that revocations may take on a loaded machine."""


@dataclass(eq=False)
class Key:
    """An API key and its history, as seen by the client of the admin API."""

    user_id: str
    key: str = field(repr=False)
    sites: frozenset[str] = frozenset({"shop"})
    created_at: float = 0.0
    """The time when its creation was confirmed."""
    deleting_since: float | None = None
    """The time when its deletion was requested. From then on it may be refused."""
    deleted_at: float | None = None
    """The time when its deletion was confirmed. From then on it must be refused within the bound."""
    known_since: float | None = None
    """The time when it first passed at the process under load."""
    uncertain: bool = False
    """Whether its state is unknown, because the admin API did not respond."""
    uses: list[float] = field(default_factory=list, repr=False)
    """The start times of requests whose response shows that the key was known. Each counts as activity."""

    def request(self, site: str) -> bytes:
        return f"GET /sites/{site}/x HTTP/1.1\r\nHost: data.example\r\nX-API-Key: {self.key}\r\n\r\n".encode()


@dataclass(slots=True)
class Answer:
    status: int
    retry_after: bool
    body: bytes


class Client(asyncio.Protocol):
    """A client with one keep-alive connection. It supports only Content-Length framing."""

    def __init__(self) -> None:
        self._received = b""
        self._waiting: asyncio.Future[Answer] | None = None
        self._transport: asyncio.Transport
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        lower = head.lower()
        length = int(lower.partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
        if len(rest) >= length and self._waiting is not None and not self._waiting.done():
            self._received = rest[length:]
            self._waiting.set_result(Answer(int(head[9:12]), b"\r\nretry-after:" in lower, rest[:length]))

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionError("the connection closed before the response"))

    async def send(self, request: bytes, seconds: float = DEADLINE_SECONDS) -> Answer:
        if self.lost:
            raise ConnectionError("the connection is closed")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        timer = asyncio.get_running_loop().call_later(seconds, self._transport.abort)
        try:
            return await self._waiting
        finally:
            timer.cancel()

    def close(self) -> None:
        self._transport.abort()


async def client_of(address: str) -> Client:
    host, _, port = address.rpartition(":")
    _, client = await asyncio.get_running_loop().create_connection(Client, host, int(port))
    return client


class KeyLog:
    """All keys of a test, and the number of responses by kind."""

    def __init__(self, known: Sequence[Key]) -> None:
        self.known = list(known)
        """Keys that exist during the whole test."""
        self.existing_keys: list[Key] = []
        """Keys that were created during the test and still exist."""
        self.deleted_keys: list[Key] = []
        """Keys that were deleted during the test."""
        self.unused_keys: list[Key] = []
        """Valid keys that have never been used."""
        self.unavailable_keys: list[Key] = []
        """Keys that got 503 on their first use."""
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        """Descriptions of wrong responses."""
        self.late_passes: list[tuple[Key, float, float]] = []
        """Requests that passed with a deleted key: the key, the time of its deletion, and the start time of the
        request."""
        self.bounds: list[tuple[float, float]] = []
        """The revocation bounds that Sitelatch reported: the time of the report, and the bound in seconds."""
        self.waits: list[float] = []
        """The response times of known keys in seconds."""
        self.healthy = True
        """Whether the database is healthy, so that no request may get 503."""

    def all(self) -> Iterable[Key]:
        yield from self.known
        yield from self.existing_keys
        yield from self.deleted_keys

    def judge(self, key: Key, site: str, began: float, answer: Answer) -> None:
        """Check and count the response to a request that started at `began` and has just ended."""
        self.counts["requests"] += 1
        status, now = answer.status, time.time()
        allowed = site in key.sites
        known = key.known_since is not None and key.known_since < began
        if status in (200, 403):
            key.uses.append(began)
        if status == 200 and not allowed:
            self._note("wrong passes", f"a key for {set(key.sites)} passed for {site}")
        elif status == 200:
            self.counts["passed"] += 1
            key.known_since = key.known_since or now
            if key.deleted_at is not None and not key.uncertain and began > key.deleted_at:
                self.late_passes.append((key, key.deleted_at, began))
        elif status == 403 and not allowed:
            self.counts["refused"] += 1
        elif status == 401:
            self.counts["unknown"] += 1
            if not key.deleting_since and not key.uncertain:
                self._note("wrong 401", f"{'a known' if known else 'an unknown'} key that exists")
        elif status == 503 and answer.retry_after and not (known and allowed):
            # A known key can get 503 for a site whose owner has not been looked up yet.
            self.counts["unavailable"] += 1
            if self.healthy:
                self._note("wrong responses", "503 while the database is healthy")
        elif not (key.deleting_since or key.uncertain):
            self._note("failed known keys" if known else "wrong responses", f"{status} for {site}")
        if known and not key.deleting_since:
            self.waits.append(now - began)

    def judge_unknown_key(self, answer: Answer) -> None:
        self.counts["requests"] += 1
        if answer.status == 200:
            self._note("wrong passes", "a key that never existed")
        elif answer.status not in (401, 503):
            self._note("wrong responses", f"{answer.status} for a key that never existed")

    def begin_restore(self, to: float) -> None:
        """Note that the database is about to be restored to an earlier time, so that later changes may be undone."""
        now = time.time()
        for key in [*self.existing_keys, *self.deleted_keys]:
            if key.created_at > to or (key.deleting_since and key.deleting_since > to):
                key.deleting_since = key.deleting_since or now
                key.uncertain = True

    def end_restore(self, to: float) -> None:
        """Record that the restore is complete: keys created since then are deleted, and deleted keys exist again."""
        now = time.time()
        for key in [*self.existing_keys, *self.deleted_keys]:
            if key.created_at > to:
                key.deleted_at, key.uncertain = now, False
            elif key.deleting_since and key.deleting_since > to:
                key.deleted_at = None  # its state is uncertain until the database is healthy again
                key.deleting_since = now

    def lost(self, key: Key, error: Exception) -> None:
        if not key.deleting_since:
            self._note("failed known keys", f"{type(error).__name__}: {error}")

    def _note(self, count: str, what: str) -> None:
        self.counts[count] += 1
        self.wrong.append(f"{count}: {what}")

    def check_late_passes(self) -> float:
        """Count how often a deleted key was still accepted after the bound, and return the longest delay in seconds.

        A reported bound assumes that the state of the database does not change. So a report counts only if no larger
        bound was reported before the reported time had passed. For example, if the server stops right after a delete,
        Sitelatch reports the larger bound only later.
        """
        stated = [
            (at, bound)
            for at, bound in self.bounds
            if all(later <= bound for then, later in self.bounds if at < then < at + bound + _NOTICED_SECONDS)
        ]
        longest = 0.0
        for _, deleted_at, began in self.late_passes:
            longest = max(longest, began - deleted_at)
            since = max((at for at, _ in self.bounds if at <= deleted_at), default=deleted_at)
            until = min((max(at, deleted_at) + bound for at, bound in stated if at >= since), default=math.inf)
            if began > until + REVOCATION_SLACK_SECONDS:
                near = [(round(at - deleted_at, 3), bound) for at, bound in self.bounds if abs(at - deleted_at) < 1]
                self._note(
                    "wrong passes",
                    f"a deleted key, {began - deleted_at:.2f} s after its deletion; reported bounds: {near}",
                )
        self.late_passes.clear()
        return longest


class Load:
    """Clients that send requests with the keys of the log at a given rate until they are stopped."""

    def __init__(self, address: str, key_log: KeyLog, *, rate: float, connections: int = 6) -> None:
        self._address = address
        self._key_log = key_log
        self._pause = connections / rate
        self._connections = connections
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    async def __aenter__(self) -> "Load":
        self._stopping = False
        self._tasks = [asyncio.create_task(self._run()) for _ in range(self._connections)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _run(self) -> None:
        client = await client_of(self._address)
        due = time.monotonic()
        while not self._stopping:
            if client.lost:
                with contextlib.suppress(OSError):
                    client = await client_of(self._address)
            await self._send_random_request(client)
            due = max(due + self._pause, time.monotonic() - 0.2)
            if due > time.monotonic():
                await asyncio.sleep(due - time.monotonic())
        client.close()

    async def _send_random_request(self, client: Client) -> None:
        key_log, draw = self._key_log, random.random()
        site = "shop"
        if draw < 0.02:
            with contextlib.suppress(ConnectionError):
                key_log.judge_unknown_key(await client.send(Key("", new_key()).request("shop")))
            return
        if draw < 0.06 and key_log.unused_keys:
            key = key_log.unused_keys.pop()
        elif draw < 0.16 and key_log.existing_keys:
            key = random.choice(key_log.existing_keys)
        elif draw < 0.24 and key_log.deleted_keys:
            key = random.choice(key_log.deleted_keys[-20:])
        else:
            key = random.choice(key_log.known)
            site = random.choice(("shop", "blog", "wiki")) if draw < 0.35 else random.choice(list(key.sites))
        is_unused = key.known_since is None
        answer = await send_and_check(client, key_log, key, site)
        if is_unused and answer is not None and answer.status == 503:
            key_log.unavailable_keys.append(key)


async def send_and_check(client: Client, key_log: KeyLog, key: Key, site: str) -> Answer | None:
    """Send one request and check the response. Return None if there is no response."""
    began = time.time()
    try:
        answer = await client.send(key.request(site))
    except ConnectionError as error:
        key_log.lost(key, error)
        return None
    key_log.judge(key, site, began, answer)
    return answer

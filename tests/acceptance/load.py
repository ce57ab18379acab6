"""Clients under load, and a book of what each key's answers must be: who passes wrongly, or is refused wrongly, shows.

Times are `time.time()`: those in the database are of the same machine's clock.
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
"""Within these a feed that is cut off is noticed (`poll_seconds` + 0.5 s), and the bound looked at again."""

GONE_SLACK_SECONDS = 0.5
"""What a loaded machine may add to the bound on a revocation."""


@dataclass(eq=False)
class Key:
    """An API key, and what was done to it as the client of the admin API saw it."""

    user_id: str
    key: str = field(repr=False)
    sites: frozenset[str] = frozenset({"shop"})
    born: float = 0.0
    """When its creation was confirmed."""
    doomed: float | None = None
    """When somebody began to take it away: from here on it may be refused."""
    gone: float | None = None
    """When that was confirmed: from here on it must be refused, within the bound."""
    known_since: float | None = None
    """When it first passed at the process under load."""
    in_doubt: bool = False
    """Whether nobody knows if it lives: what was asked of the admin was not answered."""
    uses: list[float] = field(default_factory=list, repr=False)
    """When requests were sent whose answer says that the key was known: each is activity."""

    def request(self, site: str) -> bytes:
        return f"GET /sites/{site}/x HTTP/1.1\r\nHost: data.example\r\nX-API-Key: {self.key}\r\n\r\n".encode()


@dataclass(slots=True)
class Answer:
    status: int
    retry_after: bool
    body: bytes


class Client(asyncio.Protocol):
    """One keep-alive connection. It knows only what our answers need: Content-Length."""

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
            self._waiting.set_exception(ConnectionError("the connection ended before the answer"))

    async def ask(self, request: bytes, seconds: float = DEADLINE_SECONDS) -> Answer:
        if self.lost:
            raise ConnectionError("the connection has ended")
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


class Book:
    """Every key that a test uses, and the count of answers by what they mean."""

    def __init__(self, known: Sequence[Key]) -> None:
        self.known = list(known)
        """They live all the time."""
        self.living: list[Key] = []
        """Of those that come and go, these are."""
        self.dead: list[Key] = []
        self.strangers: list[Key] = []
        """Valid keys that no process has seen."""
        self.turned_away: list[Key] = []
        """Strangers that were told to come again."""
        self.counts: Counter[str] = Counter()
        self.odd: list[str] = []
        """What must not have been, in words."""
        self.late: list[tuple[Key, float, float]] = []
        """A deleted key that passed: its end, and when the request began. Whether that was too late, the bound says."""
        self.bounds: list[tuple[float, float]] = []
        """When the product stated which bound on a revocation, in seconds."""
        self.waits: list[float] = []
        """How long known keys waited for their answers, in seconds."""
        self.healthy = True
        """Whether nothing is wrong, so that nobody is told to come again."""

    def all(self) -> Iterable[Key]:
        yield from self.known
        yield from self.living
        yield from self.dead

    def judge(self, key: Key, site: str, began: float, answer: Answer) -> None:
        """Take an answer to a request that began then, and ended now."""
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
            if key.gone is not None and not key.in_doubt and began > key.gone:
                self.late.append((key, key.gone, began))
        elif status == 403 and not allowed:
            self.counts["refused"] += 1
        elif status == 401:
            self.counts["unknown"] += 1
            if not key.doomed and not key.in_doubt:
                self._note("wrong 401", f"{'a known' if known else 'an unknown'} key that lives")
        elif status == 503 and answer.retry_after and not (known and allowed):
            # Also a known key for whatever site: whose a site is that nobody named before is not known either.
            self.counts["come again"] += 1
            if self.healthy:
                self._note("odd answers", "503 while nothing is wrong")
        elif not (key.doomed or key.in_doubt):
            self._note("failed known keys" if known else "odd answers", f"{status} for {site}")
        if known and not key.doomed:
            self.waits.append(now - began)

    def judge_garbage(self, answer: Answer) -> None:
        self.counts["requests"] += 1
        if answer.status == 200:
            self._note("wrong passes", "a key that never was")
        elif answer.status not in (401, 503):
            self._note("odd answers", f"{answer.status} for a key that never was")

    def rewind(self, to: float) -> None:
        """The database is about to be put back to what it was then: what was done since may be undone from now on."""
        now = time.time()
        for key in [*self.living, *self.dead]:
            if key.born > to or (key.doomed and key.doomed > to):
                key.doomed = key.doomed or now
                key.in_doubt = True

    def rewound(self, to: float) -> None:
        """That is done: keys made since are gone, and keys deleted since are back, when this has got about."""
        now = time.time()
        for key in [*self.living, *self.dead]:
            if key.born > to:
                key.gone, key.in_doubt = now, False
            elif key.doomed and key.doomed > to:
                key.gone = None  # and in doubt, until all is well again
                key.doomed = now

    def lost(self, key: Key, error: Exception) -> None:
        if not key.doomed:
            self._note("failed known keys", f"{type(error).__name__}: {error}")

    def _note(self, count: str, what: str) -> None:
        self.counts[count] += 1
        self.odd.append(f"{count}: {what}")

    def settle_late(self) -> float:
        """Count the passes that came later than stated; return the longest that a deleted key passed, in seconds.

        At each moment the product says within how long what is revoked by then stops, as things are. So what it says
        counts where things stay so for that long: a server that ends a moment after a delete takes the news with it.
        """
        stated = [
            (at, bound)
            for at, bound in self.bounds
            if all(later <= bound for then, later in self.bounds if at < then < at + bound + _NOTICED_SECONDS)
        ]
        longest = 0.0
        for _, gone, began in self.late:
            longest = max(longest, began - gone)
            since = max((at for at, _ in self.bounds if at <= gone), default=gone)
            until = min((max(at, gone) + bound for at, bound in stated if at >= since), default=math.inf)
            if began > until + GONE_SLACK_SECONDS:
                near = [(round(at - gone, 3), bound) for at, bound in self.bounds if abs(at - gone) < 1]
                self._note("wrong passes", f"a deleted key, {began - gone:.2f} s after its end; stated then: {near}")
        self.late.clear()
        return longest


class Load:
    """Clients that ask for whatever the book has, at a rate, until they are stopped."""

    def __init__(self, address: str, book: Book, *, rate: float, connections: int = 6) -> None:
        self._address = address
        self._book = book
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
            await self._ask(client)
            due = max(due + self._pause, time.monotonic() - 0.2)
            if due > time.monotonic():
                await asyncio.sleep(due - time.monotonic())
        client.close()

    async def _ask(self, client: Client) -> None:
        book, dice = self._book, random.random()
        site = "shop"
        if dice < 0.02:
            with contextlib.suppress(ConnectionError):
                book.judge_garbage(await client.ask(Key("", new_key()).request("shop")))
            return
        if dice < 0.06 and book.strangers:
            key = book.strangers.pop()
        elif dice < 0.16 and book.living:
            key = random.choice(book.living)
        elif dice < 0.24 and book.dead:
            key = random.choice(book.dead[-20:])
        else:
            key = random.choice(book.known)
            site = random.choice(("shop", "blog", "wiki")) if dice < 0.35 else random.choice(list(key.sites))
        stranger = key.known_since is None
        answer = await ask(client, book, key, site)
        if stranger and answer is not None and answer.status == 503:
            book.turned_away.append(key)


async def ask(client: Client, book: Book, key: Key, site: str) -> Answer | None:
    """Ask once, and have the answer judged; None where none came."""
    began = time.time()
    try:
        answer = await client.ask(key.request(site))
    except ConnectionError as error:
        book.lost(key, error)
        return None
    book.judge(key, site, began, answer)
    return answer

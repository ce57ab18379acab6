"""Random histories of a database, with outages, and what doors make of them, held against what the database said when.

Time is virtual: when nothing is left to do it is later, so minutes take a second and each seed is the same each time.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import asyncpg
import pytest

from proxy.decision.api_keys import digest
from proxy.decision.route_table import RouteTable
from proxy.decision.site_ids import names_of
from proxy.enforcement import Enforcement, Pending, Verdict
from proxy.grants.cache import Grants
from proxy.grants.change_feed import ChangeFeed
from proxy.grants.feed_connection import ANSWER_SECONDS
from proxy.http.headers import Head
from proxy.observe.metrics import Metrics
from proxy.refusals import INVALID_KEY, SCOPE_UNAVAILABLE, SITE_NOT_ALLOWED, Refusal
from proxy.relay.revocation import Revocation
from proxy.settings import GrantSettings, KeySettings, RouteSettings
from sql.queries import query
from tests.scopes import FIND_GRANT, VirtualLoop

POLL, TTL, STALE, LOOKUP, UNKNOWN_TTL = 1.0, 5.0, 20.0, 2.0, 3.0
SETTLED = 4.0
"""How long after a fault ends a path to the database is in use again."""
SLACK = 0.3
"""The latencies of answers."""
SITES = ("Shop", "blog", "docs")
KEYS = [f"key-{number}" for number in range(6)]
DIGESTS = {key: digest(key.encode()) for key in KEYS}


@dataclass(frozen=True)
class State:
    """The contents of the scope tables from a point in time."""

    since: float
    rows: tuple[tuple[int, str, str | None, float], ...]
    keys: dict[bytes, str]
    users: dict[str, frozenset[str] | None]
    """The sites of each user; None: all sites."""
    sites: frozenset[str]

    def grant(self, key_digest: bytes) -> tuple[str, frozenset[str] | None] | None:
        user = self.keys.get(key_digest)
        return None if user is None else (user, self.users[user])


def verdict_by(grant: tuple[str, frozenset[str] | None] | None, sites: frozenset[str], site: str) -> Refusal | None:
    """The expected verdict."""
    if grant is None:
        return INVALID_KEY
    _, theirs = grant
    return None if site in (sites if theirs is None else theirs) else SITE_NOT_ALLOWED


class Path:
    """A path to the database that can be cut or delayed."""

    def __init__(self, chance: random.Random, *seconds: float) -> None:
        self.chance = chance
        self.seconds = seconds
        """Each message takes one of these."""
        self.up = True
        self.epoch = 0
        self.open = asyncio.Event()
        self.open.set()
        self.fault_at = 0.0

    @property
    def calm(self) -> float:
        """How long ago the last fault ended."""
        now = asyncio.get_running_loop().time()
        if not self.up or not self.open.is_set():
            self.fault_at = now
        return now - self.fault_at

    def cut(self) -> None:
        self.epoch += 1
        self.fault_at = asyncio.get_running_loop().time()

    async def go(self, epoch: int) -> None:
        await asyncio.sleep(self.chance.choice(self.seconds))
        await self.open.wait()
        if not self.up or epoch != self.epoch:
            raise ConnectionResetError


class Database:
    """The scope tables with their history, and the paths to them: for lookups, for sites, and for the feed."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.lookups, self.feed = Path(chance, 0, 0.001, 0.1, 0.15), Path(chance, 0, 0.001, 0.05)
        self.sites = Path(chance, 0)
        self.notifies = True
        self.reported: list[tuple[str | None, float]] = []
        """Every subject that the feed has reported, and when."""
        self.listening: dict[FeedConnection, Callable[[], object]] = {}
        users: dict[str, frozenset[str] | None] = {"ada": frozenset({"Shop"}), "bob": frozenset(SITES), "eve": None}
        now = asyncio.get_running_loop().time()
        keys = {DIGESTS[key]: user for key, user in zip(KEYS, ("ada", "ada", "bob", "eve", "eve"), strict=False)}
        self.past = [State(now - 100, ((1, "all", None, now - 100),), keys, users, frozenset(SITES))]

    @property
    def answering(self) -> float:
        """How long all kinds of lookups have been answered."""
        return min(self.lookups.calm, self.sites.calm)

    @property
    def now(self) -> State:
        return self.past[-1]

    def between(self, since: float, until: float) -> Iterator[State]:
        """Yield the states in this period."""
        for state, following in zip(self.past, [*self.past[1:], None], strict=True):
            if state.since <= until and (following is None or following.since >= since):
                yield state

    def commit(self, *changes: tuple[str, str | None], **what: Any) -> None:
        now = asyncio.get_running_loop().time()
        seq = self.now.rows[-1][0]
        rows = tuple((seq + number, *change, now) for number, change in enumerate(changes, 1))
        self.past.append(replace(self.now, since=now, rows=self.now.rows + rows, **what))
        self.reported += [(subject, now) for _, subject in changes]
        if self.notifies:
            for wake in self.listening.values():
                asyncio.get_running_loop().call_later(self.chance.choice((0, 0.001, 0.02)), wake)

    def change(self) -> None:
        """Make one change, as an admin would."""
        state, chance = self.now, self.chance
        what = chance.randrange(10)
        key_digest = DIGESTS[chance.choice(KEYS)]
        user = chance.choice(sorted(state.users))
        site = chance.choice(SITES)
        if what < 4:
            keys = dict(state.keys)
            if keys.pop(key_digest, None) is None:
                keys[key_digest] = user
            self.commit(("key", key_digest.hex()), keys=keys)
        elif what < 7:
            sites = frozenset(s for s in SITES if s in state.sites and chance.random() < 0.6)
            self.commit(("user", user), users=state.users | {user: chance.choice((sites, sites, None))})
        elif what < 9:
            touched = [("user", name) for name, theirs in state.users.items() if theirs and site in theirs]
            users = {name: None if theirs is None else theirs - {site} for name, theirs in state.users.items()}
            self.commit(("site", site), *touched, users=users, sites=state.sites ^ {site})
        else:
            self.commit(("all", None), keys={key: owner for key, owner in state.keys.items() if chance.random() < 0.7})

    async def fault(self) -> None:
        """Cause a fault for a while."""
        everything = [self.lookups, self.feed]
        paths = self.chance.choice(
            ([self.lookups], [self.sites], [self.feed], [self.sites, self.feed], everything, everything)
        )
        seconds = self.chance.choice((0, 0.1, 1, 3, 3, 8, 8, 30))
        what = self.chance.randrange(6)
        for path in paths:
            if what == 0:
                path.open.clear()
            else:
                path.cut()
                path.up = False
        await asyncio.sleep(seconds)
        if what == 1:  # an older dump is restored, and changes continue a little later
            self.lookups.cut()
            self.feed.cut()
            old = self.chance.choice(self.past[-5:])
            self.past.append(replace(old, since=asyncio.get_running_loop().time()))
        elif what == 2:
            self.past.append(replace(self.now, rows=self.now.rows[-1:]))  # the feed is pruned
        for path in paths:
            path.fault_at = asyncio.get_running_loop().time()
            path.up = True
            path.open.set()

    # The pool for lookups.

    @asynccontextmanager
    async def acquire(self, *, timeout: float | None = None) -> AsyncIterator["Database"]:  # noqa: ASYNC109
        await self.lookups.open.wait()
        if not self.lookups.up:
            raise ConnectionRefusedError
        yield self

    async def fetch(self, sql: str, /, *args: Any) -> list[dict[str, Any]]:
        epoch = self.lookups.epoch
        await self.lookups.go(epoch)
        if sql != FIND_GRANT:
            await self.sites.go(self.sites.epoch)
        state = self.now
        alpaths = {"whole": True, "feed_position": state.rows[-1][0]}
        if sql == FIND_GRANT:
            row: dict[str, Any] = alpaths | {"user_id": None}
            user = state.keys.get(args[0])
            if user is not None:
                sites = state.users[user]
                row |= {"user_id": user, "workspace": "acme", "all_sites": sites is None, "sites": sites or ()}
                row["expires_at"] = None
            rows: list[dict[str, Any]] = [row]
        else:
            by_name = {name: site for site in state.sites for name in names_of(site)}
            found = {name: by_name.get(name) for name in args[0]}
            rows = [alpaths | {"name": n, "id": s, "workspace": s and "acme"} for n, s in found.items()]
        await self.lookups.go(epoch)
        return rows

    async def execute(self, sql: str, /, *args: Any) -> str:
        raise NotImplementedError

    def terminate(self) -> None:
        """Do nothing: every connection is this object."""

    async def connect(self) -> asyncpg.Connection:
        epoch = self.feed.epoch
        await self.feed.go(epoch)
        return cast(asyncpg.Connection, FeedConnection(self, epoch))


class FeedConnection:
    """A fake connection for the feed."""

    def __init__(self, database: Database, epoch: int) -> None:
        self._database = database
        self._epoch = epoch

    async def fetch(self, sql: str, /, *args: Any) -> list[dict[str, Any]]:
        await self._database.feed.go(self._epoch)
        now = asyncio.get_running_loop().time()
        rows = [
            {"seq": seq, "what": what, "subject": subject, "at": at, "age": now - at}
            for seq, what, subject, at in self._database.now.rows
        ]
        await self._database.feed.go(self._epoch)
        if sql == query("feed_source"):
            raise asyncpg.InsufficientPrivilegeError
        if sql == query("feed_backend"):
            return [{"pid": 1, "standby": False}]
        if sql == query("feed_head"):
            return rows[-1:]
        return [row for row in rows if row["seq"] >= args[0]][: args[1]]

    def get_server_pid(self) -> int:
        return 1

    async def add_listener(self, channel: str, wake: Callable[[], object]) -> None:
        self._database.listening[self] = wake

    def add_termination_listener(self, ended: Callable[[], object]) -> None:
        pass  # the server says no goodbye

    def terminate(self) -> None:
        self._database.listening.pop(self, None)


class Stream:
    """An exchange that passed (a `rechecks.OpenExchange`)."""

    def __init__(self, play: "Play", verdict: Verdict, key_digest: bytes, site: str) -> None:
        self.verdict: Verdict | None = verdict
        self.key_digest, self.site = key_digest, site
        self._number = play.passed
        self.done = False
        self._play = play

    def __hash__(self) -> int:
        return self._number  # gives sets a reproducible order

    def revoke(self, refusal: Refusal) -> None:
        self.done = True
        self._play.judge_end(self, refusal)


class Play:
    """A simulation of the proxy over a database, with an oracle that checks every verdict."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.loop = asyncio.get_running_loop()
        clock = self.loop.time
        self.database = Database(self.chance)
        self.max_keys = self.chance.choice((3, 100))
        settings = GrantSettings(
            ttl_seconds=TTL,
            stale_seconds=STALE,
            poll_seconds=POLL,
            lookup_seconds=LOOKUP,
            unknown_ttl_seconds=UNKNOWN_TTL,
            max_keys=self.max_keys,
            lookups_at_once=4,
        )
        self.grants = Grants(
            settings,
            self.database,
            on_lookup=lambda result: None,
            on_lost=lambda lost: self.revocation.changed(lost),
            clock=clock,
            jitter=self.chance.random,
        )
        self.feed = ChangeFeed(
            self.database.connect,
            self.grants,
            poll_seconds=POLL,
            on_dropped=self.dropped,
            on_changes=lambda changes: self.revocation.changed(changes),
            clock=clock,
        )
        route = RouteSettings(name="data", upstream="http://127.0.0.1:1", sites=("path:/{site}", "host:{site}.example"))
        table = RouteTable([route], KeySettings())
        self.enforcement = Enforcement(
            table, self.grants, Metrics(), on_use=lambda user: None, accept_foreign=True, clock=clock
        )
        self.streams: list[Stream] = []
        self.revocation = Revocation(
            lambda: self.streams,
            self.grants,
            settings,
            read_at=lambda: self.feed.read_at,
            on_ended=lambda cause: None,
            clock=clock,
        )
        self.passed = 0
        self.passed_at: dict[tuple[bytes, str], float] = {}
        self.all_dropped_at = 0.0
        self.ended = 0

    async def ask(self) -> None:
        """Make a request, and compare the verdict with the history."""
        key, site = self.chance.choice(KEYS), self.chance.choice(SITES)
        # Named by its id or, as host names have no case, by its folded id.
        target, host = ("/" + site, "h") if self.chance.random() < 0.5 else ("/", f"{site}.example")
        fields = [(b"Host", host.encode()), (b"X-API-Key", key.encode())]
        verdict = self.enforcement.judge(Head(b"GET", target.encode(), fields, has_body=False))
        if isinstance(verdict, Pending):
            verdict = await self.enforcement.judge_slowly(verdict, "192.0.2.1")
        self.judge(verdict.refusal, DIGESTS[key], site, self.bound)
        named = verdict.claim.sites[0] if verdict.claim else ""
        if verdict.refusal is SCOPE_UNAVAILABLE:
            assert not self.is_known(DIGESTS[key], site, named), (
                f"seed {self.seed}, {self.loop.time()}: a cached key is refused"
            )
        if verdict.refusal is None:
            self.passed += 1
            self.passed_at[DIGESTS[key], named] = self.loop.time()
            if self.chance.random() < 0.1:
                self.streams.append(Stream(self, verdict, DIGESTS[key], site))

    def dropped(self, cause: str, count: int) -> None:
        if cause in ("feed", "all"):
            self.all_dropped_at = self.loop.time()

    def is_known(self, key_digest: bytes, site: str, named: str) -> bool:
        """Return whether this key passed so recently that an outage must not refuse it, and did not change since."""
        since = self.passed_at.get((key_digest, named), 0)
        if self.max_keys < len(KEYS) or since < self.loop.time() - STALE or since < self.all_dropped_at:
            return False
        state = self.database.now
        mine = {key_digest.hex(), state.keys.get(key_digest), site, None}
        return not any(subject in mine and at > since - TTL - STALE for subject, at in self.database.reported)

    @property
    def bound(self) -> float:
        """How old an answer may be."""
        if self.database.feed.calm > SETTLED:
            return POLL + ANSWER_SECONDS + SLACK
        return TTL + SLACK + (0 if self.database.answering > SETTLED else STALE)

    def judge(self, refusal: Refusal | None, key_digest: bytes, site: str, bound: float) -> None:
        """Assert that this verdict was right at some time within the bound."""
        now = self.loop.time()
        if refusal is SCOPE_UNAVAILABLE:
            assert self.database.answering < SETTLED, f"seed {self.seed}, {now}: refused although the database answers"
            return
        if refusal is INVALID_KEY and self.database.feed.calm <= SETTLED:
            bound = max(bound, UNKNOWN_TTL + LOOKUP)
        states = list(self.database.between(now - bound, now))
        # A key and a site are looked up separately, so each answer may be as old as the bound.
        grants = {state.grant(key_digest) for state in states}
        expected = {verdict_by(grant, sites, site) for grant in grants for sites in {state.sites for state in states}}
        assert refusal in expected, f"seed {self.seed}, {now}: {refusal}, but for {bound} s it has been {expected}"

    def judge_end(self, stream: Stream, refusal: Refusal) -> None:
        self.ended += 1
        self.judge(refusal, stream.key_digest, stream.site, self.bound)

    def look_at_streams(self) -> None:
        """Assert that no open stream has lost its access."""
        bound = self.bound + 1  # for the sweep and a lookup
        if self.database.answering <= SETTLED:
            bound += 2 * LOOKUP
        self.streams = [stream for stream in self.streams if not stream.done and self.chance.random() > 0.002]
        for stream in self.streams:
            self.judge(None, stream.key_digest, stream.site, bound)

    async def run(self, seconds: float) -> None:
        works = [
            self.loop.create_task(work)
            for work in (self.feed.run(), self.revocation.run(), self.faults(), self.watch())
        ]
        end = self.loop.time() + seconds
        asking: set[asyncio.Task[None]] = set()
        while self.loop.time() < end:
            await asyncio.sleep(self.chance.expovariate(1 / 0.04))
            if self.chance.random() < 0.07:
                self.database.change()
            asking.add(self.loop.create_task(self.ask()))
            self.look_at_streams()
            for task in [task for task in asking if task.done()]:
                task.result()
                asking.discard(task)
            assert not any(work.done() for work in works)
        await asyncio.gather(*asking)
        for work in works:
            work.cancel()
        await asyncio.wait(works)
        await self.revocation.close()
        await self.grants.close()
        assert self.grants.idle

    async def watch(self) -> None:
        """Act as the health check, which sometimes reaches the database when lookups do not."""
        while True:
            await asyncio.sleep(1)
            if self.database.lookups.up or self.chance.random() < 0.1:
                self.grants.try_again()

    async def faults(self) -> None:
        while True:
            await asyncio.sleep(self.chance.choice((0.1, 1, 5, 10)))
            self.database.notifies = self.chance.random() < 0.7
            await self.database.fault()


@pytest.mark.parametrize("seed", range(3))
def test_every_verdict_matches_the_database_within_the_bound(seed: int) -> None:
    async def play() -> None:
        played = Play(seed)
        await played.run(200)
        assert played.passed > 100
        assert played.ended > 0

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())

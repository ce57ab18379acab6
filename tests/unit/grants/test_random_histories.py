"""Random histories of a database with outages: every verdict is compared with the state of the database at the time.

Time is virtual: the clock jumps to the next event, so minutes take a second, and each seed is reproducible.
"""

import asyncio
import random

import pytest

from proxy.decision.route_table import RouteTable
from proxy.decision.verdict import Verdict
from proxy.enforcement import Enforcement, Pending
from proxy.grants.cache import GrantCache
from proxy.grants.change_feed import ChangeFeed
from proxy.grants.feed_connection import ANSWER_SECONDS
from proxy.grants.token_bucket import TokenBuckets
from proxy.http.headers import Head
from proxy.observe.metrics import Metrics
from proxy.refusals import INVALID_KEY, SCOPE_UNAVAILABLE, SITE_NOT_ALLOWED, Refusal
from proxy.relay.revocation import Revocation
from proxy.settings import GrantSettings, KeySettings, RouteSettings
from tests.scopes import VirtualLoop
from tests.unit.grants.simulated_database import DIGESTS, KEYS, SITES, Database

POLL, TTL, STALE, LOOKUP, UNKNOWN_TTL = 1.0, 5.0, 20.0, 2.0, 3.0
SETTLED = 4.0
"""The time from the end of a fault until the path to the database is in use again."""
SLACK = 0.3
"""The latencies of answers."""


def verdict_by(grant: tuple[str, frozenset[str] | None] | None, sites: frozenset[str], site: str) -> Refusal | None:
    """The expected verdict."""
    if grant is None:
        return INVALID_KEY
    _, theirs = grant
    return None if site in (sites if theirs is None else theirs) else SITE_NOT_ALLOWED


class Stream:
    """An exchange that passed (a `rechecks.OpenExchange`)."""

    def __init__(self, scenario: "Simulation", verdict: Verdict, key_digest: bytes, site: str) -> None:
        self.verdict: Verdict | None = verdict
        self.key_digest, self.site = key_digest, site
        self.client_address = "192.0.2.1"
        self._number = scenario.passed
        self.done = False
        self._simulation = scenario

    def __hash__(self) -> int:
        return self._number  # gives sets a reproducible order

    def revoke(self, refusal: Refusal) -> None:
        self.done = True
        self._simulation.judge_end(self, refusal)


class Simulation:
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
        self.grants = GrantCache(
            settings,
            self.database,
            on_lookup=lambda result: None,
            budget=self.chance.choice((None, TokenBuckets(1, clock=clock))),
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
            jitter=self.chance.random,
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

    async def make_request(self) -> None:
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
        """The maximum age of an answer."""
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

    def check_streams(self) -> None:
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
        requests: set[asyncio.Task[None]] = set()
        while self.loop.time() < end:
            await asyncio.sleep(self.chance.expovariate(1 / 0.04))
            if self.chance.random() < 0.07:
                self.database.change()
            requests.add(self.loop.create_task(self.make_request()))
            self.check_streams()
            for task in [task for task in requests if task.done()]:
                task.result()
                requests.discard(task)
            assert not any(work.done() for work in works)
        await asyncio.gather(*requests)
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
                self.grants.probe()

    async def faults(self) -> None:
        while True:
            await asyncio.sleep(self.chance.choice((0.1, 1, 5, 10)))
            self.database.notifies = self.chance.random() < 0.7
            await self.database.fault()


@pytest.mark.parametrize("seed", range(3))
def test_every_verdict_matches_the_database_within_the_bound(seed: int) -> None:
    async def scenario() -> None:
        simulation = Simulation(seed)
        await simulation.run(200)
        assert simulation.passed > 100
        assert simulation.ended > 0

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())

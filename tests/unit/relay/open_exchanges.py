"""Open exchanges over a scope table in memory, for the tests of revocation."""

from collections import Counter
from hashlib import sha256

from proxy.decision.grant import Grant
from proxy.decision.route_table import RouteTable
from proxy.decision.verdict import Verdict
from proxy.grants.cache import GrantCache
from proxy.grants.changes import Changes
from proxy.refusals import Refusal
from proxy.relay.revocation import Revocation
from proxy.settings import GrantSettings, KeySettings, RouteSettings
from tests.scopes import Clock, MemoryScope, until
from tests.unit.judging import claim_on

TABLE = RouteTable((RouteSettings(name="data", upstream="http://127.0.0.1:1"),), KeySettings())
TTL, STALE, LOOKUP = 30, 300, 30


def key_of(name: str) -> bytes:
    """Return the digest of the key of an API user."""
    return sha256(name.encode()).digest()


class FakeExchange:
    """An exchange that passed (a `rechecks.OpenExchange`)."""

    def __init__(self, name: str, grant: Grant | None, *sites: str) -> None:
        self.verdict: Verdict | None = Verdict(None, claim_on(TABLE, *sites, key=name.encode()), grant)
        self.name = name
        self.key_digest = key_of(name)
        self.client_address = "192.0.2.1"
        self.done = False
        self.revoked: Refusal | None = None

    def revoke(self, refusal: Refusal) -> None:
        assert not self.done
        self.done, self.revoked = True, refusal


class Streams:
    """Open exchanges. The change feed has just been read, unless the test says otherwise."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.wall_clock = Clock()
        self.scope = MemoryScope()
        self.read_at = self.clock.now
        self.ended: Counter[str] = Counter()
        self.open: list[FakeExchange] = []
        settings = GrantSettings(ttl_seconds=TTL, stale_seconds=STALE, lookup_seconds=LOOKUP)
        self.grants = GrantCache(
            settings,
            self.scope,
            on_lookup=lambda result: None,
            on_lost=lambda lost: self.revocation.changed(lost),
            clock=self.clock,
        )
        self.revocation = Revocation(
            lambda: self.open,
            self.grants,
            settings,
            read_at=lambda: self.read_at,
            on_ended=lambda cause: self.ended.update([cause]),
            clock=self.clock,
            wall_clock=self.wall_clock,
        )

    @property
    def queued(self) -> set[bytes]:
        """The keys that wait for a recheck."""
        return set(self.revocation.rechecks.queued)

    @property
    def lookups(self) -> int:
        """The number of queries that the database received."""
        return len(self.scope.queried)

    def add_user(self, name: str, *sites: str, **row: object) -> None:
        """Add an API user with a key to the scope table."""
        self.scope.add(key_of(name), name, *sites, **row)

    async def opened(self, name: str, *sites: str) -> FakeExchange:
        """Open an exchange that passes according to the scope table."""
        grant = await self.grants.fetch(key_of(name))
        assert isinstance(grant, Grant)
        exchange = FakeExchange(name, grant, *sites)
        self.open.append(exchange)
        return exchange

    async def opened_by(self, *names: str) -> list[FakeExchange]:
        """Add API users for the site shop, and open an exchange for each."""
        for name in names:
            self.add_user(name, "shop")
        return [await self.opened(name, "shop") for name in names]

    def change(self, *names: str, position: int = 5) -> None:
        """Report from the feed that these keys changed."""
        for name in names:
            self.grants.drop(key_of(name))
        self.revocation.changed(Changes(keys={key_of(name): position for name in names}))

    def delete_key(self, name: str, position: int = 5) -> None:
        """Delete a key, and report that from the feed."""
        del self.scope.grants[key_of(name)]
        self.change(name, position=position)

    async def settled(self) -> None:
        """Wait until nothing is being rechecked."""
        rechecks = self.revocation.rechecks
        await until(lambda: not rechecks.queued and not rechecks.workers)

    async def swept(self) -> None:
        """Sweep once, and wait until nothing is being rechecked."""
        self.revocation.sweep()
        await self.settled()

    async def sweep_each_second(self, seconds: int) -> None:
        """Let time pass, with a sweep in each second."""
        for _ in range(seconds):
            self.clock.now += 1
            await self.swept()

    async def close(self) -> None:
        """Stop everything."""
        self.scope.resume()
        await self.revocation.close()
        await self.grants.close()

"""A simulated database with a change feed, random changes and random faults."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import asyncpg

from proxy.decision.api_keys import digest
from proxy.decision.site_ids import names_of
from sql.queries import query
from tests.scopes import FIND_GRANT, FIND_KEYS, FIND_SITES, LIST_KEYS

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


class Path:
    """A path to the database that can be cut or delayed."""

    def __init__(self, chance: random.Random, *seconds: float) -> None:
        self.chance = chance
        self.seconds = seconds
        """Each message takes one of these times."""
        self.up = True
        self.epoch = 0
        self.open = asyncio.Event()
        self.open.set()
        self.fault_at = 0.0

    @property
    def calm(self) -> float:
        """The time since the last fault ended, in seconds."""
        now = asyncio.get_running_loop().time()
        if not self.up or not self.open.is_set():
            self.fault_at = now
        return now - self.fault_at

    def cut(self) -> None:
        self.epoch += 1
        self.fault_at = asyncio.get_running_loop().time()

    async def deliver(self, epoch: int) -> None:
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
        """The time since which all kinds of lookups have been answered, in seconds."""
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
        await self.lookups.deliver(epoch)
        if sql == FIND_SITES:
            await self.sites.deliver(self.sites.epoch)
        state = self.now
        common = {"whole": True, "standby": False, "feed_position": state.rows[-1][0]}
        if sql == FIND_GRANT:
            row: dict[str, Any] = common | {"user_id": None}
            user = state.keys.get(args[0])
            if user is not None:
                sites = state.users[user]
                row |= {"user_id": user, "workspace": "acme", "all_sites": sites is None, "sites": sites or ()}
                row |= {
                    "expires_at": None,
                    "disabled": False,
                    "methods": None,
                    "networks": None,
                    "requests_per_second": None,
                    "burst": None,
                    "requests_per_day": None,
                    "several_keys": False,
                }
            rows: list[dict[str, Any]] = [row]
        elif sql == LIST_KEYS:
            page = sorted(each for each in state.keys if each > args[0])[:2]  # so that there are several pages
            rows = [common | {"prefixes": b"".join(each[:8] for each in page) or None}]
        elif sql == FIND_KEYS:
            rows = [common | {"existing": [each for each in args[0] if bytes.fromhex(each) in state.keys]}]
        else:
            by_name = {name: site for site in state.sites for name in names_of(site)}
            found = {name: by_name.get(name) for name in args[0]}
            rows = [common | {"name": n, "id": s, "workspace": s and "acme"} for n, s in found.items()]
        await self.lookups.deliver(epoch)
        return rows

    async def execute(self, sql: str, /, *args: Any) -> str:
        raise NotImplementedError

    def terminate(self) -> None:
        """Do nothing: every connection is this object."""

    async def connect(self) -> asyncpg.Connection:
        epoch = self.feed.epoch
        await self.feed.deliver(epoch)
        return cast(asyncpg.Connection, FeedConnection(self, epoch))


class FeedConnection:
    """A fake connection for the feed."""

    def __init__(self, database: Database, epoch: int) -> None:
        self._database = database
        self._epoch = epoch

    async def fetch(self, sql: str, /, *args: Any) -> list[dict[str, Any]]:
        await self._database.feed.deliver(self._epoch)
        now = asyncio.get_running_loop().time()
        rows = [
            {"standby": False, "seq": seq, "what": what, "subject": subject, "at": at, "age": now - at}
            for seq, what, subject, at in self._database.now.rows
        ]
        await self._database.feed.deliver(self._epoch)
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
        pass  # the simulated server closes connections without notice

    def terminate(self) -> None:
        self._database.listening.pop(self, None)

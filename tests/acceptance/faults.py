"""What can happen to a database, as real as it gets: each fault begins, lasts, and ends."""

import asyncio
import contextlib
import time
from pathlib import Path

import asyncpg

from sql.pool import open_connection
from tests.acceptance.load import Book
from tests.acceptance.own_database import NAME, OwnDatabase

_CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('sitelatch_doors', 'sitelatch_admin')"


class Fault:
    """What befalls a database."""

    turns_strangers_away = True
    """Whether it keeps lookups from being answered."""

    def __init__(self, database: OwnDatabase, folder: Path) -> None:
        self.database = database
        self.folder = folder

    async def prepare(self) -> None:
        """Do what was done before, while all was well."""

    async def begin(self) -> None:
        raise NotImplementedError

    async def end(self, book: Book) -> None:
        raise NotImplementedError


class Stopped(Fault):
    async def begin(self) -> None:
        await asyncio.to_thread(self.database.stop)

    async def end(self, book: Book) -> None:
        await asyncio.to_thread(self.database.start)


class Restarted(Fault):
    """Down for no longer than a restart takes; what lasts is what comes after."""

    turns_strangers_away = False

    async def begin(self) -> None:
        await asyncio.to_thread(self.database.stop)
        await asyncio.to_thread(self.database.start)

    async def end(self, book: Book) -> None:
        pass


class Killed(Stopped):
    async def begin(self) -> None:
        await asyncio.to_thread(self.database.kill)


class Frozen(Fault):
    async def begin(self) -> None:
        self.database.freeze()

    async def end(self, book: Book) -> None:
        self.database.thaw()


class Cut(Fault):
    """Again and again every connection is ended, each time with lookups and writes in the middle of a query."""

    turns_strangers_away = False

    async def begin(self) -> None:
        self._cutting = asyncio.create_task(self._cut())

    async def _cut(self) -> None:
        async with self.database.superuser() as connection:
            while True:
                with contextlib.suppress(asyncpg.DeadlockDetectedError):
                    async with connection.transaction():
                        await connection.execute("LOCK TABLE sitelatch.api_keys, sitelatch.api_user_activity")
                        await asyncio.sleep(0.06)
                        await connection.execute(_CUT)
                await asyncio.sleep(0.1)

    async def end(self, book: Book) -> None:
        self._cutting.cancel()
        await asyncio.wait({self._cutting})


class ReadOnly(Fault):
    turns_strangers_away = False

    async def begin(self) -> None:
        await self._set("ALTER SYSTEM SET default_transaction_read_only = on")

    async def end(self, book: Book) -> None:
        await self._set("ALTER SYSTEM RESET default_transaction_read_only")

    async def _set(self, command: str) -> None:
        async with self.database.superuser() as connection:
            await connection.execute("SET default_transaction_read_only = off")
            await connection.execute(command)
            await connection.execute("SELECT pg_reload_conf()")


class Locked(Fault):
    """A table that somebody holds, as a migration or a careless VACUUM FULL does."""

    table = "api_keys"

    async def begin(self) -> None:
        self._connection: asyncpg.Connection = await open_connection(self.database.url(), role="tests")
        await self._connection.execute(f"BEGIN; LOCK TABLE sitelatch.{self.table}")

    async def end(self, book: Book) -> None:
        await self._connection.execute("ROLLBACK")
        self._connection.terminate()


class FeedLocked(Locked):
    table = "scope_changes"


class SitesLocked(Locked):
    table = "sites"
    turns_strangers_away = False


class ActivityLocked(Locked):
    table = "api_user_activity"
    turns_strangers_away = False


class Crowded(Fault):
    """Others take every connection there is, also those that Sitelatch had."""

    async def begin(self) -> None:
        self._hogs: list[asyncpg.Connection] = []
        self._crowding = [asyncio.create_task(self._crowd()) for _ in range(4)]
        async with self.database.superuser() as connection:
            quiet = 0
            while quiet < 20:  # a place that becomes free is whose comes first
                quiet = 0 if await connection.fetch(_CUT) else quiet + 1
                await asyncio.sleep(0.01)

    async def _crowd(self) -> None:
        while True:
            try:
                self._hogs.append(await open_connection(self.database.url("sitelatch_owner"), role="hogs"))
            except asyncpg.TooManyConnectionsError:
                await asyncio.sleep(0.002)

    async def end(self, book: Book) -> None:
        for crowding in self._crowding:
            crowding.cancel()
        await asyncio.wait(self._crowding)
        for hog in self._hogs:
            hog.terminate()


class Restored(Fault):
    """The database is dropped and made again of a dump that is older than what was done since."""

    options: tuple[str, ...] = ("--single-transaction",)

    async def prepare(self) -> None:
        self._dump = self.folder / "dump"
        self._dumped_at = time.time()
        await asyncio.to_thread(self.database.dump, self._dump)

    async def begin(self) -> None:
        async with self.database.superuser("postgres") as connection:
            await connection.execute(f"DROP DATABASE {NAME} WITH (FORCE)")
            await connection.execute(f"CREATE DATABASE {NAME}")

    async def end(self, book: Book) -> None:
        book.rewind(self._dumped_at)
        await asyncio.to_thread(self.database.restore, self._dump, *self.options)
        book.rewound(self._dumped_at)


class RestoredBitByBit(Restored):
    """As above, and for a while the half of it is seen: where one role does everything, no grant comes at the end."""

    options: tuple[str, ...] = ()

    async def begin(self) -> None:
        await super().begin()
        async with self.database.superuser() as connection:
            await connection.execute("GRANT sitelatch_owner TO sitelatch_doors")

    async def end(self, book: Book) -> None:
        await super().end(book)
        async with self.database.superuser() as connection:
            await connection.execute("REVOKE sitelatch_owner FROM sitelatch_doors")


class RestoredInParallel(RestoredBitByBit):
    """As above, by several at once, so that what is there first and last is another each time."""

    options = ("--jobs=4",)


class RestoredInPlace(Restored):
    """The dump takes the place of what is there, in one transaction."""

    turns_strangers_away = False
    options = ("--single-transaction", "--clean", "--if-exists")

    async def begin(self) -> None:
        pass


class Replaced(Restored):
    """The server's whole data are put back as they were."""

    async def prepare(self) -> None:
        self._copy = self.folder / "copy"
        self._dumped_at = time.time()
        await asyncio.to_thread(self.database.copy_data, self._copy)

    async def begin(self) -> None:
        await asyncio.to_thread(self.database.stop)

    async def end(self, book: Book) -> None:
        book.rewind(self._dumped_at)
        await asyncio.to_thread(self.database.replace_data, self._copy)
        await asyncio.to_thread(self.database.start)
        book.rewound(self._dumped_at)


FAULTS: dict[str, type[Fault]] = {
    "stopped": Stopped,
    "restarted": Restarted,
    "killed": Killed,
    "frozen": Frozen,
    "cut in mid-query": Cut,
    "read-only": ReadOnly,
    "keys locked": Locked,
    "sites locked": SitesLocked,
    "feed locked": FeedLocked,
    "activity locked": ActivityLocked,
    "connections taken": Crowded,
    "restored": Restored,
    "restored bit by bit": RestoredBitByBit,
    "restored in parallel": RestoredInParallel,
    "restored in place": RestoredInPlace,
    "data replaced": Replaced,
}

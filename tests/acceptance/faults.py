"""Faults of a real database server. Each fault can begin and end."""

import asyncio
import contextlib
import time
from pathlib import Path

import asyncpg

from sql.pool import open_connection
from tests.acceptance.load import KeyLog
from tests.acceptance.own_database import NAME, OwnDatabase

_CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('sitelatch_doors', 'sitelatch_admin')"


class Fault:
    """The base class of faults."""

    prevents_lookups = True
    """Whether lookups fail during the fault."""

    def __init__(self, database: OwnDatabase, folder: Path) -> None:
        self.database = database
        self.folder = folder

    async def prepare(self) -> None:
        """Prepare the fault while the database is healthy."""

    async def begin(self) -> None:
        raise NotImplementedError

    async def end(self, key_log: KeyLog) -> None:
        raise NotImplementedError


class Stopped(Fault):
    async def begin(self) -> None:
        await asyncio.to_thread(self.database.stop)

    async def end(self, key_log: KeyLog) -> None:
        await asyncio.to_thread(self.database.start)


class Restarted(Fault):
    """A restart of the server, after which it is immediately available."""

    prevents_lookups = False

    async def begin(self) -> None:
        await asyncio.to_thread(self.database.stop)
        await asyncio.to_thread(self.database.start)

    async def end(self, key_log: KeyLog) -> None:
        pass


class Killed(Stopped):
    async def begin(self) -> None:
        await asyncio.to_thread(self.database.kill)


class Frozen(Fault):
    async def begin(self) -> None:
        self.database.freeze()

    async def end(self, key_log: KeyLog) -> None:
        self.database.thaw()


class Cut(Fault):
    """All connections are terminated repeatedly, while lookups and writes are running."""

    prevents_lookups = False

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

    async def end(self, key_log: KeyLog) -> None:
        self._cutting.cancel()
        await asyncio.wait({self._cutting})


class ReadOnly(Fault):
    prevents_lookups = False

    async def begin(self) -> None:
        await self._set("ALTER SYSTEM SET default_transaction_read_only = on")

    async def end(self, key_log: KeyLog) -> None:
        await self._set("ALTER SYSTEM RESET default_transaction_read_only")

    async def _set(self, command: str) -> None:
        async with self.database.superuser() as connection:
            await connection.execute("SET default_transaction_read_only = off")
            await connection.execute(command)
            await connection.execute("SELECT pg_reload_conf()")


class Locked(Fault):
    """A table is locked, as by a migration or by VACUUM FULL."""

    table = "api_keys"

    async def begin(self) -> None:
        self._connection: asyncpg.Connection = await open_connection(self.database.url(), role="tests")
        await self._connection.execute(f"BEGIN; LOCK TABLE sitelatch.{self.table}")

    async def end(self, key_log: KeyLog) -> None:
        await self._connection.execute("ROLLBACK")
        self._connection.terminate()


class FeedLocked(Locked):
    table = "scope_changes"


class SitesLocked(Locked):
    table = "sites"
    prevents_lookups = False


class ActivityLocked(Locked):
    table = "api_user_activity"
    prevents_lookups = False


class Crowded(Fault):
    """Other clients take all connections, including those that Sitelatch had."""

    async def begin(self) -> None:
        self._other_clients: list[asyncpg.Connection] = []
        self._crowding = [asyncio.create_task(self._crowd()) for _ in range(4)]
        async with self.database.superuser() as connection:
            quiet = 0
            while quiet < 20:  # Sitelatch may get some of the connections that become free
                quiet = 0 if await connection.fetch(_CUT) else quiet + 1
                await asyncio.sleep(0.01)

    async def _crowd(self) -> None:
        while True:
            try:
                self._other_clients.append(
                    await open_connection(self.database.url("sitelatch_owner"), role="other clients")
                )
            except asyncpg.TooManyConnectionsError:
                await asyncio.sleep(0.002)

    async def end(self, key_log: KeyLog) -> None:
        for crowding in self._crowding:
            crowding.cancel()
        await asyncio.wait(self._crowding)
        for client in self._other_clients:
            client.terminate()


class Restored(Fault):
    """The database is dropped, and restored from a dump that is older than the latest changes."""

    options: tuple[str, ...] = ("--single-transaction",)

    async def prepare(self) -> None:
        self._dump = self.folder / "dump"
        self._dumped_at = time.time()
        await asyncio.to_thread(self.database.dump, self._dump)

    async def begin(self) -> None:
        async with self.database.superuser("postgres") as connection:
            await connection.execute(f"DROP DATABASE {NAME} WITH (FORCE)")
            await connection.execute(f"CREATE DATABASE {NAME}")

    async def end(self, key_log: KeyLog) -> None:
        key_log.begin_restore(self._dumped_at)
        await asyncio.to_thread(self.database.restore, self._dump, *self.options)
        key_log.end_restore(self._dumped_at)


class RestoredGradually(Restored):
    """Like `Restored`, but not in one transaction, so that a half-restored database is visible for a while.

    The doors role owns everything, because otherwise it could not read the tables until the grants at the end.
    """

    options: tuple[str, ...] = ()

    async def begin(self) -> None:
        await super().begin()
        async with self.database.superuser() as connection:
            await connection.execute("GRANT sitelatch_owner TO sitelatch_doors")

    async def end(self, key_log: KeyLog) -> None:
        await super().end(key_log)
        async with self.database.superuser() as connection:
            await connection.execute("REVOKE sitelatch_owner FROM sitelatch_doors")


class RestoredInParallel(RestoredGradually):
    """Like `RestoredGradually`, but with parallel jobs, so that the order of the tables varies."""

    options = ("--jobs=4",)


class RestoredInPlace(Restored):
    """The dump replaces the existing tables in one transaction."""

    prevents_lookups = False
    options = ("--single-transaction", "--clean", "--if-exists")

    async def begin(self) -> None:
        pass


class Replaced(Restored):
    """All data of the server is replaced with an older copy."""

    async def prepare(self) -> None:
        self._copy = self.folder / "copy"
        self._dumped_at = time.time()
        await asyncio.to_thread(self.database.copy_data, self._copy)

    async def begin(self) -> None:
        await asyncio.to_thread(self.database.stop)

    async def end(self, key_log: KeyLog) -> None:
        key_log.begin_restore(self._dumped_at)
        await asyncio.to_thread(self.database.replace_data, self._copy)
        await asyncio.to_thread(self.database.start)
        key_log.end_restore(self._dumped_at)


FAULTS: dict[str, type[Fault]] = {
    "stopped": Stopped,
    "restarted": Restarted,
    "killed": Killed,
    "frozen": Frozen,
    "cut during queries": Cut,
    "read-only": ReadOnly,
    "keys locked": Locked,
    "sites locked": SitesLocked,
    "feed locked": FeedLocked,
    "activity locked": ActivityLocked,
    "connections taken": Crowded,
    "restored": Restored,
    "restored gradually": RestoredGradually,
    "restored in parallel": RestoredInParallel,
    "restored in place": RestoredInPlace,
    "data replaced": Replaced,
}

"""The composition root: builds all parts from a config, opens the listeners, and closes everything in reverse order."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog
from aiohttp import web

from admin.api.example_request import example_request
from admin.api.explain import FrontDoorSettings
from admin.app import USE_CREDENTIALS, WATCHED_FILES, admin_app
from admin.connections import LANE_SIZE, Lanes
from admin.integrators_guide import guide
from admin.internal_listeners import InternalRunner, internal_listeners
from proxy.activity import Activity
from proxy.decision.route_table import RouteTable
from proxy.enforcement import Enforcement
from proxy.grants.cache import GrantCache, connections_used
from proxy.grants.change_feed import ChangeFeed
from proxy.grants.changes import Changes
from proxy.grants.database_status import DatabaseStatus, Health
from proxy.grants.revocation_bound import revocation_bound
from proxy.grants.token_bucket import TokenBuckets
from proxy.limits.demand_reports import DemandReports
from proxy.limits.user_limits import UserLimits
from proxy.observe.access_log import AccessLog
from proxy.observe.background_writer import BackgroundWriter
from proxy.observe.known_secrets import KnownSecrets
from proxy.observe.metrics import Metrics
from proxy.observe.ops import ops_app
from proxy.relay import descriptors
from proxy.relay.aiohttp_listeners import start_listening
from proxy.relay.front_door import FrontDoor
from proxy.relay.revocation import Revocation
from proxy.shadow_findings import ShadowFindings
from proxy.upkeep import Upkeep
from proxy.usage import Usage
from proxy.usage_counts import UsageCounts
from sitelatch.config import Config
from sitelatch.credential_reload import watched_credentials
from sitelatch.database import opened_database
from sitelatch.database_health import HealthCheck, ProvenPool
from sitelatch.failures import CannotServe
from sitelatch.file_watch import FileWatch
from sitelatch.signals import Signals, cancel, unless
from sitelatch.watched_pool import WatchedPool
from sql.dsn.dsn import read_dsn
from sql.servers import Servers

Result = TypeVar("Result")

_log = structlog.get_logger("sitelatch")

_OTHER_CONNECTIONS = 4
"""Database connections for writing activity and usage and for sharing limits, in addition to those for lookups."""
_INTERNAL_STOP_SECONDS = 1.0
_LAST_WRITE_SECONDS = 2.0
"""How long last activity and usage may still be written after a second signal."""
_EXIT_SECONDS = 2.0
"""The time for what follows, such as logging what could not be written. After it, the process may be killed."""
_WRITING_SECONDS, _WRITING_SHARE = 5.0, 0.25
"""The part of `drain.timeout_seconds` reserved for both: the maximum in seconds, and the share."""
_FIRST_CHECK_SECONDS = 1.0
_COLLECTION_THRESHOLDS = 10_000, 20, 20
"""How many new containers start a garbage collection (`gc.set_threshold`) while requests are served."""


class Service:
    """A running Sitelatch. `async with` opens and closes it; call `drain` before the end."""

    def __init__(self, config: Config, signals: Signals, log: BackgroundWriter, secrets: KnownSecrets | None) -> None:
        self.config = config
        self._signals = signals
        self._log_writer = log
        self._secrets = secrets
        self._opened = False
        self.draining = False
        self.broken = False
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._open(stack)
            self._stack = stack.pop_all()
        return self

    async def _open(self, stack: AsyncExitStack) -> None:
        config = self.config
        dsn = await stack.enter_async_context(opened_database(config.database, config.directory))
        admin_dsn = await stack.enter_async_context(opened_database(config.admin_database, config.directory))
        servers = Servers(dsn)
        same_database = admin_dsn.leads_like(dsn)
        admin_servers = servers.as_role(admin_dsn) if same_database else Servers(admin_dsn)

        async def renew_others(moved: bool) -> None:
            feed.reconnect()
            await admin_connections.renew(moved)

        connections = await WatchedPool.open(
            stack,
            servers,
            maximum=connections_used(config.grants) + _OTHER_CONNECTIONS,
            role="doors",
            on_renewed=renew_others,
        )
        admin_connections = await WatchedPool.open(stack, admin_servers, maximum=Lanes.COUNT * LANE_SIZE, role="admin")
        self._pool = connections.pool
        self._admin_watch = admin_connections.watch
        self.database = DatabaseStatus()
        health_check = HealthCheck(connections.watch, self.database, on_up=lambda: grants.probe())
        proven = ProvenPool(connections.pool, self.database)
        self.metrics = Metrics()
        access_log = AccessLog(self._log_writer, config.log.access)
        stack.callback(access_log.flush)
        self.activity = Activity(config.activity, proven, database=self.database, on_flush=self.metrics.flush)
        limits = UserLimits()
        self.usage = Usage(
            config.activity,
            proven,
            UsageCounts(),
            on_flush=self.metrics.usage_flush,
            on_totals=limits.learn_totals,
        )
        self.upkeep = Upkeep(proven)
        findings = ShadowFindings(proven)
        self.metrics.watch("shadow_findings_left_out", lambda: findings.left_out)
        budget = TokenBuckets(config.keys.unknown_per_minute)
        grants = GrantCache(
            config.grants,
            proven,
            on_lookup=self.metrics.lookup,
            budget=budget,
            on_lost=self._lost,
            database=self.database,
        )
        stack.push_async_callback(grants.close)
        listen_url = config.database.listen_url
        listen_servers = servers if listen_url is None else Servers(read_dsn(listen_url))
        stack.callback(listen_servers.drop_abandoned)
        feed = ChangeFeed(
            partial(listen_servers.connect, "feed"),
            grants,
            poll_seconds=config.grants.poll_seconds,
            on_dropped=self.metrics.dropped,
            on_changes=lambda changes: self.revocation.changed(changes),
        )
        self._report(grants, feed)
        self.demand_reports = DemandReports(
            limits, proven, from_start=any(each.user_limits for each in config.proxy.routes)
        )
        enforcement = Enforcement(
            RouteTable(config.proxy.routes, config.keys),
            grants,
            self.metrics,
            on_use=self.activity.touch,
            usage=self.usage.counts,
            accept_foreign=config.keys.accept_foreign,
            limits=limits,
        )
        try:
            self.front = FrontDoor(
                config.proxy, config.limits, enforcement, self.metrics, access_log, on_finding=findings.add
            )
        except (ValueError, OSError) as error:
            raise CannotServe(f"[proxy]: {_reason(error)}") from error

        self.revocation = Revocation(
            self.front.exchanges,
            grants,
            config.grants,
            read_at=lambda: feed.read_at,
            on_ended=self.metrics.revoked,
        )
        stack.push_async_callback(self.revocation.close)
        # Without this check, the first requests would be refused. An unresponsive database delays the start by 1 s.
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_CHECK_SECONDS):
                await health_check.check()
        self._run(stack, health_check.run())
        if not same_database:  # the health check does not see where it leads
            self._run(stack, self._admin_watch.run(lambda: self.database.health in (Health.UP, Health.READ_ONLY)))
        self._run(stack, feed.run())
        self._run(stack, self.revocation.run())
        self._run(stack, self.activity.run())
        self._run(stack, self.usage.run())
        self._run(stack, self.upkeep.run())
        self._run(stack, self.demand_reports.run())
        stack.push_async_callback(findings.close)
        self._run(stack, findings.run())
        admin = admin_app(
            config.admin,
            admin_connections.pool,
            example_request(config.proxy, config.keys.from_),
            guide(config.proxy, config.keys.from_),
            FrontDoorSettings(config.proxy, config.limits, config.keys, config.grants),
        )
        files = [*self.front.watched_files, *admin[WATCHED_FILES]]
        if self._secrets is not None and config.file.is_file():  # a pipe cannot be read again
            files.append(watched_credentials(config, admin[USE_CREDENTIALS], self._secrets))
        self._run(stack, FileWatch(files).run(self._signals.reload))
        self.internal_addresses = await self._open_internal_listeners(stack, admin)
        stack.push_async_callback(self.front.close)
        try:
            await self.front.start()
        except OSError as error:
            raise CannotServe(f"[proxy] listen {config.proxy.listen}: {_reason(error)}") from error
        self._opened = True

    def _report(self, grants: GrantCache, feed: ChangeFeed) -> None:
        """Register the gauges whose values are read at each scrape."""
        metrics, database, config = self.metrics, self.database, self.config
        metrics.watch_feed(lambda: database.feed_mode.value)
        metrics.watch("feed_lag_seconds", lambda: feed.lag_seconds)
        metrics.watch("revocation_bound_seconds", lambda: revocation_bound(database, config.grants))
        metrics.watch("grants_cached", lambda: len(grants))
        metrics.watch("keys_filtered", lambda: grants.filtered_keys)
        metrics.watch("activity_pending", lambda: self.activity.pending)
        metrics.watch("usage_pending", lambda: self.usage.pending)
        metrics.watch("keys_expiring", lambda: self.upkeep.keys_expiring)
        metrics.watch("limit_shares_age_seconds", lambda: self.demand_reports.age_seconds)
        metrics.watch("database_up", lambda: database.answers_lookups)
        metrics.watch("database_writable", lambda: database.writable and not self._admin_watch.fault)
        metrics.watch("accepting", lambda: self.front.accepting)
        metrics.watch("connections_refused", lambda: self.front.services.connections.refused)
        metrics.watch("log_lines_dropped", lambda: self._log_writer.dropped)

    def _lost(self, lost: Changes) -> None:
        self.metrics.dropped("refresh", len(lost.keys))
        self.revocation.changed(lost)

    async def _open_internal_listeners(self, stack: AsyncExitStack, admin: web.Application) -> dict[str, list[object]]:
        """Open the ops and admin listeners. Returns the real addresses of each one (port 0 picks a free port)."""
        ops, admin_settings = self.config.ops, self.config.admin
        addresses: dict[str, list[object]] = {}
        for listen, app in internal_listeners(
            ops_app(self.metrics, self._readiness), ops.listen, admin, admin_settings.listen
        ).items():
            settings = ops if listen == ops.listen else admin_settings
            runner = InternalRunner(app, shutdown_timeout=_INTERNAL_STOP_SECONDS)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            try:
                await start_listening(runner, settings)
            except OSError as error:
                table = "[ops]" if settings is ops else "[admin]"
                raise CannotServe(f"{table} listen {listen}: {_reason(error)}") from error
            addresses[listen] = list(runner.addresses)
        return addresses

    def _run(self, stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in the background until the service closes. If it ends earlier, the service stops."""
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._ended)
        stack.push_async_callback(cancel, task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            _log.critical("background_work_ended", exc_info=task.exception())
            self.broken = True
            self._signals.stop.set()

    def _readiness(self) -> tuple[bool, dict[str, str]]:
        """Return whether this process is ready for requests, with details.

        It is ready once all listeners are open and the database was reached with the right schema. An outage does not
        change that, but a drain does. Probes are answered even before the front door opens.
        """
        health = self.database.health
        if health is Health.UP and self._admin_watch.fault:
            health = Health.READ_ONLY
        details = {"database": health.value}
        if self.draining:
            details["draining"] = "yes"
        return self._opened and self.database.schema_proven and not self.draining, details

    async def drain(self, hurry: asyncio.Event) -> bool:
        """Stop serving. Return whether all activity and usage was written.

        `hurry` ends the wait for clients, and for a database that does not answer.
        """
        self.draining = True
        self.activity.write_through()
        delay, timeout = self.config.drain.delay_seconds, self.config.drain.timeout_seconds
        end = asyncio.get_running_loop().time() + delay + timeout
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await hurry.wait()
        if not await unless(hurry, self.front.drain(timeout - min(_WRITING_SECONDS, timeout * _WRITING_SHARE))):
            _log.warning("cut_open_exchanges", open=self.metrics.exchanges_open)
        await self.front.close()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end - _LAST_WRITE_SECONDS - _EXIT_SECONDS):
                await unless(hurry, self._written())
        written = all(
            await asyncio.gather(self.activity.drain(_LAST_WRITE_SECONDS), self.usage.drain(_LAST_WRITE_SECONDS))
        )
        if not written:
            # The database does not answer. Lookups in flight would wait another 5 s to release their connections.
            self._pool.terminate()
        return written

    async def _written(self) -> None:
        """Wait until all activity and usage is written."""
        await asyncio.gather(self.activity.written(), self.usage.written())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()


async def serve(
    config: Config,
    signals: Signals,
    log: BackgroundWriter,
    *,
    secrets: KnownSecrets | None = None,
    opened: Callable[[], None] = lambda: None,
) -> int:
    """Serve until a signal, and return the exit code. `opened` is called when the listeners are open.

    With `secrets`, which the log masks, the credentials of admins are read again when their files change.
    Raises CannotServe, and the errors of EmbeddedServer.
    """
    signals.listen()
    descriptors.raise_limit()
    async with AsyncExitStack() as stack:
        service = await unless(signals.stop, stack.enter_async_context(Service(config, signals, log, secrets)))
        if service is None:
            return 0
        spare_collections()
        _log.info("listening", front=service.front.addresses, back=service.internal_addresses)
        opened()
        await signals.stop.wait()
        written = await service.drain(signals.hurry)
        stopped_well = written and not service.broken
    _log.info("stopped")
    return 0 if stopped_well else 1


def spare_collections() -> None:
    """Exclude everything that exists from garbage collections, and collect less often.

    A collection delays all requests, because it visits every container, including those of all modules. Requests leave
    almost no garbage for it: reference counts free their objects.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTION_THRESHOLDS)


def _reason(error: Exception) -> str:
    """Return the message of an error, preferably the operating system's."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__

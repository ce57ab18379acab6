"""Checks whether notifications about changes arrive (LISTEN), and whether the change feed can be read."""

import asyncio
from typing import Final

import asyncpg

from proxy.grants.feed_connection import FeedConnection, FeedUnavailable
from sitelatch.database import opened_database
from sitelatch.doctor.dsns import LISTEN_URL, URL, Dsns
from sitelatch.doctor.finding import Finding, Status
from sql.pool import connected
from sql.queries import query

_WAKE_FEEDS = query("wake_feeds")

_SECONDS: Final = 3.0
"""How long a notification may take."""


async def feed_findings(dsns: Dsns) -> list[Finding]:
    """Return the findings about the DSN with which the change feed is read."""
    config = dsns.config
    place = URL if config.database.listen_url is None else LISTEN_URL
    if reason := dsns.why_unusable(place) or dsns.why_unusable(URL):
        return [Finding(Status.SKIPPED, "listen", reason)]
    named = dsns.named(place)
    # A connection of its own: a notification to itself would say nothing about the others.
    async with (
        opened_database(dsns.settings()[place], config.directory) as dsn,
        connected(dsn, role="command") as listener,
    ):
        try:
            arrives = await _notification_arrives(listener, notifier=dsns.connections[URL])
        except FeedUnavailable as error:
            message = f"{named}: the change feed cannot be read: {error}. Run `sitelatch migrate`, and let the DSN "
            return [Finding(Status.PROBLEM, "listen", message + "lead to the primary.")]
    if arrives:
        return [Finding(Status.OK, "listen", f"{named}: notifications about changes arrive.")]
    message = f"{named}: no notification about a change arrives, so changes are seen only every "
    message += f"{config.grants.poll_seconds:g} s. If a pooler is in between, set database.listen_url to a DSN that "
    message += "leads to the server without it (docs/pgbouncer.md)."
    return [Finding(Status.WARNING, "listen", message)]


async def _notification_arrives(listener: asyncpg.Connection, *, notifier: asyncpg.Connection) -> bool:
    """Send a notification, and return whether it arrives. The feeds of running processes then look for changes, too."""
    arrived = asyncio.Event()
    feed = FeedConnection(listener)
    _, listens = await feed.attach(on_notification=arrived.set, on_end=lambda: None)
    await feed.newest()
    if not listens:
        return False
    await notifier.execute(_WAKE_FEEDS)
    try:
        async with asyncio.timeout(_SECONDS):
            await arrived.wait()
    except TimeoutError:
        return False
    return True

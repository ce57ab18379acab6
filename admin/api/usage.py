"""The usage of API users: of one, of several on the last days, and of all as lines to export."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal, NamedTuple
from uuid import UUID

from asyncpg import Record

from admin.api.response_models import Page, UsageInterval, UsageLine, UsageSummaries, UsageSummary, User, UserUsage
from admin.api.user_list import LIST_ACTIVITY
from admin.api.users import get_user
from admin.api.workspaces import workspace_ids
from admin.connections import Connection
from admin.identity.admins import WorkspaceLimit
from proxy.upkeep import DAYS_KEPT, HOURS_KEPT_DAYS
from proxy.usage_counts import PASSED
from sql.queries import query

UsageBy = Literal["hour", "day"]

SUMMARY_DAYS: Final = 30
_USAGE_BY_HOUR = query("usage_by_hour")
_USAGE_BY_DAY = query("usage_by_day")
_EXPORT = {"hour": query("export_usage_by_hour"), "day": query("export_usage_by_day")}


class Period(NamedTuple):
    """The hours or days from the one with `since` to the one before `until` (UTC)."""

    by: UsageBy
    since: datetime
    until: datetime

    @property
    def ends(self) -> tuple[datetime, datetime]:
        """The first and the last moment, as timestamps without a time zone."""
        return self.since.replace(tzinfo=None), self.until.replace(tzinfo=None) - timedelta(microseconds=1)


def period(by: UsageBy, since: datetime | None, until: datetime | None, *, now: datetime | None = None) -> Period:
    """Return a period, limited to the time for which usage is kept."""
    now = now or datetime.now(UTC)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    kept = today - timedelta(days=HOURS_KEPT_DAYS if by == "hour" else DAYS_KEPT)
    default = kept if by == "hour" else today - timedelta(days=SUMMARY_DAYS - 1)
    since = max(default if since is None else since, kept)
    since = since.replace(minute=0, second=0, microsecond=0)
    if by == "day":
        since = since.replace(hour=0)
    until = min(now if until is None else until, now)
    return Period(by, since, max(until, since + timedelta(microseconds=1)))


async def user_usage(
    connection: Connection, user_id: str, when: Period, *, within: WorkspaceLimit = None
) -> tuple[User, UserUsage]:
    """Return an API user, without its sites, and its usage. Raises NotFound."""
    user = await get_user(connection, user_id, within=within, sites=0)
    if when.by == "hour":
        rows = await connection.fetch(_USAGE_BY_HOUR, UUID(user.id), *when.ends)
    else:
        rows = await connection.fetch(_USAGE_BY_DAY, [user.id], *when.ends)
    return user, UserUsage(by=when.by, since=when.since, until=when.until, items=_intervals(rows))


def _intervals(rows: Iterable[Record]) -> list[UsageInterval]:
    """Return the intervals of these rows, each of which has one outcome, in order."""
    intervals: dict[datetime, UsageInterval] = {}
    for row in rows:
        at = _moment(row["at"])
        interval = intervals.get(at) or UsageInterval(at=at, passed=0, refused={}, bytes_out=0)
        if row["outcome"] == PASSED:
            changes = {
                "passed": interval.passed + row["requests"],
                "bytes_out": interval.bytes_out + (row["bytes_out"] or 0),
            }
        else:
            refused = interval.refused.get(row["outcome"], 0) + row["requests"]
            changes = {"refused": {**interval.refused, row["outcome"]: refused}}
        intervals[at] = interval.model_copy(update=changes)
    return list(intervals.values())


def lines_of(user: User, usage: UserUsage) -> list[UsageLine]:
    """Return the usage of one API user as lines of an export."""

    def line(interval: UsageInterval, outcome: str, requests: int, bytes_out: int | None) -> UsageLine:
        return UsageLine(
            at=interval.at,
            id=user.id,
            name=user.name,
            workspace=user.workspace,
            outcome=outcome,
            requests=requests,
            bytes_out=bytes_out,
        )

    return [
        line(interval, *counted)
        for interval in usage.items
        for counted in (
            *(((PASSED, interval.passed, interval.bytes_out),) if interval.passed or interval.bytes_out else ()),
            *((code, count, None) for code, count in sorted(interval.refused.items())),
        )
    ]


async def summarize_usage(
    connection: Connection, user_ids: Sequence[UUID], *, within: WorkspaceLimit = None
) -> UsageSummaries:
    """Return how many requests of these users passed on each of the last SUMMARY_DAYS days."""
    when = period("day", None, None)
    days = [when.since.date() + timedelta(days=number) for number in range(SUMMARY_DAYS)]
    rows = await connection.fetch(
        LIST_ACTIVITY, [str(user_id) for user_id in user_ids], await workspace_ids(connection, within)
    )
    visible = [str(row["user_id"]) for row in rows]
    passed: dict[str, dict[date, int]] = {}
    for row in await connection.fetch(_USAGE_BY_DAY, visible, *when.ends):
        if row["outcome"] == PASSED:
            by_day = passed.setdefault(str(row["user_id"]), {})
            by_day[row["at"]] = by_day.get(row["at"], 0) + row["requests"]
    return UsageSummaries(
        since=when.since,
        items=[
            UsageSummary(id=user_id, passed=[by_day.get(day, 0) for day in days]) for user_id, by_day in passed.items()
        ],
    )


async def export_usage(
    connection: Connection, when: Period, *, within: WorkspaceLimit = None, after: str | None = None, limit: int = 500
) -> Page[UsageLine]:
    """Return a page of the usage of all API users in workspaces, by day, user and outcome.

    Without a limit to workspaces, it includes the usage of deleted users. `limit` counts rows that are read, so a page
    can have fewer lines, or 24 times as many.
    """
    first, last = when.ends
    cursor = (None, None, None) if after is None else _read_cursor(after)
    rows = await connection.fetch(
        _EXPORT[when.by], first.date(), last.date(), *cursor, limit, await workspace_ids(connection, within)
    )
    lines = [
        UsageLine(
            at=_moment(row["at"]),
            id=str(row["user_id"]),
            name=row["name"],
            workspace=row["workspace"],
            outcome=row["outcome"],
            requests=row["requests"],
            bytes_out=row["bytes_out"],
        )
        for row in rows
        if row["visible"] and first <= row["at"] <= last
    ]
    places = list(dict.fromkeys((row["day"], row["user_id"], row["outcome"]) for row in rows))
    return Page(items=lines, next=" ".join(map(str, places[-1])) if len(places) == limit else None)


def _read_cursor(after: str) -> tuple[date, UUID, str]:
    day, user_id, outcome = after.split(" ")
    return date.fromisoformat(day), UUID(user_id), outcome


def _moment(at: date) -> datetime:
    """Return the UTC time of a day, or of a timestamp without a time zone."""
    if isinstance(at, datetime):
        return at.replace(tzinfo=UTC)
    return datetime(at.year, at.month, at.day, tzinfo=UTC)

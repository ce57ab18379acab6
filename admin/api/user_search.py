"""Finds the next API users of a list that meet all conditions, quickly even if only a few do.

The planner of PostgreSQL cannot estimate how many users match a search, or where in an order they are. So there are
these steps, and most lists need only the first or the first two:

1. The next NEAR users in the order are checked one by one. If many pass, this fills a page.
2. If at least one in a hundred passed, more users are checked, until they fill a page.
3. A random sample of the users shows how many meet each condition, and where in the order those are that meet all of
   them. From this, `search_plan` chooses an index that finds few candidates, which are looked up and sorted.
4. If no index finds few, the next FAR users are checked. The page may then be incomplete: the list goes on after the
   last user that was checked.
"""

from collections.abc import Iterable, Sequence
from math import sqrt
from typing import Final, NamedTuple, Self

from asyncpg import Record

from admin.api.list_conditions import Condition, Email, Expiry, LastUse, Parameters, Person, Term, within
from admin.api.response_models import Count
from admin.api.search_plan import MOST_CANDIDATES, Plan, Sampled, Source, fewest, plan
from admin.api.user_order import ORDERS, Order, Picked
from admin.connections import Connection
from sql.queries import query

NEAR: Final = 500
FAR: Final = 10_000
COUNTED: Final = 10_000
"""The highest number of users that is counted exactly."""
SAMPLED: Final = 1000
_TOO_MANY: Final = 1_000_000
_WORTH_A_TABLE: Final = 10
"""The size limit of the hash table, as a multiple of the number of users that are looked up in it."""
_MOST_COUNTED: Final = 12_000
"""How many candidates are looked up to count."""
_DEVIATIONS: Final = 4
"""The number of standard deviations by which the number of users in the sample may be too high."""

_WALK = query("walk_users")
_LOOK_UP = query("look_up_users")
_GATHER = query("gather_users")
_SAMPLE = query("sample_users")
_FIRST = query("first_users")
_COUNT_FEW = query("count_few")
_COUNT_RELATED = query("count_related")
_NUMBER_PART = query("number_part")
_COUNT_CANDIDATES = query("count_candidates")
_OF_WORKSPACES = query("users_of_workspaces")


class Found(NamedTuple):
    """The next users of a list."""

    users: list[Picked]
    resume: Picked | None
    """The user after which the list goes on, if users after these were not checked yet."""


async def find_users(
    connection: Connection,
    order: Order,
    workspaces: list[str] | None,
    last: Picked | None,
    conditions: Sequence[Condition],
    limit: int,
) -> Found:
    """Return the next users after `last` that meet all conditions, at most `limit`."""
    if not conditions:
        parameters = Parameters(workspaces, limit, *(last or (None, None)))
        statement = order.pick(NO_LAST_USE.filters(parameters))
        return Found(_picked(await connection.fetch(statement, *parameters.values)), None)
    search = await _Search.prepare(connection, order, workspaces, conditions)
    # A walk reads this number of users from each workspace.
    near, far = (
        max(count // len(workspaces or (0,)), limit) for count in (NEAR, FAR if search.are_checks_cheap else FAR // 4)
    )
    walk = await search.walk(last, near)
    found = walk.passing[:limit]
    missing = limit - len(found)
    if walk.last is not None and 0 < 2 * missing * near <= far * len(walk.passing):
        walk = await search.walk(walk.last, 2 * missing * near // len(walk.passing))
        found += walk.passing[:missing]
        missing = limit - len(found)
    if walk.last is None or not missing:
        return Found(found, None)
    gathered = await search.gather(walk.last, missing, far)
    if gathered is None:
        walk = await search.walk(walk.last, far)
        gathered = Found(walk.passing[:missing], None if len(walk.passing) >= missing else walk.last)
    return Found(found + gathered.users, gathered.resume)


async def count_matching_users(
    connection: Connection, workspaces: list[str] | None, conditions: Sequence[Condition]
) -> Count:
    """Return how many users meet all conditions, up to COUNTED."""
    search = await _Search.prepare(connection, ORDERS["-created"], workspaces, conditions)
    return await search.count()


class _Walk(NamedTuple):
    """The users that were checked one by one."""

    passing: list[Picked]
    last: Picked | None
    """The last one that was checked, or None at the end of the list."""


class _Sample(NamedTuple):
    rows: list[Sampled]
    users: list[Picked]
    weight: float


class _Search:
    """A list of users, and the queries that read it."""

    def __init__(
        self,
        connection: Connection,
        order: Order,
        workspaces: list[str] | None,
        conditions: Sequence[Condition],
        sources: Sequence[Source],
    ) -> None:
        self._connection = connection
        self._order = order
        self._workspaces = workspaces
        self._conditions = conditions
        self._sources = sources

    @classmethod
    async def prepare(
        cls, connection: Connection, order: Order, workspaces: list[str] | None, conditions: Sequence[Condition]
    ) -> Self:
        """Read how many users have a key or a site that matches each word, and how many the workspaces have."""
        parameters = Parameters()
        limit = parameters.add(workspaces)
        counts = [
            " + ".join(map(_counted, condition.related(parameters, limit), condition.few))
            if isinstance(condition, Term)
            else "0"
            for condition in conditions
        ]
        if workspaces is not None:
            counts.append(_counted(_OF_WORKSPACES.format(workspaces=limit), MOST_CANDIDATES))
        statement = _COUNT_RELATED.format(counts=", ".join(counts), workspaces=limit)
        [row] = await connection.fetch(statement, *parameters.values)
        related = [int(count) for count in row["counts"]]
        sources = []
        for number, condition in enumerate(conditions):
            is_named = condition.named(Parameters(), "", "") is not None
            can_be_bounded = is_named and not order.by_activity
            sources.append(Source(number, related[number], can_be_bounded))
        if workspaces is not None:
            sources.append(Source(None, related[len(conditions)], can_be_bounded=False))
        return cls(connection, order, workspaces, conditions, sources)

    @property
    def are_checks_cheap(self) -> bool:
        """Whether it takes little time to check a user, because few users have a key or a site that matches a word."""
        return all(source.related < _TOO_MANY for source in self._sources[: len(self._conditions)])

    async def walk(self, last: Picked | None, count: int) -> _Walk:
        """Check the next `count` users after `last`."""
        parameters = Parameters(self._workspaces, count, *(last or (None, None)))
        [last_use] = [each for each in self._conditions if isinstance(each, LastUse)] or [NO_LAST_USE]
        picks_never_used = last_use == NEVER_USED and self._order.column == "created_at"
        conditions = self._conditions
        if self._order.by_activity or picks_never_used:
            conditions = [condition for condition in conditions if condition is not last_use]
        filters = (last_use if self._order.by_time else NO_LAST_USE).filters(parameters)
        pick = self._order.pick(filters, of_never_used=last_use.never_used)
        only_activity = all(isinstance(condition, LastUse) for condition in conditions)
        user_row = "(SELECT picked.id) AS u" if only_activity else "sitelatch.api_users u WHERE u.id = picked.id"
        statement = _WALK.format(pick=pick, passes=self._passes(conditions, parameters, "$1", count), user_row=user_row)
        rows = await self._connection.fetch(statement, *parameters.values)
        passing = _picked(row for row in rows if row["passes"])
        is_end = not rows or rows[-1]["place"] < count
        return _Walk(passing, None if is_end else _picked(rows[-1:])[0])

    async def gather(self, last: Picked | None, limit: int, worth: int) -> Found | None:
        """Return the next users after `last`, found through an index. None if that would not pass `worth` users."""
        sample = await self._sample(last)
        chosen = plan(sample.rows, sample.weight, self._sources, limit, worth)
        if chosen is None:
            return None
        bound = None if chosen.bound is None else sample.users[chosen.bound]
        parameters = Parameters()
        workspaces = parameters.add(self._workspaces)
        statement = _GATHER.format(
            **self._order.words,
            found=self._found(chosen, parameters, workspaces, last, bound),
            follows=self._order.between(parameters.add, "found", last, bound),
            count=parameters.add(limit),
        )
        users = _picked(await self._connection.fetch(statement, *parameters.values))
        return Found(users, None if len(users) == limit else bound)

    def _found(
        self, chosen: Plan, parameters: Parameters, workspaces: str, last: Picked | None, bound: Picked | None
    ) -> str:
        """Return the query for the users that pass among those that the chosen source finds, up to `bound`."""
        passes = self._passes(self._conditions, parameters, workspaces, MOST_CANDIDATES)
        limits = "" if bound is None else self._order.limits(parameters.add, last, bound)
        columns = f"u.id, {self._sorted_by} AS sorted_by"
        named, related = self._source(chosen.source, parameters, workspaces, columns, f"{limits} AND {passes}")
        if related:
            look_up = _LOOK_UP.format(
                related=" UNION ".join(related), workspaces=workspaces, columns=columns, passes=passes
            )
            return f"{named} UNION {look_up}" if named else look_up
        return named or ""

    def _source(
        self, number: int, parameters: Parameters, workspaces: str, columns: str, limits: str
    ) -> tuple[str | None, Sequence[str]]:
        """Return the query for the users that a source finds by their own rows, and those for related rows."""
        if number == len(self._conditions):
            return None, [_OF_WORKSPACES.format(workspaces=workspaces)]
        condition = self._conditions[number]
        limits = f"{within('u', workspaces)}{limits}"
        return condition.named(parameters, columns, limits), condition.related(parameters, workspaces)

    async def count(self) -> Count:
        """Count the users that pass among the candidates of the index that finds the fewest."""
        sample = await self._sample(None)
        passing = sum(all(row.meets) for row in sample.rows)
        if (passing - _DEVIATIONS * sqrt(passing)) * sample.weight > COUNTED:
            return Count(count=COUNTED, more=True)
        chosen = fewest(sample.rows, sample.weight, self._sources)
        parameters = Parameters()
        workspaces = parameters.add(self._workspaces)
        named, related = self._source(chosen.source, parameters, workspaces, "u.id", "")
        most = _MOST_COUNTED if self.are_checks_cheap else _MOST_COUNTED // 4
        parts = [*([named] if named else []), *related]
        statement = _COUNT_CANDIDATES.format(
            parts=" UNION ALL ".join(
                _NUMBER_PART.format(users=_first(part, most), number=number) for number, part in enumerate(parts)
            ),
            workspaces=workspaces,
            most=most,
            passes=self._passes(self._conditions, parameters, workspaces, most),
        )
        [row] = await self._connection.fetch(statement, *parameters.values)
        more = row["passing"] > COUNTED or row["more"]
        return Count(count=min(row["passing"], COUNTED), more=more)

    async def _sample(self, last: Picked | None) -> _Sample:
        """Read a random sample of the users, and keep those that follow `last`."""
        parameters = Parameters()
        workspaces = parameters.add(self._workspaces)
        conditions = self._conditions
        passes = [self._passes([condition], parameters, workspaces, SAMPLED) for condition in conditions]
        statement = _SAMPLE.format(
            workspaces=workspaces,
            size=SAMPLED,
            sorted_by=self._sorted_by,
            flags=", ".join(f"{expression} AS meets_{number}" for number, expression in enumerate(passes)),
        )
        rows = await self._connection.fetch(statement, *parameters.values)
        meets = {row["id"]: [row[f"meets_{number}"] for number in range(len(conditions))] for row in rows}
        users = self._order.sort(user for user in _picked(rows) if last is None or self._order.follows(user, last))
        sampled = [Sampled(meets[user.id], user.sorted_by is not None) for user in users]
        return _Sample(sampled, users, rows[0]["weight"] if rows else 1.0)

    def _passes(self, conditions: Iterable[Condition], parameters: Parameters, workspaces: str, checked: int) -> str:
        """Return the expression for whether a user meets the conditions, if it checks so many users.

        Cheap conditions come first. A hash table of all users with a matching key or site is worth it if it is small.
        """
        expressions = []
        for condition in sorted(conditions, key=lambda condition: _RANKS.get(type(condition), 2)):
            source = self._sources[self._conditions.index(condition)]
            related = None
            if isinstance(condition, Term) and source.related <= min(_TOO_MANY - 1, _WORTH_A_TABLE * checked):
                parts = condition.related(parameters, workspaces)
                related = " UNION ALL ".join(map(_first, parts, condition.few))
            expressions.append(f"({condition.passes(parameters, related)})")
        return " AND ".join(expressions) or "true"

    @property
    def _sorted_by(self) -> str:
        if self._order.by_activity:
            return "(SELECT a.last_used_at FROM sitelatch.api_user_activity a WHERE a.user_id = u.id)"
        return f"u.{self._order.column}"


NO_LAST_USE: Final = LastUse(never_used=False, unused_days=None)
NEVER_USED: Final = LastUse(never_used=True, unused_days=None)


_RANKS: Final = {Email: 0, Expiry: 0, Person: 1, LastUse: 3, Term: 4}


def _first(users: str, most: int) -> str:
    """Return the query for the first users that a query returns, up to one more than `most`."""
    return f"({_FIRST.format(users=users, most=most)})"


def _counted(users: str, few: int) -> str:
    """Return the expression for how many users a query returns, or TOO_MANY if there are more than `few`."""
    return _COUNT_FEW.format(users=_first(users, few), few=few, too_many=_TOO_MANY)


def _picked(rows: Iterable[Record]) -> list[Picked]:
    return [Picked(row["sorted_by"], row["id"]) for row in rows]

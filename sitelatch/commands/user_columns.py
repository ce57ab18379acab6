"""How the command shows API users: the columns of lists, and sentences about one user. No I/O."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from admin.api.response_models import KeyView, User
from admin.api.sites import Removal
from proxy.decision.limits import described_limits, read_limits
from sitelatch.commands.tables import Column

NAMED: Final = 10
"""How many sites or API users a sentence names."""
_SITES_DESCRIBED: Final = 20
"""For how many sites a question says who loses access."""


def terminal_columns(now: datetime, *, with_workspace: bool) -> list[Column[User]]:
    """Return the columns of the list on a terminal. The last ones are left out if they do not fit."""
    columns = [
        Column("NAME", name_of, least=12),
        Column("KEY", _hints, least=13),
        Column("SITES", lambda user: _access(user, now), least=9),
        Column("LAST ACTIVITY", lambda user: ago(user.last_activity, now)),
        Column("ID", lambda user: user.id, least=9, is_optional=True),
        Column("WORKSPACE", lambda user: user.workspace, least=9, is_optional=True),
        Column("AUTHORIZED BY", _person, least=13, is_optional=True),
    ]
    return [column for column in columns if with_workspace or column.title != "WORKSPACE"]


def name_of(user: User) -> str:
    """Return the name of an API user, as the page shows it."""
    return user.name or "Unnamed"


def _hints(user: User) -> str:
    return " ".join(key.hint for key in user.keys)


def _person(user: User) -> str:
    return f"{user.authorized_by.name} <{user.authorized_by.email}>"


def _access(user: User, now: datetime) -> str:
    """Return a summary of the sites that the API user can access now."""
    if user.disabled_at is not None:
        return "disabled"
    if user.keys and all(_has_ended(key.expires_at, now) or _has_ended(user.expires_at, now) for key in user.keys):
        return "expired"
    if user.all_sites:
        return "all sites"
    return user.sites[0] if user.site_count == 1 else counted(user.site_count, "site")


def _has_ended(end: datetime | None, now: datetime) -> bool:
    return end is not None and end <= now


def _listed_sites(user: User) -> str:
    if user.all_sites:
        return "all sites"
    more = user.site_count - len(user.sites)
    return " ".join(user.sites) + (f" and {more} more" if more else "")


def ago(moment: datetime | None, now: datetime) -> str:
    """Return how long ago the moment was, or its date if that was long ago."""
    if moment is None:
        return "never"
    past = now - moment
    for limit, unit, name in (
        (timedelta(hours=1), timedelta(minutes=1), "min"),
        (timedelta(days=1), timedelta(hours=1), "h"),
        (timedelta(days=100), timedelta(days=1), "d"),
    ):
        if past < limit:
            count = past // unit
            return f"{count} {name} ago" if count > 0 else "just now"
    return moment.date().isoformat()


PROGRAM_COLUMNS: Final[Sequence[Column[User]]] = (
    Column("ID", lambda user: user.id),
    Column("KEY", _hints),
    Column("WORKSPACE", lambda user: user.workspace),
    Column("SITES", _listed_sites),
    Column("AUTHORIZED BY", _person),
    Column(
        "LAST ACTIVITY", lambda user: user.last_activity.isoformat(" ", "seconds") if user.last_activity else "never"
    ),
    Column("NAME", lambda user: user.name or ""),
)
"""The columns of the list if standard output is not a terminal. Scripts rely on their order."""

CSV_COLUMNS: Final[Mapping[str, Callable[[User], str]]] = {
    "id": lambda user: user.id,
    "name": lambda user: user.name or "",
    "workspace": lambda user: user.workspace,
    "all_sites": lambda user: "true" if user.all_sites else "false",
    "sites": lambda user: ";".join(user.sites),
    "keys": lambda user: ";".join(key.hint for key in user.keys),
    "authorized_by_name": lambda user: user.authorized_by.name,
    "authorized_by_email": lambda user: user.authorized_by.email,
    "created_at": lambda user: _time(user.created_at),
    "last_activity": lambda user: _time(user.last_activity),
    "disabled_at": lambda user: _time(user.disabled_at),
    "expires_at": lambda user: _time(user.expires_at),
    "methods": lambda user: ";".join(user.methods or ()),
    "networks": lambda user: ";".join(user.networks or ()),
    "requests_per_second": lambda user: _number(user.requests_per_second),
    "burst": lambda user: _number(user.burst),
    "requests_per_day": lambda user: _number(user.requests_per_day),
}


def _number(number: float | None) -> str:
    return "" if number is None else f"{number:.12g}"


def _limit(user: User) -> str:
    limits = read_limits(user.requests_per_second, user.burst, user.requests_per_day)
    return "" if limits is None else described_limits(limits)


def _time(moment: datetime | None, separator: str = "T") -> str:
    return "" if moment is None else moment.isoformat(separator, "seconds")


def details(user: User, now: datetime) -> list[tuple[str, str]]:
    """Return the details of one API user, each with its title."""
    keys = [f"{key.hint}, created {_time(key.created_at)}{_expiry(key)}{_use(user, key, now)}" for key in user.keys]
    used = f"{_time(user.last_activity)} ({ago(user.last_activity, now)})" if user.last_activity else "never"
    lines = [
        ("Name", name_of(user)),
        ("ID", user.id),
        ("Workspace", user.workspace),
        ("Sites", "all sites of the workspace" if user.all_sites else f"{user.site_count:,}"),
        *(("", site) for site in user.sites),
        *(("Key", key) for key in keys or ["none"]),
        ("Authorized by", _person(user)),
        ("Created", _time(user.created_at)),
        ("Last activity", used),
    ]
    conditions = [
        ("Disabled", _time(user.disabled_at)),
        ("Expires", _time(user.expires_at)),
        ("Methods", ", ".join(user.methods or ())),
        ("Networks", ", ".join(user.networks or ())),
        ("Limit", _limit(user)),
    ]
    return [*lines, *((title, text) for title, text in conditions if text)]


def _use(user: User, key: KeyView, now: datetime) -> str:
    return f", last used {ago(key.last_activity, now)}" if len(user.keys) > 1 else ""


def _expiry(key: KeyView) -> str:
    return f", expires {_time(key.expires_at)}" if key.expires_at else ""


def deletion_notice(user: User, now: datetime) -> str:
    """Return who loses access to what if the API user is deleted."""
    if user.all_sites:
        sites = f'all sites of the workspace "{user.workspace}"'
    else:
        sites = f'{counted(user.site_count, "site")} of the workspace "{user.workspace}"'
        sites += f": {some_of(user.sites)}" if user.sites else ""
    used = f"It was last used {ago(user.last_activity, now)}" if user.last_activity else "It was never used"
    return f"{named(user)}, authorized by {_person(user)}, loses access to {sites}. {used}."


def removal_notices(removals: Sequence[Removal]) -> list[str]:
    """Return who loses access to which site if the sites are removed. Only the first sites are described."""
    notices = [_removal_notice(removal) for removal in removals[:_SITES_DESCRIBED]]
    more = len(removals) - len(notices)
    return [*notices, f"{counted(more, 'more site')} will be removed."] if more else notices


def _removal_notice(removal: Removal) -> str:
    """Return who loses access to a site if it is removed."""
    site = f'access to the site "{removal.site}"'
    workspace = f'the workspace "{removal.workspace}"'
    all_sites = f"{_losing(removal.all_sites_count, f' for all sites of {workspace}')} {site}."
    if not removal.user_count:
        return all_sites if removal.all_sites_count else f"No API user of {workspace} loses {site}."
    names = some_of([named(user) for user in removal.users], removal.user_count)
    return f"{_losing(removal.user_count)} {site}: {names}." + (f" {all_sites}" if removal.all_sites_count else "")


def _losing(count: int, which: str = "") -> str:
    return f"{counted(count, 'API user')}{which} {'loses' if count == 1 else 'lose'}"


def named(user: User) -> str:
    """Return the name of an API user with the hints of its keys."""
    hints = _hints(user)
    return name_of(user) + (f" ({hints})" if hints else "")


def some_of(names: Sequence[str], count: int | None = None) -> str:
    """Return the first names as a list for a sentence, and how many more there are. `count` is that of all names."""
    more = (len(names) if count is None else count) - len(names[:NAMED])
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


def counted(count: int, what: str) -> str:
    """Return a number of things, such as "1 site" or "2 sites"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"

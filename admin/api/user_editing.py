"""Changes to API users, for the admin API and the command."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from admin.api.audit import Change, sites_detail, write_audit
from admin.api.response_models import User
from admin.api.user_conditions import check_limits, check_methods, check_networks
from admin.api.user_creation import CREATE_USER_SITES, MAX_SITES, check_sites
from admin.api.users import describe_users, lock_user, user_uuid
from admin.api.workspaces import workspace_id
from admin.connections import Connection, limit_lock_waits
from admin.identity.admins import Actor
from admin.problems import ChangedMeanwhile, Invalid
from admin.text_rules import check_name
from sql.queries import query

EDIT_USER = query("edit_user")
REMOVE_USER_SITES = query("remove_user_sites")

FIELDS: Final = (
    "name",
    "all_sites",
    "disabled",
    "expires_at",
    "methods",
    "networks",
    "requests_per_second",
    "burst",
    "requests_per_day",
)
"""The fields of an API user that can be changed, besides its sites."""


@dataclass(frozen=True, slots=True)
class SiteEdit:
    """Changes to the selected sites: a whole new list, or sites to add and to remove."""

    listed: Sequence[str] | None = None
    add: Sequence[str] = ()
    remove: Sequence[str] = ()


async def edit_user(
    connection: Connection,
    user_id: str,
    changes: Mapping[str, Any],
    *,
    sites: SiteEdit | None = None,
    versions: Collection[int] | None = None,
    by: Actor,
) -> User:
    """Change some FIELDS and the sites of an API user, and return the user. The audit entry lists the differences.

    `versions` are those that the caller may have read (None: any). Raises NotFound, Invalid, and ChangedMeanwhile if
    someone has changed the user since then.
    """
    key = user_uuid(user_id)
    checked = _checked(changes)
    async with connection.transaction():
        await limit_lock_waits(connection)
        await lock_user(connection, key, by)
        [before] = await describe_users(connection, [key], by.within)
        if versions is not None and before.version not in versions:
            raise ChangedMeanwhile("Someone has changed this API user in the meantime. Load it again.")
        wanted = {name: checked.get(name, getattr(before, name)) for name in FIELDS}
        if wanted["requests_per_second"] is None and "burst" not in checked:
            wanted["burst"] = None
        check_limits(wanted["requests_per_second"], wanted["burst"], wanted["requests_per_day"])
        added, removed = await _change_sites(connection, before, sites, all_sites=wanted["all_sites"], by=by)
        different = {name for name in FIELDS if wanted[name] != getattr(before, name)}
        if not (different or added or removed):
            return before
        await connection.execute(EDIT_USER, key, *(wanted[name] for name in FIELDS))
        if removed:
            await connection.execute(REMOVE_USER_SITES, key, removed)
        if added:
            owner = await workspace_id(connection, before.workspace, by.within)
            await connection.execute(CREATE_USER_SITES, key, owner, added)
        [after] = await describe_users(connection, [key], by.within)
        differences: dict[str, Any] = {
            name: {"from": _plain(getattr(before, name)), "to": _plain(getattr(after, name))}
            for name in FIELDS
            if name in different
        }
        if added or removed:
            differences["sites"] = {"added": sites_detail(added), "removed": sites_detail(removed)}
        detail = {"name": after.name, "keys": [each.hint for each in after.keys], "changes": differences}
        await write_audit(connection, by, "user.edited", [Change(after.workspace, after.id, detail)])
    return after


def _checked(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the new values of the fields as the database stores them. Raises Invalid."""
    checked = dict(changes)
    if checked.get("name") is not None:
        checked["name"] = check_name(checked["name"], "name")
    if "methods" in checked:
        checked["methods"] = check_methods(checked["methods"])
    if "networks" in checked:
        checked["networks"] = check_networks(checked["networks"])
    return checked


async def _change_sites(
    connection: Connection, before: User, edit: SiteEdit | None, *, all_sites: bool, by: Actor
) -> tuple[list[str], list[str]]:
    """Return the sites to add and to remove. New sites are locked against concurrent removal. Raises Invalid."""
    current = dict.fromkeys(before.sites)
    if all_sites:
        if edit is not None:
            raise Invalid.at(
                "sites", detail="Sites cannot be selected while all_sites is true. Set all_sites to false."
            )
        return [], list(current)
    if edit is None:
        if before.all_sites:
            raise Invalid.at("sites", detail="List at least one site, or keep all_sites.")
        return [], []
    listed = edit.listed
    # The place of each site in the request.
    places = _places(("sites",), listed) if listed is not None else _places(("sites", "add"), edit.add)
    gone = {} if listed is not None else _places(("sites", "remove"), edit.remove)
    if both := [site for site in places if site in gone]:
        raise Invalid.at(*gone[both[0]], detail=f'The site "{both[0]}" is to be added and removed.')
    unknown = {site: place for site, place in (places | gone).items() if site not in current}
    owner = await workspace_id(connection, before.workspace, by.within)
    await check_sites(connection, owner, before.workspace, unknown)
    kept = [site for site in current if site not in gone and (listed is None or site in places)]
    added = [site for site in places if site not in current]
    if not kept and not added:
        raise Invalid.at("sites", detail="At least one site must remain. To end all access, disable the API user.")
    if len(kept) + len(added) > MAX_SITES:
        raise Invalid.at("sites", detail=f"At most {MAX_SITES} sites can be selected. For more, set all_sites.")
    remaining = set(kept)
    return added, [site for site in current if site not in remaining]


def _places(parent: tuple[str, ...], sites: Sequence[str]) -> dict[str, tuple[str | int, ...]]:
    places: dict[str, tuple[str | int, ...]] = {}
    for place, site in enumerate(sites):
        places.setdefault(site, (*parent, place))
    return places


def _plain(value: Any) -> Any:
    """Return a value for the audit log's JSON."""
    return value.isoformat() if isinstance(value, datetime) else value

"""Creation of API users and their keys, for the admin API and the command."""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID, uuid4

from admin.api.audit import Change, write_audit
from admin.api.idempotency import claim_key
from admin.api.response_models import CreatedUser
from admin.api.sites import spellings
from admin.api.users import audit_detail, describe_users, get_user
from admin.api.workspaces import workspace_id
from admin.connections import Connection
from admin.identity.admins import Actor, WorkspaceLimit
from admin.key_encryption import KeyCipher
from admin.problems import Conflict, Fault, Invalid, NotFound, Place
from admin.text_rules import check_name, is_text
from proxy.decision.api_keys import digest, hint, new_key
from sql.queries import query

CREATE_USER = query("create_user")
CREATE_KEY = query("create_key")
SEAL_KEY = query("seal_key")
CREATE_USER_SITES = query("create_user_sites")
LOCK_SITES = query("lock_sites")

MAX_SITES: Final = 10_000


async def create_user(
    connection: Connection,
    *,
    workspace: str,
    all_sites: bool,
    sites: Sequence[str] | None,
    name: str | None,
    by: Actor,
    cipher: KeyCipher | None = None,
    idempotency_key: str | None = None,
) -> CreatedUser:
    """Create an API user for all sites of the workspace or for `sites`, and its key.

    With a `cipher`, the key is also stored encrypted and can be revealed later. A retry with the same `idempotency_key`
    returns the user that the first request created, without its key.

    Raises Invalid with a fault for each unknown site, Forbidden, KeyReused, KeyInUse, and Conflict if the user of a
    retry was deleted in the meantime.
    """
    wanted = _wanted_sites(all_sites, sites)
    if name is not None:
        name = check_name(name, "name")
    key = new_key()
    async with connection.transaction():
        owner = await workspace_id(connection, workspace, by.within)
        user_id = uuid4()
        if idempotency_key is not None:
            body = [workspace, all_sites, sorted(wanted), name]
            if first := await claim_key(connection, by.person, idempotency_key, body, user_id):
                return await _retried(connection, first, by.within)
        await check_sites(connection, owner, workspace, {site: ("sites", place) for site, place in wanted.items()})
        await connection.execute(CREATE_USER, user_id, owner, name, all_sites, by.person.name, by.person.email)
        await connection.execute(CREATE_KEY, user_id, digest(key.encode("ascii")), stored_hint(connection, key))
        if cipher is not None:
            await connection.execute(SEAL_KEY, digest(key.encode("ascii")), cipher.encrypt(user_id, key))
        if wanted:
            await connection.execute(CREATE_USER_SITES, user_id, owner, list(wanted))
        [user] = await describe_users(connection, [user_id], by.within)
        await write_audit(connection, by, "user.created", [Change(workspace, user.id, audit_detail(user))])
    return CreatedUser(**user.model_dump(), api_key=key)


def stored_hint(connection: Connection, key: str) -> str:
    """Return the hint of a key. Its ellipsis is three dots if the database's encoding may not have the character."""
    encoding = getattr(connection.get_settings(), "server_encoding", "UTF8")
    return hint(key) if encoding in ("UTF8", "SQL_ASCII") else hint(key).replace("…", "...")


async def _retried(connection: Connection, user_id: UUID, within: WorkspaceLimit) -> CreatedUser:
    """Return the user that the first request created, without its key, which only the first response contains."""
    try:
        user = await get_user(connection, str(user_id), within=within)
    except NotFound:
        raise Conflict(
            "The API user that this request created has been deleted. To create another, use a new Idempotency-Key."
        ) from None
    return CreatedUser(**user.model_dump(), api_key=None)


def _wanted_sites(all_sites: bool, sites: Sequence[str] | None) -> dict[str, int]:
    """Return the selected sites, each with its first index. Raises Invalid unless exactly one scope is given."""
    if all_sites and sites is not None:
        raise Invalid.at("sites", detail="Set either all_sites or sites, not both.")
    if not all_sites and not sites:
        raise Invalid.at("sites", detail="List at least one site, or set all_sites.")
    if sites is not None and len(sites) > MAX_SITES:
        raise Invalid.at("sites", detail=f"At most {MAX_SITES} sites can be selected. For more, set all_sites.")
    places: dict[str, int] = {}
    for place, site in enumerate(sites or ()):
        places.setdefault(site, place)
    return places


async def check_sites(connection: Connection, owner: int, workspace: str, wanted: Mapping[str, Place]) -> None:
    """Raise Invalid unless the workspace owns every site. Lock the sites against concurrent removal.

    `wanted` has the place of each site in the request. The error does not reveal whether another workspace has a site
    of that name.
    """
    storable = [site for site in wanted if is_text(site)]
    owned = {row["id"] for row in await connection.fetch(LOCK_SITES, owner, storable)}
    missing = [site for site in wanted if site not in owned]
    if not missing:
        return
    similar = await spellings(connection, owner, [site for site in missing if is_text(site)])
    faults = []
    for site in missing:
        meant = similar.get(site)
        advice = f'Did you mean "{meant}"?' if meant else "Add it first, or remove it from the list."
        faults.append(Fault(wanted[site], f'The workspace "{workspace}" has no site "{site}". {advice}'))
    raise Invalid.of(faults)

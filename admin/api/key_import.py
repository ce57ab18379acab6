"""Import of existing keys, each for an API user of its own. A dry run only reports what would change."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID, uuid4

import asyncpg

from admin.api.audit import Change, sites_detail, write_audit
from admin.api.key_file import KeyFile, ListedKey
from admin.api.site_file import LineFault
from admin.api.workspaces import known_workspaces, not_found, unknown_workspaces
from admin.connections import Connection, limit_lock_waits
from admin.identity.admins import Actor
from admin.key_encryption import KeyCipher
from admin.problems import Conflict
from proxy.decision.api_keys import PREFIX
from sql.queries import query

_KEEP_STATISTICS = query("keep_statistics")
_NOTE_KEYS_AT_ONCE = query("note_keys_at_once")
_NOTE_LARGE_CHANGE = query("note_large_change")
_KNOWN_KEYS = query("known_keys")
_KNOWN_SITES = query("known_sites")
_IMPORT_USERS = query("import_users")
_IMPORT_KEYS = query("import_keys")
_IMPORT_SEALED_KEYS = query("import_sealed_keys")
_IMPORT_USER_SITES = query("import_user_sites")
_LOCK_IMPORTED_USERS = query("lock_imported_users")
_CHANGE_IMPORTED_USERS = query("change_imported_users")
_CHANGE_IMPORTED_KEYS = query("change_imported_keys")
_REMOVE_OTHER_SITES = query("remove_other_sites")
_ADD_OTHER_SITES = query("add_other_sites")

_BATCH: Final = 250
"""How many keys are looked up or written at a time. On a busy server, a thousand took longer than a command may."""

_MANY: Final = 2000
"""More changes are announced to the front doors as one. Each front door then looks up all keys in use again."""

FOREIGN_KEYS_REFUSED: Final = (
    "The front door refuses keys in a format other than Sitelatch's own. Set accept_foreign = true in [keys]."
)
"""A warning for imports of such keys while `accept_foreign` is off."""

Outcome = Literal["new", "changed", "unchanged"]


class KnownKey(NamedTuple):
    """A key that the database has, and what its API user may access. Without a `user_id`, it was deleted."""

    user_id: str | None
    workspace: str
    all_sites: bool
    sites: tuple[str, ...]
    name: str | None
    expires_at: datetime | None
    deleted_at: datetime | None
    replaced: bool
    """Whether a rotation has given the API user a newer key."""

    @property
    def scope(self) -> tuple[object, ...]:
        """As in `ListedKey`."""
        return self.workspace, self.all_sites, () if self.all_sites else self.sites, self.expires_at


class KeyChange(NamedTuple):
    """What an import does with a key."""

    listed: ListedKey
    outcome: Outcome
    known: KnownKey | None


@dataclass(frozen=True, slots=True)
class KeyImport:
    """The result of an import. If there are faults, it changed nothing."""

    changes: tuple[KeyChange, ...]
    """The changes, or the changes that the lines without faults would make."""
    faults: tuple[LineFault, ...]
    """All faults of the file, in the order of the lines."""
    known_workspaces: str
    """If workspaces are missing, a sentence that names the known ones, unless there are many."""

    @property
    def has_foreign_keys(self) -> bool:
        """Whether there are keys in a format other than Sitelatch's own. A digest does not reveal the format."""
        return any(change.listed.key is None or not change.listed.key.startswith(PREFIX) for change in self.changes)

    def count(self, outcome: Outcome) -> int:
        """Return how many keys have this outcome."""
        return sum(change.outcome == outcome for change in self.changes)


async def import_keys(
    connection: Connection,
    file: KeyFile,
    *,
    by: Actor,
    cipher: KeyCipher | None = None,
    update: bool = False,
    dry_run: bool = False,
) -> KeyImport:
    """Import the keys of a file: all of them, or none if there are faults or it is a dry run.

    A known key with another scope is a fault without `update`, and a deleted key is one in any case. With a `cipher`,
    plaintext keys are also stored encrypted. Raises Conflict if something else changes the same keys or their sites.
    """
    try:
        async with connection.transaction():
            if not dry_run:
                await limit_lock_waits(connection)
                await connection.execute(_KEEP_STATISTICS)
            plan = await _plan(connection, file, by, update=update)
            if not plan.faults and not dry_run:
                if len(plan.changes) - plan.count("unchanged") > _MANY:
                    await connection.execute(_NOTE_LARGE_CHANGE)
                await connection.execute(_NOTE_KEYS_AT_ONCE)
                for batch in _batches([change for change in plan.changes if change.outcome == "new"]):
                    await _create(connection, batch, by, cipher)
                for batch in _batches([change for change in plan.changes if change.outcome == "changed"]):
                    await _change(connection, batch, by)
    except (asyncpg.UniqueViolationError, asyncpg.ForeignKeyViolationError, asyncpg.NotNullViolationError):
        raise Conflict(
            "Something else has changed these keys, sites or workspaces at the same time. Nothing was imported. Try "
            "again."
        ) from None
    except asyncpg.LockNotAvailableError:
        raise Conflict("Another import is running. Nothing was imported. Try again after it.") from None
    return plan


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


async def _plan(connection: Connection, file: KeyFile, by: Actor, *, update: bool) -> KeyImport:
    """Compare a file with the database."""
    unknown = await unknown_workspaces(connection, {listed.workspace for listed in file.keys}, by.within)
    faults = list(file.faults)
    changes = []
    for batch in _batches(file.keys):
        known = await _known_keys(connection, batch)
        sites = await _known_sites(connection, batch)
        for listed in batch:
            if listed.workspace in unknown:
                faults.append(LineFault(listed.line, not_found(listed.workspace)))
            elif missing := [site for site in listed.sites if (listed.workspace, site) not in sites]:
                detail = f'The workspace "{listed.workspace}" has no site "{missing[0]}". Add it first.'
                faults.append(LineFault(listed.line, detail))
            elif fault := _fault(listed, known.get(listed.digest), update=update):
                faults.append(LineFault(listed.line, fault, Conflict))
            else:
                changes.append(_outcome(listed, known.get(listed.digest), update=update))
    return KeyImport(
        tuple(changes),
        tuple(sorted(faults, key=lambda fault: fault.line or 0)),
        await known_workspaces(connection, by.within) if unknown else "",
    )


async def _known_keys(connection: Connection, batch: Sequence[ListedKey]) -> Mapping[bytes, KnownKey]:
    rows = await connection.fetch(_KNOWN_KEYS, [listed.digest.hex() for listed in batch])
    return {
        bytes.fromhex(row["digest"]): KnownKey(
            row["user_id"],
            row["workspace"] or "",
            bool(row["all_sites"]),
            tuple(sorted(row["sites"])),
            row["name"],
            row["expires_at"],
            row["deleted_at"],
            row["replaced"],
        )
        for row in rows
    }


async def _known_sites(connection: Connection, batch: Sequence[ListedKey]) -> set[tuple[str, str]]:
    wanted = sorted({(listed.workspace, site) for listed in batch for site in listed.sites})
    if not wanted:
        return set()
    rows = await connection.fetch(_KNOWN_SITES, [workspace for workspace, _ in wanted], [site for _, site in wanted])
    return {(row["workspace"], row["id"]) for row in rows}


def _fault(listed: ListedKey, known: KnownKey | None, *, update: bool) -> str | None:
    """Return a sentence if a key must not be imported."""
    if known is None:
        return None
    if known.user_id is None:
        when = f" on {known.deleted_at:%Y-%m-%d}" if known.deleted_at is not None else ""
        return f"This key was deleted{when}, and an import cannot restore it. Create a new key, or remove the line."
    if known.workspace != listed.workspace:
        # Limited admins do not learn which workspace it is.
        return "This key belongs to an API user of another workspace. Delete that one first."
    if known.scope != listed.scope and known.replaced:
        # Its expiry in the file is that from before the rotation, and would let the old key work again.
        return "A rotation has replaced this key, so an import cannot change it. Remove the line."
    if known.scope != listed.scope and not update:
        return "This key is known with another scope or expiry. Add --update to change it, or remove the line."
    return None


def _outcome(listed: ListedKey, known: KnownKey | None, *, update: bool) -> KeyChange:
    if known is None:
        return KeyChange(listed, "new", None)
    renamed = update and listed.name is not None and listed.name != known.name
    return KeyChange(listed, "changed" if known.scope != listed.scope or renamed else "unchanged", known)


async def _create(connection: Connection, batch: Sequence[KeyChange], by: Actor, cipher: KeyCipher | None) -> None:
    """Create an API user for each key."""
    keys = [change.listed for change in batch]
    ids = [uuid4() for _ in keys]
    texts = [str(user_id) for user_id in ids]
    hints = [_stored_hint(connection, listed.hint) for listed in keys]
    await connection.execute(
        _IMPORT_USERS,
        texts,
        [listed.workspace for listed in keys],
        [listed.name or "" for listed in keys],
        ["t" if listed.all_sites else "f" for listed in keys],
        by.person.name,
        by.person.email,
    )
    digests = [listed.digest.hex() for listed in keys]
    await connection.execute(_IMPORT_KEYS, texts, digests, hints, [_written(listed.expires_at) for listed in keys])
    if cipher is not None:
        sealed = [
            (listed.digest.hex(), cipher.encrypt(user_id, listed.key).hex())
            for user_id, listed in zip(ids, keys, strict=True)
            if listed.key is not None
        ]
        await connection.execute(_IMPORT_SEALED_KEYS, [digest for digest, _ in sealed], [text for _, text in sealed])
    await connection.execute(_IMPORT_USER_SITES, *_pairs(ids, keys))
    entries = [
        Change(
            listed.workspace,
            user_id,
            {
                "name": listed.name,
                "keys": [hint],
                "authorized_by": {"name": by.person.name, "email": by.person.email},
                "imported": True,
                **_scope_detail(listed.all_sites, listed.sites, listed.expires_at),
            },
        )
        for user_id, listed, hint in zip(texts, keys, hints, strict=True)
    ]
    await write_audit(connection, by, "user.created", entries)


async def _change(connection: Connection, batch: Sequence[KeyChange], by: Actor) -> None:
    """Change the scope of known keys to that in the file."""
    keys = [change.listed for change in batch]
    known = [change.known for change in batch if change.known is not None]
    ids = [UUID(each.user_id) for each in known]
    texts = [str(user_id) for user_id in ids]
    if len(await connection.fetch(_LOCK_IMPORTED_USERS, texts)) < len(set(texts)):
        raise Conflict("One of the API users was deleted in the meantime. Nothing was imported. Try again.")
    await connection.execute(
        _CHANGE_IMPORTED_USERS,
        texts,
        [listed.name or "" for listed in keys],
        ["t" if listed.all_sites else "f" for listed in keys],
    )
    await connection.execute(
        _CHANGE_IMPORTED_KEYS,
        [listed.digest.hex() for listed in keys],
        [_written(listed.expires_at) for listed in keys],
    )
    users, sites = _pairs(ids, keys)
    await connection.execute(_REMOVE_OTHER_SITES, users, sites, texts)
    await connection.execute(_ADD_OTHER_SITES, users, sites)
    entries = [
        Change(
            listed.workspace,
            user_id,
            {
                "name": listed.name or before.name,
                "keys": [_stored_hint(connection, listed.hint)],
                "before": {"name": before.name, **_scope_detail(before.all_sites, before.sites, before.expires_at)},
                "after": {
                    "name": listed.name or before.name,
                    **_scope_detail(listed.all_sites, listed.sites, listed.expires_at),
                },
            },
        )
        for user_id, listed, before in zip(texts, keys, known, strict=True)
    ]
    await write_audit(connection, by, "user.imported", entries)


def _pairs(ids: Sequence[UUID], keys: Sequence[ListedKey]) -> tuple[list[str], list[str]]:
    """Return the users and the sites of all authorizations."""
    pairs = [(str(user_id), site) for user_id, listed in zip(ids, keys, strict=True) for site in listed.sites]
    return [user_id for user_id, _ in pairs], [site for _, site in pairs]


def _scope_detail(all_sites: bool, sites: Sequence[str], expires_at: datetime | None) -> dict[str, Any]:
    scope: dict[str, Any] = {"all_sites": True} if all_sites else {"all_sites": False, **sites_detail(sites)}
    return scope if expires_at is None else {**scope, "expires_at": expires_at.isoformat()}


def _written(time: datetime | None) -> str:
    return "" if time is None else time.isoformat()


def _stored_hint(connection: Connection, hint: str) -> str:
    """Return a hint with three dots if the database's encoding may not have the ellipsis."""
    encoding = getattr(connection.get_settings(), "server_encoding", "UTF8")
    return hint if encoding in ("UTF8", "SQL_ASCII") else hint.replace("…", "...")

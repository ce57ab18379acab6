"""The endpoint that imports keys that clients already have."""

import asyncio
import base64
from typing import Final

from aiohttp import web

from admin.api.endpoints import Endpoint, endpoint
from admin.api.handlers import actor_of, json_response
from admin.api.key_file import Defaults, KeyFile, read_key_file
from admin.api.key_import import FOREIGN_KEYS_REFUSED, KeyImport, import_keys
from admin.api.request_models import ImportKeys
from admin.api.response_models import ImportFault, KeyImportResult
from admin.connections import Lanes
from admin.key_encryption import KeyCipher
from admin.problems import Conflict, Fault, Invalid, Problem

_MAX_KEYS: Final = 10_000
"""More keys would take longer than the page waits."""


class KeyImportEndpoints:
    """Import keys."""

    def __init__(self, lanes: Lanes, cipher: KeyCipher | None, *, accept_foreign: bool) -> None:
        self._lanes = lanes
        self._cipher = cipher
        self._accept_foreign = accept_foreign

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this group."""
        return [endpoint("POST", "/key-imports", self.import_keys, ImportKeys, {200: KeyImportResult}, Conflict)]

    async def import_keys(self, request: web.Request, body: ImportKeys) -> web.Response:
        """Import keys, each for an API user of its own: all of them, or none if a line has an error."""
        if (body.text is None) == (body.file is None):
            raise Invalid.at("text", detail="Set either text or file.")
        if body.all_sites and body.sites:
            raise Invalid.at("sites", detail="Set either all_sites or sites, not both.")
        file = await asyncio.to_thread(_read, body)
        async with self._lanes.changes.borrow() as connection:
            done = await import_keys(
                connection, file, by=actor_of(request), cipher=self._cipher, update=body.update, dry_run=body.dry_run
            )
        if done.faults and not body.dry_run:
            raise _refusal(done, "text" if body.file is None else "file")
        return json_response(
            KeyImportResult(
                imported=done.count("new"),
                changed=done.count("changed"),
                unchanged=done.count("unchanged"),
                warnings=[FOREIGN_KEYS_REFUSED] if done.has_foreign_keys and not self._accept_foreign else [],
                errors=[ImportFault(line=fault.line, detail=fault.detail) for fault in done.faults],
            )
        )


def _read(body: ImportKeys) -> KeyFile:
    try:
        content = base64.b64decode(body.file, validate=True) if body.file is not None else (body.text or "").encode()
    except UnicodeEncodeError:
        raise Invalid.at("text", detail="The text contains unpaired surrogates, which are not characters.") from None
    except ValueError:  # binascii.Error, or a character that is not ASCII
        raise Invalid.at("file", detail="The content of the file must be in Base64.") from None
    if content.count(b"\n") > _MAX_KEYS:
        raise Invalid.at(
            "text" if body.file is None else "file",
            detail=f"The file has more than {_MAX_KEYS:,} lines. Split it, or use the command `sitelatch import`.",
        )
    defaults = Defaults(body.workspace, body.all_sites, tuple(body.sites))
    return read_key_file(content, defaults, allow_weak=body.allow_weak)


def _refusal(done: KeyImport, field: str) -> Problem:
    """Return the problem of an import with faults: Conflict if all of them are, and otherwise Invalid."""
    kind = Conflict if {fault.problem for fault in done.faults} == {Conflict} else Invalid
    # The sentences name the lines; the pointer can only name the field with the file.
    problem = kind.of([Fault((field,), str(fault)) for fault in done.faults])
    return kind("\n".join(filter(None, (problem.detail, done.known_workspaces))), problem.faults)

"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a retried request creates only one API user.

The key is stored in the transaction that creates the API user. So neither exists without the other, a concurrent retry
waits for the end of that transaction, and a refused request does not use up its key.
"""

import json
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from admin.connections import Connection
from admin.identity.admins import Person
from admin.problems import Conflict, Fault, Invalid
from sql.queries import query

CLAIM_KEY = query("claim_idempotency_key")
PRUNE_KEYS = query("prune_idempotency_keys")

HEADER: Final = "Idempotency-Key"
KEPT_SECONDS: Final = 24 * 3600
PATTERN: Final = r'^(?:"[!#-\[\]-~]{1,255}"|[!#-+\--\[\]-~]{1,255})$'
"""A quoted string (RFC 9651) as the draft requires, or the same without quotes, as most clients send it."""
_PRUNE_BATCH: Final = 100
WAIT_SECONDS: Final = 10.0
"""How long a retry waits for the first request."""


class KeyReused(Invalid):
    """The key was used before with a different body."""

    code = "idempotency_key_reused"


class KeyInUse(Conflict):
    """The first request with the key is still in progress."""

    code = "idempotency_key_in_use"


def read_idempotency_key(lines: Sequence[str]) -> str | None:
    """Return the key in the header lines of a request, or None. Raises Invalid."""
    if not lines:
        return None
    if len(lines) > 1 or not re.fullmatch(PATTERN, lines[0]):
        detail = "must be one key of 1 to 255 printable ASCII characters without spaces, such as a UUID."
        raise Invalid(f"{HEADER} {detail}", (Fault((HEADER,), detail, in_parameter=True),))
    return lines[0].strip('"')


async def claim_key(
    connection: Connection, by: Person, key: str, body: Any, user_id: UUID, *, wait_seconds: float = WAIT_SECONDS
) -> UUID | None:
    """Claim the key for the user `user_id`, or return the user that an earlier request with it created.

    Call it inside the transaction that creates the user. Raises KeyReused, and KeyInUse if another request with this
    key does not end within `wait_seconds`.
    """
    digest = sha256(json.dumps(body).encode()).digest()
    try:
        await connection.execute(PRUNE_KEYS, KEPT_SECONDS, _PRUNE_BATCH, by.email, key, timeout=wait_seconds)
        [claimed] = await connection.fetch(CLAIM_KEY, by.email, key, digest, user_id, timeout=wait_seconds)
    except TimeoutError:
        raise KeyInUse(f"Another request with this {HEADER} is still in progress. Try again soon.") from None
    if claimed["request_digest"] != digest:
        raise KeyReused(f"This {HEADER} was used before with a different body. Use a new one for each new request.")
    return None if claimed["user_id"] == user_id else claimed["user_id"]

"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a wish that is sent twice is granted once.

The key is kept in the transaction that makes the API user. So there is never one without the other; who sends it again
meanwhile waits for that transaction's end; and a wish that was refused has used up nothing.
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
"""A string of RFC 9651 as the draft has it, or what most clients send: the same without quotes."""
_PRUNED_AT_ONCE: Final = 100
WAIT_SECONDS: Final = 10.0


class KeyReused(Invalid):
    """The key was sent before, with another body."""

    code = "idempotency_key_reused"


class KeyInUse(Conflict):
    """The first request with the key is not done: whether it will be granted nobody knows yet."""

    code = "idempotency_key_in_use"


def read_idempotency_key(lines: Sequence[str]) -> str | None:
    """Return the key of a request's header lines, None without one. Raises Invalid."""
    if not lines:
        return None
    if len(lines) > 1 or not re.fullmatch(PATTERN, lines[0]):
        detail = "must be one key of 1 to 255 printable ASCII characters without spaces, like a UUID."
        raise Invalid(f"{HEADER} {detail}", (Fault((HEADER,), detail, in_parameter=True),))
    return lines[0].strip('"')


async def made_before(
    connection: Connection, by: Person, key: str, wish: Any, user_id: UUID, *, wait_seconds: float = WAIT_SECONDS
) -> UUID | None:
    """Return the user that this wish made before; None: it is a new one, and `user_id` is to be made for it.

    Call it inside the transaction that makes the user. Raises KeyReused, and KeyInUse where a request with this key is
    under way and does not end for `wait_seconds`.
    """
    digest = sha256(json.dumps(wish).encode()).digest()
    try:
        await connection.execute(PRUNE_KEYS, KEPT_SECONDS, _PRUNED_AT_ONCE, by.email, key, timeout=wait_seconds)
        [kept] = await connection.fetch(CLAIM_KEY, by.email, key, digest, user_id, timeout=wait_seconds)
    except TimeoutError:
        raise KeyInUse(f"The request with this {HEADER} is still under way. Try again soon.") from None
    if kept["wish"] != digest:
        raise KeyReused(f"This {HEADER} was sent with another body before. Take a new one for each new wish.")
    return None if kept["user_id"] == user_id else kept["user_id"]

"""Opaque cursors for keyset pagination."""

import base64
import json
from datetime import UTC, datetime
from uuid import UUID

from admin.problems import Fault, Invalid


def write_cursor(value: datetime | None, last_id: UUID, *list_key: str | bool) -> str:
    """Return the cursor after the row with this sort value and id. `list_key` identifies the list."""
    text = None if value is None else value.isoformat()
    return base64.urlsafe_b64encode(json.dumps([*list_key, text, str(last_id)]).encode()).decode().rstrip("=")


def read_cursor(cursor: str, *list_key: str | bool, may_be_never: bool) -> tuple[datetime | None, UUID]:
    """Return the row's sort value and id. Raises Invalid if the cursor does not belong to this list.

    The sort value may be None only if `may_be_never` is set.

    Cursors need no signature: a forged cursor only selects another position in a list that the caller may read anyway.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        *key, text, last_id = json.loads(base64.b64decode(padded, altchars="-_", validate=True))
        if key == list(list_key):
            value = None if text is None and may_be_never else datetime.fromisoformat(text).astimezone(UTC)
            return value, UUID(last_id)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        pass
    fault = Fault(
        ("after",), "must be the `next` of a page of the same list. Start again without `after`.", in_parameter=True
    )
    raise Invalid(fault.detail, (fault,))

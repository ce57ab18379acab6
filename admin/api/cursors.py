"""Opaque cursors for keyset pagination."""

import base64
import json
from datetime import UTC, datetime
from uuid import UUID

from admin.problems import Fault, Invalid


def write_cursor(value: datetime | float, last_id: UUID, *list_key: str | bool) -> str:
    """Return the cursor after the row with this sort value and id. `list_key` identifies the list."""
    text = value.isoformat() if isinstance(value, datetime) else repr(value)
    return base64.urlsafe_b64encode(json.dumps([*list_key, text, str(last_id)]).encode()).decode().rstrip("=")


def read_cursor(cursor: str, *list_key: str | bool, by_time: bool) -> tuple[datetime | float, UUID]:
    """Return the row's sort value and id. Raises Invalid if the cursor does not belong to this list.

    Cursors need no signature: a forged cursor only selects another position in a list that the caller may read anyway.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        *key, text, last_id = json.loads(base64.b64decode(padded, altchars="-_", validate=True))
        if key == list(list_key):
            return datetime.fromisoformat(text).astimezone(UTC) if by_time else float(text), UUID(last_id)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        pass
    fault = Fault(
        ("after",), "must be the `next` of a page of the same list. Start again without `after`.", in_parameter=True
    )
    raise Invalid(fault.detail, (fault,))

"""Where a page ended, as an opaque text that asks for the next one (keyset pagination)."""

import base64
import json
from datetime import UTC, datetime
from uuid import UUID

from admin.problems import Fault, Invalid


def write_cursor(value: datetime | float, last_id: UUID, *made_for: str | bool) -> str:
    """Return the cursor after the row with this sorting value and id, of the list that `made_for` tells."""
    text = value.isoformat() if isinstance(value, datetime) else repr(value)
    return base64.urlsafe_b64encode(json.dumps([*made_for, text, str(last_id)]).encode()).decode().rstrip("=")


def read_cursor(cursor: str, *made_for: str | bool, by_time: bool) -> tuple[datetime | float, UUID]:
    """Return a row's sorting value and id. Raises Invalid where the cursor is not one of this list.

    A made-up one does no harm: it only moves within what its sender may see anyway.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        *of, text, last_id = json.loads(base64.b64decode(padded, altchars="-_", validate=True))
        if of == list(made_for):
            return datetime.fromisoformat(text).astimezone(UTC) if by_time else float(text), UUID(last_id)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        pass
    fault = Fault(
        ("after",), "This is not the `next` of a page of the same list. Begin without `after`.", in_parameter=True
    )
    raise Invalid(fault.detail, (fault,))

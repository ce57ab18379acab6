"""Opaque cursors for keyset pagination."""

import base64
import json
from datetime import UTC, datetime
from uuid import UUID

from admin.problems import Fault, Invalid
from admin.text_rules import is_text


def write_cursor(value: datetime | str | None, last_id: UUID, *list_key: str | bool) -> str:
    """Return the cursor after the row with this sort value and id. `list_key` identifies the list."""
    text = value.isoformat() if isinstance(value, datetime) else value
    fields = json.dumps([*list_key, text, str(last_id)], ensure_ascii=False)
    return base64.urlsafe_b64encode(fields.encode()).decode().rstrip("=")


def read_cursor(
    cursor: str, *list_key: str | bool, kind: type[datetime | str], nullable: bool
) -> tuple[datetime | str | None, UUID]:
    """Return the row's sort value and id. Raises Invalid if the cursor does not belong to this list.

    `kind` is the type of the sort value. It may be None only if `nullable` is set.

    Cursors need no signature: a forged cursor only selects another position in a list that the caller may read anyway.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        *key, text, last_id = json.loads(base64.b64decode(padded, altchars="-_", validate=True))
        if key == list(list_key):
            return _read_value(text, kind, nullable=nullable), UUID(last_id)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        pass
    fault = Fault(
        ("after",), "must be the `next` of a page of the same list. Start again without `after`.", in_parameter=True
    )
    raise Invalid(fault.detail, (fault,))


def _read_value(text: object, kind: type[datetime | str], *, nullable: bool) -> datetime | str | None:
    if text is None and nullable:
        return None
    if not isinstance(text, str) or not is_text(text):
        raise ValueError
    return text if kind is str else datetime.fromisoformat(text).astimezone(UTC)

"""Times in options: with a UTC offset, or as how long ago they were."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import click
from pydantic import TypeAdapter, ValidationError

from admin.api.request_models import Time

TIME_FORMS: Final = "as 2026-11-30T08:00:00Z, or 7d or 12h ago"
_TIME: Final = TypeAdapter(Time)
_AGO: Final = re.compile(r"(\d{1,5})([dh])")


def moment(_: click.Context, __: click.Parameter, text: str | None) -> datetime | None:
    """Return the time that an option gives, in UTC."""
    if text is None:
        return None
    if ago := _AGO.fullmatch(text):
        number = int(ago[1])
        return datetime.now(UTC) - (timedelta(days=number) if ago[2] == "d" else timedelta(hours=number))
    try:
        return _TIME.validate_python(text)
    except ValidationError as error:
        raise click.BadParameter(
            f"{error.errors()[0]['msg']} A number of days or hours, such as 7d, counts back."
        ) from None

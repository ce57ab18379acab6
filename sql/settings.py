"""`[database]` of the config file. Kept on the lowest floor, for the floors above hand it down."""

from pydantic import BaseModel, ConfigDict, Field


class DatabaseSettings(BaseModel):
    """Where PostgreSQL is: `embedded:DIR`, or a DSN for the doors' role."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # Both may hold a password, and whatever is printed ends in a log.
    url: str = Field(default="embedded:var/postgres", repr=False)
    listen_url: str | None = Field(default=None, repr=False)

"""The `[database]` section of the config file. It is in this package because every other package imports it."""

from pydantic import BaseModel, ConfigDict, Field


class DatabaseSettings(BaseModel):
    """Where PostgreSQL is: `embedded:DIR`, or a URL with the role for the front door."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # Both may contain a password, and a repr may end up in a log.
    url: str = Field(default="embedded:var/postgres", repr=False)
    listen_url: str | None = Field(default=None, repr=False)

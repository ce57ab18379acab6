"""`[database]` of the config file. Kept on the lowest floor, for the floors above hand it down."""

from pydantic import BaseModel, ConfigDict


class DatabaseSettings(BaseModel):
    """Where PostgreSQL is: `embedded:DIR`, or a DSN for the doors' role."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str = "embedded:var/postgres"
    listen_url: str | None = None

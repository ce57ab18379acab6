"""The base class of all config tables, and `[database]`. Both are in the lowest layer because all layers use them."""

from pydantic import BaseModel, ConfigDict, Field


class SettingError(ValueError):
    """A value is invalid, or conflicts with another one. `place` leads from the checked table or list to the value."""

    def __init__(self, message: str, *place: str | int) -> None:
        super().__init__(message)
        self.place = place


class Settings(BaseModel):
    """The base class of config tables. They are frozen, reject unknown keys, and do not repeat values in errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class DatabaseSettings(Settings):
    """`[database]`: `embedded:DIR`, or the DSN of the doors role."""

    # Excluded from repr, because a DSN may contain a password and a repr may end up in a log.
    url: str = Field(default="embedded:var/postgres", repr=False)
    listen_url: str | None = Field(default=None, repr=False)

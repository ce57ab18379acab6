"""The admin's part of the config file."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from admin.safe import read_secret
from admin.texts import is_text


def _secret(text: str) -> str:
    read_secret(text)
    return text


def _text(text: str) -> str:
    if not is_text(text):
        raise ValueError("must hold no control characters")
    return text


Text = Annotated[str, AfterValidator(_text)]


class TokenSettings(BaseModel):
    """One `[[admin.tokens]]` table: a person who may use the admin API with the token whose SHA-256 this is."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[Text, Field(min_length=1)]
    email: Annotated[Text, Field(min_length=3)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    workspaces: tuple[str, ...] | None = None


class AdminSettings(BaseModel):
    """`[admin]`: where the admin API is served, and to whom."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    listen: str = "127.0.0.1:9091"
    database_url: Annotated[str | None, Field(repr=False)] = None
    recoverable_keys: Annotated[Annotated[str, AfterValidator(_secret)] | None, Field(repr=False)] = None
    tokens: tuple[TokenSettings, ...] = ()

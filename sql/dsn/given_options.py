"""The options that a DSN, its service file and the environment give, and where each one comes from."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from sql.dsn.options import FIXED, FOREIGN, HONORED, REPLACED, SERVER_SETTINGS
from sql.dsn.service_file import read_service
from sql.dsn.syntax import BadDatabaseUrl, is_text, split_dsn

_VARIABLES = {
    **{variable: name for name, variable in HONORED.items() if variable},
    **{fixed.variable: name for name, fixed in FIXED.items() if fixed.variable},
}
_OPTION = re.compile(r"[A-Za-z][A-Za-z_]{0,39}")
"""Matches names that are shown in messages. Others do not look like an option of any driver, and may be secrets."""


@dataclass(frozen=True, slots=True)
class GivenOptions:
    """Options, keyed by name. `labels` says what to call those that are not in the DSN itself."""

    values: Mapping[str, str] = field(repr=False)
    labels: Mapping[str, str]
    warnings: tuple[str, ...]

    @classmethod
    def read(cls, text: str, environ: Mapping[str, str]) -> Self:
        """Collect the options and check that each one is known. Raises BadDatabaseUrl."""
        values = split_dsn(text)
        labels: dict[str, str] = {}
        _check_names(values, text)
        if service := values.get("service") or environ.get("PGSERVICE"):
            file, options = read_service(service, environ)
            for name, value in options.items():
                if values.setdefault(name, value) is value:
                    labels[name] = f"{name} in {file}"
        for variable, name in _VARIABLES.items():
            if variable in environ and name not in values:
                if not is_text(environ[variable]):
                    raise BadDatabaseUrl(f"{variable} must be UTF-8 text without control characters")
                values[name], labels[name] = environ[variable], variable
        return cls(values, labels, tuple(_check_fixed(values, labels)))

    def get(self, name: str) -> str:
        """Return the value of an option, or "" if it is not given."""
        return self.values.get(name, "")

    def label(self, name: str) -> str:
        """Return what to call an option in a message."""
        return self.labels.get(name, name)

    def choose(self, name: str, default: str, allowed: Sequence[str], hint: str = "") -> str:
        """Return the value of an option that has only the values `allowed`. Raises BadDatabaseUrl."""
        value = self.values.get(name, default)
        if value not in allowed:
            choices = f"{', '.join(allowed[:-1])} or {allowed[-1]}" if len(allowed) > 1 else allowed[0]
            raise BadDatabaseUrl(f"{self.label(name)} must be {choices}{hint}")
        return value


def _check_names(values: Mapping[str, str], text: str) -> None:
    """Raise BadDatabaseUrl for an option that is unknown or has another name in libpq."""
    for name in values:
        if name in HONORED or name in SERVER_SETTINGS or name in FIXED or name in FOREIGN:
            continue
        if name in REPLACED:
            raise BadDatabaseUrl(f'"{name}" is not an option of PostgreSQL. Write {REPLACED[name]} instead')
        if _may_be_password(values, text):
            raise BadDatabaseUrl(
                "has an option that PostgreSQL does not know. If it is a part of the password, percent-encode the "
                "password (& as %26, @ as %40), or put it into single quotes in a DSN like host=… password='…'"
            )
        if not any(known in HONORED for known in values):  # a line of a password file, for example
            raise BadDatabaseUrl(
                'must begin with "postgresql://", or be pairs like host=… user=…, with at least one option that '
                "PostgreSQL knows"
            )
        shown = f'"{name}"' if _OPTION.fullmatch(name) else "one of its options"
        raise BadDatabaseUrl(
            f'{shown} is not an option of PostgreSQL. Remove it. A setting of the server goes into "options", for '
            "example options=-c%20geqo%3Doff"
        )


def _may_be_password(values: Mapping[str, str], text: str) -> bool:
    """Return whether an unknown option can be a part of a password that is not encoded or quoted."""
    if not text.startswith("postgres"):
        return "password" in values
    query = text.partition("?")[2]
    return "password" in query or "@" in query


def _check_fixed(values: Mapping[str, str], labels: Mapping[str, str]) -> list[str]:
    """Return a warning for each option that is ignored. Raises BadDatabaseUrl for one that must not be ignored."""
    warnings = []
    for name, value in values.items():
        label = labels.get(name, name)
        if (reason := FOREIGN.get(name)) is not None:
            warnings.append(f"{label} is ignored: {reason}.")
        if (fixed := FIXED.get(name)) is None or value in fixed.values:
            continue
        if fixed.refused:
            allowed = " or ".join(filter(None, fixed.values))
            rule = f"must be {allowed}, because" if allowed else "is not possible:"
            raise BadDatabaseUrl(f"{label} {rule} {fixed.reason}")
        warnings.append(f"{label} is ignored: {fixed.reason}.")
    return warnings

"""Removes the secrets of the config, such as database passwords, from log lines.

The exceptions of libraries can quote their arguments, in any spelling. So the values are masked wherever they occur.
"""

import json
import re
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

from proxy.observe.redaction import MASK

_MIN_LENGTH: Final = 4
"""Shorter secrets are masked only after `user:` and `password=`, because they occur in ordinary text."""
_PLAIN: Final = ("time", "level", "logger")
"""Fields of a log line that no secret can be in."""
_CREDENTIALS: Final = re.compile(
    r"""
    ( :// [^\s:/@]* : ) ( \S{1,256} ) (?=@) |
    ( \b (?:ssl)?password [ ]?=[ ]? ) ( ' (?: [^'\\] | \\. )* ' | [^\s&]+ )
    """,
    re.VERBOSE,
)
"""The password of a URL or of a DSN. Its length is bounded, so that the cost grows no faster than the text."""


class KnownSecrets:
    """The secrets that this process knows."""

    def __init__(self) -> None:
        self._spellings: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, secrets: Iterable[str]) -> None:
        """Mask these secrets from now on."""
        for secret in secrets:
            if len(secret) >= _MIN_LENGTH:
                self._spellings.update(_spellings(secret))
        if self._spellings:
            longest_first = sorted(self._spellings, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)

    def mask(self, text: str) -> str:
        """Return a text without these secrets, and without the passwords of URLs."""
        if self._pattern is not None:
            text = self._pattern.sub(MASK, text)
        return _CREDENTIALS.sub(rf"\1\3{MASK}", text) if "@" in text or "password" in text else text

    def mask_event(self, _: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Mask the values of a log line, as a processor of structlog."""
        for key, value in event.items():
            if key not in _PLAIN:
                event[key] = self._mask_value(value)
        return event

    def _mask_value(self, value: Any) -> Any:
        match value:
            case str():
                return self.mask(value)
            case None | bool() | int() | float():
                return value
            case dict():
                return {key: self._mask_value(inner) for key, inner in value.items()}
            case list() | tuple():
                return [self._mask_value(inner) for inner in value]
            case _:
                return self.mask(repr(value))


def _spellings(secret: str) -> Iterator[str]:
    """Yield the spellings of a secret in URLs, in Python's representations and in JSON."""
    yield secret
    yield from (quote(secret), quote(secret, safe=""), quote_plus(secret))
    yield repr(secret)[1:-1]
    yield ascii(secret)[1:-1]
    yield repr(secret.encode("utf-8", "surrogatepass"))[2:-1]
    yield json.dumps(secret)[1:-1]

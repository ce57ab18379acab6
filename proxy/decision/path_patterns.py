"""Path templates of the config, compiled. No I/O."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import quote

from proxy.decision.path_readings import SEGMENT_END

SITE_MARK: Final = "{site}"
"""Stands for the site's id in templates."""
SITE_EXAMPLE: Final = "SITE"
"""Stands for the site's id in sentences."""


class PathPattern:
    """A path template. It matches a reading (`read_path`) exactly, or in any case, with or without a final slash."""

    __slots__ = ("_exact", "_lenient", "names_site")

    def __init__(self, template: str, *, prefix: bool = False) -> None:
        """`prefix` matches every path below the template, by whole segments. Raises ValueError."""
        if not template.startswith("/") or "?" in template or "#" in template or "%" in template:
            raise ValueError(
                f"{template!r} is not a path: write it decoded, beginning with `/`, without `?`, `#` or `%`"
            )
        if prefix:
            template = template.rstrip("/") or "/"
        segments = template.split("/")[1:]
        has_rest = segments[-1] == "**"
        if has_rest:
            segments.pop()
        if any("**" in segment for segment in segments):
            raise ValueError(
                f"{template!r}: `**` stands for the rest of the path, so it must be the whole last segment"
            )
        if (
            template.count(SITE_MARK) > 1
            or "{" in template.replace(SITE_MARK, "")
            or "}" in template.replace(SITE_MARK, "")
        ):
            raise ValueError(f"{template!r}: {SITE_MARK} is the only placeholder, and can occur once")
        if prefix and segments == [""]:
            segments = []  # "/" is a prefix of every path
        self.names_site = SITE_MARK in template
        named = [
            re.escape(SEGMENT_END) + re.escape(segment).replace(re.escape(SITE_MARK), f"([^{SEGMENT_END}]+)")
            for segment in segments
        ]
        rest = f"(?={SEGMENT_END}|\\Z)" if has_rest or prefix else "\\Z"
        self._exact = re.compile("".join(named) + rest, re.DOTALL)
        if named and not segments[-1]:
            named.pop()
        self._lenient = re.compile("".join(named) + f"{SEGMENT_END}?" + rest, re.DOTALL | re.IGNORECASE)

    @property
    def sources(self) -> tuple[str, str]:
        """The regular expressions of the exact and the lenient match."""
        return self._exact.pattern, self._lenient.pattern

    def match(self, reading: str, *, lenient: bool) -> re.Match[str] | None:
        """Match a reading. The first group is the site's id if the template has one."""
        return (self._lenient if lenient else self._exact).match(reading)


class FirstOf:
    """Several path templates without `{site}` as one regular expression, because a config may have many routes."""

    __slots__ = ("_exact", "_lenient")

    def __init__(self, patterns: Iterable[PathPattern]) -> None:
        sources = [pattern.sources for pattern in patterns]
        self._exact = re.compile("|".join(f"({exact})" for exact, _ in sources), re.DOTALL)
        self._lenient = re.compile("|".join(f"({lenient})" for _, lenient in sources), re.DOTALL | re.IGNORECASE)

    def match(self, reading: str, *, lenient: bool) -> int | None:
        """Return the index of the first template that matches a reading, or None."""
        found = (self._lenient if lenient else self._exact).match(reading)
        return None if found is None or found.lastindex is None else found.lastindex - 1


class Scope:
    """The paths on which a rule names the site."""

    __slots__ = ("_patterns",)

    def __init__(self, paths: Iterable[str]) -> None:
        self._patterns = [PathPattern(path) for path in paths]
        if any(pattern.names_site for pattern in self._patterns):
            raise ValueError(
                f'paths of a site rule cannot hold {SITE_MARK}: write them as "/api/query" or "/api/export/**"'
            )

    def holds(self, readings: Iterable[str]) -> bool | None:
        """Return whether a path with these readings is in the scope. None: readings differ."""
        found = {
            any(pattern.match(reading, lenient=lenient) for pattern in self._patterns)
            for reading in readings
            for lenient in (False, True)
        }
        return found.pop() if len(found) == 1 else None


def shown_path(template: str) -> str:
    """Return a template as it stands in a sentence: `/api/sites/SITE/…`."""
    return template.replace(SITE_MARK, SITE_EXAMPLE).replace("**", "…")


class SiteExample(NamedTuple):
    """How a request names a site. `{site}` stands for the site's id."""

    target: str
    """Percent-encoded, except for the mark."""
    header: tuple[str, str] | None = None
    """A header's name and value."""


def example_target(text: str) -> str:
    """Return text as it stands in an example's target: percent-encoded, except for marks."""
    return quote(text, safe="{}")

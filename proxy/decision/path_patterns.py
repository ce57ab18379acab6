"""Compiled path templates from the config. No I/O."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import quote

from proxy.decision.path_readings import SEGMENT_START

SITE_MARK: Final = "{site}"
"""The placeholder for the site's id in templates."""
SITE_EXAMPLE: Final = "SITE"
"""The placeholder for the site's id in texts for people."""


class PathPattern:
    """A path template. A literal match with a reading is exact. A lenient one ignores case and a final slash."""

    __slots__ = ("_exact", "_lenient", "names_site")

    def __init__(self, template: str, *, prefix: bool = False, formats: bool = False) -> None:
        """`prefix` makes the pattern match every path that begins with the template's segments.

        `formats` makes a lenient match also ignore a format at the end, such as `.json`. Raises ValueError.
        """
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
            re.escape(SEGMENT_START) + re.escape(segment).replace(re.escape(SITE_MARK), f"((?-i:[^{SEGMENT_START}]+))")
            for segment in segments
        ]
        rest = f"(?={SEGMENT_START}|\\Z)" if has_rest or prefix else "\\Z"
        self._exact = re.compile("".join(named) + rest, re.DOTALL)
        if named and not segments[-1]:
            named.pop()
        end = f"{SEGMENT_START}?{rest}"
        if formats:
            end = f"(?:{end}|\\.[^{SEGMENT_START}]*+{SEGMENT_START}?\\Z)"
        self._lenient = re.compile("".join(named) + end, re.DOTALL | re.IGNORECASE)

    @property
    def sources(self) -> tuple[str, str]:
        """The regular expressions of the exact and the lenient match."""
        return self._exact.pattern, self._lenient.pattern

    def match(self, reading: str, *, lenient: bool) -> re.Match[str] | None:
        """Match a reading. The first group is the site's id if the template has one."""
        return (self._lenient if lenient else self._exact).match(reading)


class FirstOf:
    """Matches several path templates without `{site}` with one regular expression, because there may be many."""

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
    """The paths to which a site rule applies."""

    __slots__ = ("_any", "patterns")

    def __init__(self, paths: Iterable[str]) -> None:
        self.patterns = [PathPattern(path) for path in paths]
        if any(pattern.names_site for pattern in self.patterns):
            raise ValueError(
                f'paths of a site rule cannot contain {SITE_MARK}: write them as "/api/query" or "/api/export/**"'
            )
        self._any = FirstOf(self.patterns)

    def holds(self, readings: Iterable[str]) -> bool | None:
        """Return whether a path with these readings is in the scope, or None if the readings differ on that."""
        holds: bool | None = None
        for reading in readings:
            # A reading that does not match leniently does not match exactly either.
            for lenient in (True, False):
                found = self.matches(reading, lenient=lenient)
                if holds is None:
                    holds = found
                elif holds is not found:
                    return None
                if not found:
                    break
        return holds

    def matches(self, reading: str, *, lenient: bool) -> bool:
        """Return whether one reading of a path is in the scope."""
        return self._any.match(reading, lenient=lenient) is not None


def shown_path(template: str) -> str:
    """Return a template as shown to people, such as `/api/sites/SITE/…`."""
    return template.replace(SITE_MARK, SITE_EXAMPLE).replace("**", "…")


class SiteExample(NamedTuple):
    """An example of a request that names a site. `{site}` stands for the site's id."""

    target: str
    """The example's target, percent-encoded except for `{site}`."""
    header: tuple[str, str] | None = None
    """A header's name and value."""


def example_target(text: str) -> str:
    """Return text for an example's target: percent-encoded, except for `{site}`."""
    return quote(text, safe="{}")

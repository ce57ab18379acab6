"""Site rules: where a request names its sites. Patterns of a config, compiled. No I/O."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from proxy.heads import FOLDED, Fields, fold_name
from proxy.refusals import AMBIGUOUS_REQUEST, Refused
from proxy.settings import HeaderRule, QueryRule
from proxy.target import SEGMENT_END, folded, means, pairs, text, value_readings

NO_SITE = "\0"
"""Before a value that fits no template: no site's id holds it, so no grant ever covers it."""

_PARAMETERS_READ = 256
"""A site must be named within so many parameters. PHP, Node.js, qs and Tomcat leave out those past 1,000 (empty ones
count), in silence, and can be told to leave out more: to them such a request would name no site."""

_MARK = "{site}"
_FIELD_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")


@dataclass(slots=True)
class Named:
    """What some part of a request names: sites, each once, in order, and whether a word for all of them."""

    sites: dict[str, None]
    every_site: bool = False

    @classmethod
    def none(cls) -> "Named":
        """Return what names nothing."""
        return cls({})


class PathPattern:
    """A path template. It matches a reading (target.path_readings) exactly, or without case and trailing slash."""

    __slots__ = ("_exact", "_lenient", "names_site")

    def __init__(self, template: str, *, prefix: bool = False) -> None:
        """`prefix` matches whatever begins with the template, by whole segments. Raises ValueError on a bad one."""
        if not template.startswith("/") or "?" in template or "#" in template or "%" in template:
            raise ValueError(f"{template!r} is no path: write it decoded, beginning with `/`, without `?`, `#` or `%`")
        if prefix:
            template = template.rstrip("/") or "/"
        segments = template.split("/")[1:]
        has_rest = segments[-1] == "**"
        if has_rest:
            segments.pop()
        if any("**" in segment for segment in segments):
            raise ValueError(f"{template!r}: `**` stands for the rest, so it can only be the whole last segment")
        if template.count(_MARK) > 1 or "{" in template.replace(_MARK, "") or "}" in template.replace(_MARK, ""):
            raise ValueError(f"{template!r}: {_MARK} is the only placeholder, and can stand there once")
        if prefix and segments == [""]:
            segments = []  # "/" is a prefix of every path
        self.names_site = _MARK in template
        named = [
            re.escape(SEGMENT_END) + re.escape(segment).replace(re.escape(_MARK), f"([^{SEGMENT_END}]+)")
            for segment in segments
        ]
        rest = f"(?:{SEGMENT_END}.*)?\\Z" if has_rest or prefix else "\\Z"
        self._exact = re.compile("".join(named) + rest, re.DOTALL)
        if named and not segments[-1]:
            named.pop()
        self._lenient = re.compile("".join(named) + f"{SEGMENT_END}?" + rest, re.DOTALL | re.IGNORECASE)

    def match(self, reading: str, *, lenient: bool) -> re.Match[str] | None:
        """Match a reading; the first group is the site's id where the template has one."""
        return (self._lenient if lenient else self._exact).match(reading)


class _ValueRule:
    """How the value of a parameter or header names sites."""

    __slots__ = ("_all", "_pattern", "_separator")

    def __init__(self, rule: QueryRule | HeaderRule) -> None:
        if rule.template.count(_MARK) != 1:
            raise ValueError(f"template {rule.template!r} must hold {_MARK} once")
        if rule.separator == "":
            raise ValueError("separator must not be empty: leave it out where a value names one site")
        self._separator = rule.separator
        self._all = rule.all
        before, after = rule.template.split(_MARK)
        self._pattern = (
            None if rule.template == _MARK else re.compile(f"{re.escape(before)}(.*){re.escape(after)}\\Z", re.DOTALL)
        )

    def named(self, value: str) -> Named:
        """Return what a decoded value names."""
        found = Named.none()
        if self._all is not None and value == self._all:
            found.every_site = True
            return found
        if self._pattern is not None:
            fits = self._pattern.match(value)
            if fits is None:
                found.sites[NO_SITE + value] = None
                return found
            value = fits[1]
        for part in value.split(self._separator) if self._separator else (value,):
            # A list in a header may hold spaces (RFC 9110 §5.6.1). No site's id has outer ones, so none is mistaken.
            site = part.strip(" \t") if self._separator else part
            if self._all is not None and site == self._all:
                found.every_site = True
            else:
                found.sites[site] = None
        return found


class QuerySiteRule(_ValueRule):
    """A query parameter that names sites."""

    __slots__ = ("_name", "folded_name")

    def __init__(self, rule: QueryRule) -> None:
        super().__init__(rule)
        if not rule.query:
            raise ValueError("query must be a parameter's name")
        self._name = rule.query
        self.folded_name = folded(rule.query)

    def read(self, query: bytes, into: Named) -> None:
        """Add what a query names. Raises Refused where a lenient reading names what the literal one does not."""
        if query.count(b"&") >= _PARAMETERS_READ:
            rest = b"&".join(query.split(b"&")[_PARAMETERS_READ:])
            if any(means(name, self.folded_name) for name, _ in pairs(rest, b"&;")):
                raise Refused(AMBIGUOUS_REQUEST)
        literal = Named.none()
        lenient = self._read_pairs(query, b"&", literal)
        _must_agree(literal, lenient)
        if b";" in query:
            _must_agree(literal, self._read_pairs(query, b"&;", Named.none()))
        _add(into, literal)

    def _read_pairs(self, query: bytes, separators: bytes, literal: Named) -> Named:
        """Return what any reading of these pairs names, and add to `literal` what the literal one does."""
        lenient = Named.none()
        for raw_name, value in pairs(query, separators):
            if means(raw_name, self.folded_name):
                readings = value_readings(value)
                for reading in readings:
                    _add(lenient, self.named(reading))
                if value_readings(raw_name)[0] == self._name:
                    _add(literal, self.named(readings[0]))
        return lenient


class HeaderSiteRule(_ValueRule):
    """A request header that names sites."""

    __slots__ = ("_name", "folded_name")

    def __init__(self, rule: HeaderRule) -> None:
        super().__init__(rule)
        if not _FIELD_NAME.match(rule.header):
            raise ValueError(f"{rule.header!r} is no header's name")
        self._name = rule.header.lower().encode()
        self.folded_name = fold_name(self._name)

    def read(self, fields: Fields, into: Named) -> None:
        """Add what the header names. Raises Refused where it is also spelt as only some read it."""
        literal, lenient = Named.none(), Named.none()
        for name, value in fields:
            if FOLDED[name] == self.folded_name:
                named = self.named(text(value))
                _add(lenient, named)
                if name.lower() == self._name:
                    _add(literal, named)
        _must_agree(literal, lenient)
        _add(into, literal)


_FORWARDED_HOST = re.compile(rb'host=\s*"?([^";,\s]+)', re.IGNORECASE)


class HostSiteRule:
    """A host name that holds the site's id."""

    __slots__ = ("_pattern",)

    def __init__(self, template: str) -> None:
        if template.count(_MARK) != 1 or not re.fullmatch(r"[a-z0-9.-]*\{site\}[a-z0-9.-]*", template):
            raise ValueError(f"host:{template}: write a lower-case host name that holds {_MARK} once, without a port")
        before, after = template.split(_MARK)
        self._pattern = re.compile(f"{re.escape(before)}(.+){re.escape(after)}\\Z", re.DOTALL)

    def read(self, fields: Fields, into: Named) -> None:
        """Add the site that Host names. Raises Refused where a host that a trusted proxy forwards names another."""
        found: list[str | None] = []
        for name, value in fields:
            lower = FOLDED[name]
            if lower == b"host":
                found.insert(0, self._site(value))
                found.append(self._site(value.partition(b":")[0].rstrip(b".")))
            elif lower == b"x-forwarded-host":
                found += [self._site(host.strip()) for host in value.split(b",")]
            elif lower == b"forwarded":
                found += [self._site(host) for host in _FORWARDED_HOST.findall(value)]
        if len(set(found)) > 1:
            raise Refused(AMBIGUOUS_REQUEST)
        if found and found[0] is not None:
            into.sites[found[0]] = None

    def _site(self, host: bytes) -> str | None:
        fits = self._pattern.match(re.sub(r":\d+\Z", "", text(host)).lower())
        return fits[1] if fits else None


def _add(into: Named, more: Named) -> None:
    into.sites.update(more.sites)
    into.every_site |= more.every_site


def _must_agree(literal: Named, lenient: Named) -> None:
    if lenient.sites.keys() != literal.sites.keys() or lenient.every_site != literal.every_site:
        raise Refused(AMBIGUOUS_REQUEST)


@dataclass(slots=True)
class SiteRules:
    """All site rules of a route, by the part of the request that they read."""

    paths: list[PathPattern]
    queries: list[QuerySiteRule]
    headers: list[HeaderSiteRule]
    hosts: list[HostSiteRule]

    @classmethod
    def compile(cls, rules: Iterable[str | QueryRule | HeaderRule]) -> "SiteRules":
        """Compile a route's `sites`. Raises ValueError that names the rule and how to mend it."""
        compiled = cls([], [], [], [])
        for rule in rules:
            if isinstance(rule, QueryRule):
                compiled.queries.append(QuerySiteRule(rule))
            elif isinstance(rule, HeaderRule):
                compiled.headers.append(HeaderSiteRule(rule))
            else:
                compiled._compile_short(rule)
        return compiled

    def _compile_short(self, rule: str) -> None:
        kind, _, rest = rule.partition(":")
        if kind == "path":
            pattern = PathPattern(rest)
            if not pattern.names_site:
                raise ValueError(f"{rule!r} names no site: put {_MARK} where the site's id stands")
            self.paths.append(pattern)
        elif kind == "query" and rest:
            self.queries.append(QuerySiteRule(QueryRule(query=rest)))
        elif kind == "header":
            self.headers.append(HeaderSiteRule(HeaderRule(header=rest)))
        elif kind == "host":
            self.hosts.append(HostSiteRule(rest))
        else:
            raise ValueError(
                f"{rule!r} is no site rule: write path:/…/{_MARK}/…, query:NAME, header:NAME or host:{_MARK}.…"
            )

    def site_in_path(self, reading: str, *, lenient: bool) -> str | None:
        """Return the site that a reading of the path names by the first rule that fits it, or None."""
        for pattern in self.paths:
            fits = pattern.match(reading, lenient=lenient)
            if fits:
                return fits[1]
        return None

"""Site rules: where a request names its sites. Patterns of a config, compiled. No I/O."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from proxy.decision.parameters import Name, Parameter, Query, value_readings
from proxy.decision.site_ids import MAX_LENGTH, by_folded_id
from proxy.decision.target import SEGMENT_END
from proxy.http.headers import FOLDED, Fields, fold_name
from proxy.http.percent_encoding import TOO_DEEP, text
from proxy.refusals import AMBIGUOUS_REQUEST, Refused
from proxy.settings import HeaderRule, QueryRule, ValueRule

NO_SITE = "\0"
"""Before a value that fits no template: no site's id holds it, so no grant ever covers it."""

_PARAMETERS_READ = 100
"""A site must be named within so many parameters (empty ones count). OpenResty's `get_uri_args` leaves out those past
100, in silence, and PHP, Node.js, qs and Tomcat those past 1,000. To them such a request would name no site."""

_SITES_READ = 64
"""Sites that one request may name. More would make a request without a key expensive."""

_MARK = "{site}"


_TOO_MANY_SITES = AMBIGUOUS_REQUEST.because(
    f"The request names more than {_SITES_READ} sites. Split it into several requests."
)


@dataclass(slots=True)
class Named:
    """What some part of a request names: sites, each once, in order, and whether a word for all of them."""

    sites: dict[str, None]
    every_site: bool = False

    @classmethod
    def none(cls) -> "Named":
        """Return what names nothing."""
        return cls({})

    def __bool__(self) -> bool:
        """Tell whether anything is named."""
        return bool(self.sites) or self.every_site

    def add(self, more: "Named") -> None:
        """Add what another part names. Raises Refused if that is too much."""
        self.sites.update(more.sites)
        self.every_site |= more.every_site
        if len(self.sites) > _SITES_READ:
            raise Refused(_TOO_MANY_SITES)

    def with_more(self, more: "Named") -> "Named":
        """Return this with what another part names added. Raises Refused if that is too much."""
        self.add(more)
        return self

    def is_within(self, allowed: "Named") -> bool:
        """Tell whether nothing is named but what is allowed."""
        return self.sites.keys() <= allowed.sites.keys() and (allowed.every_site or not self.every_site)

    def without_empty(self) -> "Named":
        """Return the same without empty names, which stand for no site where nothing needs one."""
        return Named({site: None for site in self.sites if site.strip()}, self.every_site)


def as_id(text: str) -> str:
    """Return what a request calls a site, never equal to a folded id (`by_folded_id`): only hosts may name those."""
    return NO_SITE + text if "/" in text else text


class PathPattern:
    """A path template. It matches a reading (`target.read_path`) exactly, or without case and trailing slash."""

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
        rest = f"(?={SEGMENT_END}|\\Z)" if has_rest or prefix else "\\Z"
        self._exact = re.compile("".join(named) + rest, re.DOTALL)
        if named and not segments[-1]:
            named.pop()
        self._lenient = re.compile("".join(named) + f"{SEGMENT_END}?" + rest, re.DOTALL | re.IGNORECASE)

    def match(self, reading: str, *, lenient: bool) -> re.Match[str] | None:
        """Match a reading; the first group is the site's id where the template has one."""
        return (self._lenient if lenient else self._exact).match(reading)


class _ValueRule:
    """How the value of a parameter or header names sites."""

    __slots__ = ("_all", "_patterns", "_separator", "is_plain", "scope")

    def __init__(self, rule: ValueRule) -> None:
        if rule.template is not None and rule.templates is not None:
            raise ValueError("a site rule has either template or templates, not both")
        for template in rule.forms:
            if template.count(_MARK) != 1:
                raise ValueError(f"template {template!r} must hold {_MARK} once")
        if rule.separator == "":
            raise ValueError("separator must not be empty: leave it out where a value names one site")
        self._separator = rule.separator
        self._all = rule.all
        self._patterns = (
            []
            if rule.forms == (_MARK,)
            else [
                re.compile(f"{re.escape(before)}(.*){re.escape(after)}\\Z", re.DOTALL)
                for before, _, after in (template.partition(_MARK) for template in rule.forms)
            ]
        )
        self.is_plain = rule.forms == (_MARK,) and rule.separator is None and rule.all is None
        """Whether a value is a site's id and nothing else."""
        self.scope = Scope(rule.paths) if rule.paths is not None else None
        """Where the rule names the site; None: everywhere."""

    def named(self, value: str) -> Named:
        """Return what a decoded value names. Raises Refused if that is too much."""
        found = Named.none()
        if self._all is not None and value == self._all:
            found.every_site = True
            return found
        if self._patterns:
            fits = next(filter(None, (pattern.match(value) for pattern in self._patterns)), None)
            if fits is None:
                found.sites[NO_SITE + value] = None
                return found
            value = fits[1]
        if self._separator and value.count(self._separator) >= _SITES_READ:
            raise Refused(_TOO_MANY_SITES)
        for part in dict.fromkeys(value.split(self._separator)) if self._separator else (value,):
            # A list in a header may hold spaces (RFC 9110 §5.6.1). No site's id has outer ones, so none is mistaken.
            site = part.strip(" \t") if self._separator else part
            if self._all is not None and site == self._all:
                found.every_site = True
            else:
                found.sites[as_id(site)] = None
        return found


class Scope:
    """The paths on which a rule names the site."""

    __slots__ = ("_patterns",)

    def __init__(self, paths: Iterable[str]) -> None:
        self._patterns = [PathPattern(path) for path in paths]
        if any(pattern.names_site for pattern in self._patterns):
            raise ValueError(
                f'paths of a site rule cannot hold {_MARK}: write them as "/api/query" or "/api/export/**"'
            )

    def holds(self, readings: Iterable[str]) -> bool | None:
        """Tell whether a path with these readings is in the scope; None if readings differ on that."""
        found = {
            any(pattern.match(reading, lenient=lenient) for pattern in self._patterns)
            for reading in readings
            for lenient in (False, True)
        }
        return found.pop() if len(found) == 1 else None


class TwoReadings:
    """What is named in each of the two right readings of a query: with `+` as itself, and as a space."""

    __slots__ = ("_form", "literal")

    def __init__(self) -> None:
        self.literal = Named.none()
        """As RFC 3986 reads it."""
        self._form: Named | None = None  # until it differs

    @property
    def form(self) -> Named:
        """As HTML forms are read, and most frameworks read every query."""
        return self.literal if self._form is None else self._form

    @property
    def differ(self) -> bool:
        """Whether the two name different sites."""
        return self._form is not None and self._form != self.literal

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TwoReadings) and (self.literal, self.form) == (other.literal, other.form)

    __hash__ = None  # type: ignore[assignment]

    def add(self, literal: Named, form: Named | None = None) -> None:
        """Add what is named; `form` is what the second reading names, where that differs."""
        if form is not None and self._form is None:
            self._form = Named(dict(self.literal.sites), self.literal.every_site)
        self.literal.add(literal)
        if self._form is not None:
            self._form.add(literal if form is None else form)


_LONGEST_ID = 12 * MAX_LENGTH
"""An id of 255 characters takes so many bytes at most, percent-encoded as UTF-8."""
_IMPOSSIBLE = Named({NO_SITE: None})
_LONGEST_VALUE = 8192
"""A cookie's value that is longer names no site that the query, which is not longer, could name too (bytes)."""
_VALUE_AND_PAIRS = re.compile(rb"[^;?]++(?:[;?][A-Za-z0-9_.-]++=[^;?]*+)++\Z")
_PLAIN_VALUE = re.compile(rb"[A-Za-z0-9._~-]*\Z")


class QuerySiteRule(_ValueRule):
    """A query parameter that names sites."""

    __slots__ = ("_ambiguous", "_holds_separators", "name", "raw_name", "text")

    def __init__(self, rule: QueryRule) -> None:
        super().__init__(rule)
        if not rule.query:
            raise ValueError("query must be a parameter's name")
        self.text = rule.query
        self.raw_name = rule.query.encode()
        self.name = Name(rule.query, array=rule.array)
        self._holds_separators = any(mark in part for mark in ";?" for part in (rule.separator or "", *rule.forms))
        self._ambiguous = AMBIGUOUS_REQUEST.because(
            f"The query parameter `{rule.query}` names the site, and servers differ in how they read it here. Send it "
            "spelled exactly so, percent-encoded at most once, among the first parameters, and separate parameters "
            "with `&` only: encode `;` as %3B and `?` as %3F in other values."
        )

    def read(self, query: Query, into: TwoReadings) -> None:
        """Add what a query names. Raises Refused if a lenient reading names something else than the literal one."""
        if query.is_late(_PARAMETERS_READ):
            raise Refused(self._ambiguous)
        if len(query.splits) == 1 and self._read_plain(query.splits[0], into):
            return
        literal: TwoReadings | None = None
        for parameters in query.splits:
            if any(self.name in each.meant and self.name.replaces(each.name) for each in parameters):
                raise Refused(self._ambiguous)
            every, exact = self._read(parameters)
            if literal is None:
                literal = exact
            if every != literal:
                raise Refused(self._ambiguous)
        if literal is not None:
            into.add(literal.literal, literal.form if literal.differ else None)

    def _read_plain(self, parameters: Sequence[Parameter], into: TwoReadings) -> bool:
        """Add what plain parameters name, which every reading reads alike; return False if one is not plain."""
        values: dict[str, None] = {}
        for parameter in parameters:
            if self.name in parameter.meant:
                if parameter.name != self.raw_name or not _PLAIN_VALUE.match(parameter.value):
                    return False
                values[parameter.value.decode("ascii")] = None
        if self.is_plain:
            into.add(Named(values))
        else:
            for value in values:
                into.add(self.named(value))
        return True

    def read_leniently(self, query: Query, into: TwoReadings) -> None:
        """Add every site that any reading of the query names, on a path where the rule proves nothing."""
        if len(query.splits) == 1 and self._read_plain(query.splits[0], into):
            return
        # Of `shop;a=1`, which is no site's id, what some servers find between the separators is what counts.
        whole, _ = self._read(
            each
            for each in query.splits[0]
            if not self.name.replaces(each.name) and (self._holds_separators or not _VALUE_AND_PAIRS.match(each.value))
        )
        finest, _ = self._read(each for each in query.splits[-1] if not self.name.replaces(each.name))
        for found in (whole, finest):
            literal, form = found.literal, found.form if found.differ else None
            if found is finest:
                literal, form = literal.without_empty(), form and form.without_empty()
            into.add(literal, form)

    def named_in_any_reading(self, raw_value: bytes) -> Named:
        """Return every site that some reading of a raw value names."""
        if len(raw_value) > _LONGEST_VALUE:
            return _IMPOSSIBLE
        found = Named.none()
        for reading in value_readings(raw_value).every():
            found.add(self.named(reading))
        return found

    def _read(self, parameters: Iterable[Parameter]) -> tuple[TwoReadings, TwoReadings]:
        """Return what any reading of the parameters names, and what those named literally do."""
        every, exact = TwoReadings(), TwoReadings()
        for parameter in parameters:
            if self.name not in parameter.meant:
                continue
            if len(parameter.value) > _LONGEST_ID and self._separator is None:
                if b"%25" in parameter.value:
                    raise Refused(TOO_DEEP)  # as for shorter values
                every.add(_IMPOSSIBLE)
                exact.add(_IMPOSSIBLE)
                continue
            value = value_readings(parameter.value)
            literal = self.named(value.literal)
            form = None if value.form == value.literal else self.named(value.form)
            every.add(literal, form)
            for deeper in value.deeper:
                every.add(self.named(deeper))
            if self.name.is_literal(parameter.name):
                exact.add(literal, form)
        return every, exact


class HeaderSiteRule(_ValueRule):
    """A request header that names sites."""

    __slots__ = ("_ambiguous", "_repeated", "folded_name", "name")

    def __init__(self, rule: HeaderRule) -> None:
        super().__init__(rule)
        if not re.fullmatch(r"[A-Za-z0-9_-]+", rule.header):
            raise ValueError(f"{rule.header!r} is not a header name that can be forwarded: use letters, digits and `-`")
        self.name = rule.header.lower().encode()
        self.folded_name = fold_name(self.name)
        self._ambiguous = AMBIGUOUS_REQUEST.because(
            f"The header `{rule.header}` names the site, and this request holds a look-alike of it, which some servers "
            f"read as the same header. Send `{rule.header}` only, spelled exactly so."
        )
        self._repeated = AMBIGUOUS_REQUEST.because(
            f"The header `{rule.header}` names the site, and this request holds it more than once. Some servers join "
            "the values with a comma, others read only the first or the last. Send it once."
        )

    def read(self, fields: Fields, dropped: Iterable[tuple[bytes, bytes]]) -> Named | None:
        """Return what the header names, or None without it. Raises Refused on a look-alike, forwarded or not."""
        if any(FOLDED[name] == self.folded_name for name, _ in dropped):
            raise Refused(self._ambiguous)
        value = self._value(fields)
        return None if value is None else self.named(text(value))

    def site_in(self, fields: Fields) -> str:
        """Return the site that the header names, which is there and plain. Raises Refused as `read` does. Hot."""
        return as_id(text(self._value(fields) or b""))

    def _value(self, fields: Fields) -> bytes | None:
        folded_name = self.folded_name
        found = [field for field in fields if FOLDED[field[0]] == folded_name]
        if len(found) == 1:
            name, value = found[0]
            if name.lower() != self.name:
                raise Refused(self._ambiguous)
            return value
        if not found:
            return None
        if any(name.lower() != self.name for name, _ in found):
            raise Refused(self._ambiguous)
        # WSGI and CGI servers join the values with a comma (RFC 3875 §4.1.18), which is right only for a plain list.
        if self._separator != "," or self._patterns:
            raise Refused(self._repeated)
        return b",".join([value for _, value in found])


_FORWARDED_HOST = re.compile(rb'host=\s*"?([^";,\s]+)', re.IGNORECASE)
_FORWARDED_HOST_NAMES = (b"x-forwarded-host", b"forwarded")
_LONGEST_FORWARDED = 2048
"""Of what a trusted proxy says, which a client may have begun (bytes)."""
_HOSTS_DIFFER = AMBIGUOUS_REQUEST.because(
    "Host and the host that a trusted proxy forwards name different sites. Let the proxy forward the client's Host."
)


class HostSiteRule:
    """A host name that holds the site's id, without case, as host names have none."""

    __slots__ = ("_pattern",)

    def __init__(self, template: str) -> None:
        if template.count(_MARK) != 1 or not re.fullmatch(r"[a-z0-9.-]*\{site\}(?:[a-z0-9.-]*[a-z0-9])?", template):
            raise ValueError(
                f"host:{template}: write a lower-case host name that holds {_MARK} once, without a port or a final dot"
            )
        before, after = template.split(_MARK)
        self._pattern = re.compile(f"{re.escape(before)}(.+){re.escape(after)}\\Z", re.DOTALL)

    def read(self, fields: Fields, into: Named) -> None:
        """Add the site that Host names. Raises Refused if a host that a trusted proxy forwards names another one."""
        found: list[str | None] = []
        forwarded = 0
        for name, value in fields:
            lower = FOLDED[name]
            if lower == b"host":
                found.insert(0, self._site(value))
                continue
            if lower in _FORWARDED_HOST_NAMES:
                forwarded += len(value)
                if forwarded > _LONGEST_FORWARDED:
                    raise Refused(_HOSTS_DIFFER)
            if lower == b"x-forwarded-host":
                found += [self._site(host.strip()) for host in value.split(b",")]
            elif lower == b"forwarded":
                found += [self._site(host) for host in _FORWARDED_HOST.findall(value)]
        if len(set(found)) > 1:
            raise Refused(_HOSTS_DIFFER)
        if found and found[0] is not None:
            into.sites[by_folded_id(found[0])] = None

    def _site(self, host: bytes) -> str | None:
        whole = text(host).lower()
        name, colon, port = whole.rpartition(":")
        fits = self._pattern.match((name if colon and port.isdecimal() else whole).removesuffix("."))
        return fits[1] if fits else None


@dataclass(slots=True)
class SiteRules:
    """All site rules of a route, by the part of the request that they read."""

    paths: list[PathPattern] = field(default_factory=list)
    queries: list[QuerySiteRule] = field(default_factory=list)
    headers: list[HeaderSiteRule] = field(default_factory=list)
    hosts: list[HostSiteRule] = field(default_factory=list)
    described: list[str] = field(default_factory=list)
    """The rules in words, in the order of the config, for those who are told to name a site."""

    @classmethod
    def compile(cls, rules: Iterable[str | QueryRule | HeaderRule]) -> "SiteRules":
        """Compile a route's `sites`. Raises ValueError that names the rule and how to mend it."""
        compiled = cls()
        for rule in rules:
            if isinstance(rule, str):
                compiled._compile_short(rule)
            else:
                compiled._compile_table(rule)
        return compiled

    def _compile_table(self, rule: QueryRule | HeaderRule) -> None:
        where = f" on {listed(rule.paths)}" if rule.paths is not None else ""
        if isinstance(rule, QueryRule):
            self.queries.append(QuerySiteRule(rule))
            self.described.append(f"the query parameter `{rule.query}`{where}")
        else:
            self.headers.append(HeaderSiteRule(rule))
            self.described.append(f"the header `{rule.header}`{where}")

    def _compile_short(self, rule: str) -> None:
        kind, _, rest = rule.partition(":")
        if kind == "path":
            pattern = PathPattern(rest)
            if not pattern.names_site:
                raise ValueError(f"{rule!r} names no site: put {_MARK} where the site's id stands")
            self.paths.append(pattern)
            self.described.append(f"the path `{rest}`")
        elif kind == "query" and rest:
            self._compile_table(QueryRule(query=rest))
        elif kind == "header":
            self._compile_table(HeaderRule(header=rest))
        elif kind == "host":
            self.hosts.append(HostSiteRule(rest))
            self.described.append(f"the host `{rest}`")
        else:
            raise ValueError(
                f"{rule!r} is not a site rule: write path:/…/{_MARK}/…, query:NAME, header:NAME or host:{_MARK}.…"
            )

    def site_in_path(self, reading: str, *, lenient: bool) -> str | None:
        """Return the site that a reading of the path names by the first rule that fits it, or None."""
        for pattern in self.paths:
            fits = pattern.match(reading, lenient=lenient)
            if fits:
                return as_id(fits[1])
        return None


def listed(names: Iterable[str]) -> str:
    """Return configured names as they stand in a sentence: `a`, `b`."""
    return ", ".join(f"`{name}`" for name in names)

"""Hostile spellings of "the other site": every known way to reach it with a key that covers only `own`.

Every suite that asks "can a key for one site reach another site?" uses this list. Suites without I/O use
`Spelling.fields` and `Spelling.target`, and suites with real sockets send `Spelling.raw(…)`. Bytes are never changed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

Fields = list[tuple[bytes, bytes]]

HOST = b"api.example.com"


class Expected(Enum):
    """The expected outcome of a spelling that is sent with a key for `own` only."""

    REFUSED = "refused"
    """Never forwarded: some reading (docs/decision.md) names `other`, or the literal one does not name just `own`."""
    DROPPED = "dropped"
    """Refused, or forwarded without the header fields of `Spelling.drops`."""
    EXOTIC = "exotic"
    """No listed reading names `other`. It may pass unchanged, and a real backend must not respond with `other`."""


class Shape(Enum):
    """The place where requests name their site. The value is `sites` of the route, as in the config file."""

    PATH = ("path:/api/sites/{site}/**",)
    DATASETTE = ("path:/{site}.json", "path:/{site}/**")
    QUERY = ("query:site",)
    QUERY_ID = ("query:site_id",)
    """A name with an underscore, which PHP also produces from dots, spaces and brackets."""
    HEADER = ("header:X-Site",)
    HOST = ("host:{site}.api.example.com",)


@dataclass(frozen=True)
class Spelling:
    """One hostile request, without a key. `fields` includes its Host lines."""

    name: str
    method: bytes
    target: bytes
    fields: Fields = field(hash=False)
    expected: Expected = Expected.REFUSED
    drops: tuple[bytes, ...] = ()
    """The lowercase names of the fields that must not be forwarded."""
    wire_only: bool = False
    """For real sockets only: the parser or the hop-by-hop rules must refuse it before the decision."""
    origin_form: bytes | None = None
    """The path and query of a target that is a complete URL of the host in Host."""

    @property
    def forwarded(self) -> bytes:
        """The target that the upstream gets, if the spelling passes."""
        return self.target if self.origin_form is None else self.origin_form

    def raw(self, *more: tuple[bytes, bytes]) -> bytes:
        """Return the whole request as it goes over the wire, with `more` fields (the key) at the end."""
        lines = [b"%b %b HTTP/1.1" % (self.method, self.target)]
        lines += [b"%b: %b" % pair for pair in [*self.fields, *more]]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def __str__(self) -> str:
        return self.name


def honest(site: str, shape: Shape) -> Spelling:
    """Return the plain request for `site`, which must pass. Suites compare hostile requests with it."""
    name, fields = site.encode(), [(b"Host", HOST)]
    match shape:
        case Shape.PATH:
            target = b"/api/sites/%b/x" % name
        case Shape.DATASETTE:
            target = b"/%b/x" % name
        case Shape.QUERY:
            target = b"/api/data?site=%b" % name
        case Shape.QUERY_ID:
            target = b"/api/data?site_id=%b" % name
        case Shape.HEADER:
            target = b"/api/data"
            fields.append((b"X-Site", name))
        case Shape.HOST:
            target = b"/api/data"
            fields = [(b"Host", b"%b.%b" % (name, HOST))]
    return Spelling("honest", b"GET", target, fields)


def spellings(own: str, other: str, shape: Shape) -> list[Spelling]:
    """Return every spelling for a route of this shape, each with its own name. Both sites are plain ASCII words."""
    mine, theirs = own.encode(), other.encode()
    found: Iterable[Spelling]
    match shape:
        case Shape.PATH:
            found = _paths(mine, theirs, b"/api/sites", [b"/x"])
        case Shape.DATASETTE:
            found = [*_paths(mine, theirs, b"", [b"/x", b".json"]), *_datasette(mine, theirs)]
        case Shape.QUERY:
            found = _queries(mine, theirs)
        case Shape.QUERY_ID:
            found = _query_ids(mine, theirs)
        case Shape.HEADER:
            found = _headers(mine, theirs)
        case Shape.HOST:
            found = _hosts(mine, theirs)
    every = [*found, *_around(honest(own, shape), honest(other, shape), theirs)]
    unique: dict[tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...]], Spelling] = {}
    for spelling in every:
        unique.setdefault((spelling.method, spelling.target, tuple(spelling.fields)), spelling)
    return list(unique.values())


# Paths.

UPS = (
    b"..",
    b"%2e%2e",
    b"%2E%2E",
    b"%2e%2E",
    b".%2e",
    b"%2e.",
    b"%252e%252e",
    b"%252E%252e",
    b"%252e.",
    b".%252e",
    b"%2e%252e",
    b"%25252e%25252e",
    b"%2525252525252e.",
    b"%25%32%65%25%32%65",
    b"%25%32%45.",
    b"%2%65",
    b"..;",
    b"..;x",
    b"..;jsessionid=1",
    b"..;a=b;c=d",
    b";/..",
    b"%2e%2e;",
    b"%2e%2e;x=y",
    b"%252e%252e;",
    b"..%3b",
    b"..%3Bx",
    b"%2e%2e%3b",
    b"..%253b",
    b"%252e%252e%253bx",
    b"./..",
    b"%2e/%2e%2e",
    b"//..",
    b"/..",
    b"..//",
    b"..%2f",
    b"..%2F",
    b"%2e%2e%2f",
    b"..%252f",
    b"%252e%252e%252f",
    b"%2f..",
    b"x%2f..%2f..",
    b"x%2F%2e%2e%2F%2e%2e",
    b"x%252f..%252f..",
    b"x/../..",
    b"..\\",
    b"..%5c",
    b"..%5C",
    b"%2e%2e%5c",
    b"..%255c",
    b"%252e%252e%255c",
    b"\\..",
    b"%5c..",
    b"x\\..\\..",
    b"x%5c..%5c..",
    b"x%255c..%255c..",
    b"..%00",
    b"..%00x",
    b"%2e%2e%00",
    b"..%0d%0a",
    b"..%09",
    b"..%0a",
    b"..%7f",
    b"%u002e%u002e",
    b"%u002E.",
    b"%uff0e%uff0e",
    b"%%32%65%%32%65",
    b"%%2e%%2e",
    b"%2.",
    b"%.",
    b"..%",
    b"..%2",
    b"..%zz",
    b"%2e%2e%c0%af%zz",
    b"..#",
    b"..%2f#",
    b"\xc0\xae\xc0\xae",
    b"\xef\xbc\x8e\xef\xbc\x8e",
    b"..\xc0\xaf",
    b"..\x00",
    b"..\x7f",
    b"..\t",
)
"""Ways to go up one segment: dot segments, backslashes, invalid escapes or control bytes at some depth of decoding."""

EXOTIC_UPS = (
    b"%c0%ae%c0%ae",
    b"%C0%AE.",
    b"%c0%2e%c0%2e",
    b"%e0%80%ae%e0%80%ae",
    b"%f0%80%80%ae%f0%80%80%ae",
    b"%c0%ae%c0%ae%c0%af",
    b"..%c0%af",
    b"..%c1%9c",
    b"%25c0%25ae%25c0%25ae",
    b"%ef%bc%8e%ef%bc%8e",
    b"%ef%bc%8e.",
    b"%e2%80%a4%e2%80%a4",
    b"%e2%80%a5",
    b"%ef%b9%92%ef%b9%92",
    b"..%ef%bc%8f",
    b"..%e2%81%84",
    b"..%e2%88%95",
    b"..%ef%bc%bc",
    b"..%20",
    b"..+",
    b"%20..",
    b"...",
    b"....",
    b"....//",
    b"..,",
    b"..~",
    b"~2e~2e",
    b"=2e=2e",
    b"&#46;&#46;",
    b"0x2e0x2e",
    b"..%c2%a0",
    b"..%e2%80%8b",
    b"..%3f",
    b"..%23",
    b"..?",
)
"""Ways that only backends with special treatment of Unicode, charsets or file systems resolve."""

SLASHES = (b"%2f", b"%2F", b"%252f", b"%25252F", b"%5c", b"%255C", b"\\", b"//", b"%2f%2f", b"%c0%af", b"%ef%bc%8f")


def _paths(mine: bytes, theirs: bytes, prefix: bytes, tails: list[bytes]) -> Iterator[Spelling]:
    start = prefix + b"/" + mine
    for tail in tails:
        for up in UPS:
            yield _path(f"own, up {_show(up)}, other{_show(tail)}", b"%b/%b/%b%b" % (start, up, theirs, tail))
        for up in EXOTIC_UPS:
            yield _path(
                f"own, exotic up {_show(up)}, other{_show(tail)}",
                b"%b/%b/%b%b" % (start, up, theirs, tail),
                # A hash in a target begins a fragment.
                Expected.REFUSED if b"#" in up else Expected.EXOTIC,
            )
    other = prefix + b"/" + theirs
    for up in (*UPS, *EXOTIC_UPS):
        yield _path(f"other, up {_show(up)}, own", b"%b/%b/%b/x" % (other, up, mine))
        yield _path(f"other at the end, after {_show(up)}", b"%b/x/%b/%b/%b" % (other, up, up, mine))
    for before, after in [(b"%2e%2e", b"%252e%252e"), (b"%252e%252e", b"%2e%2e"), (b"..;", b"%252e%252e")]:
        yield _path(
            f"there and back: {_show(before)}, {_show(after)}",
            b"%b/%b/%b/%b/%b/x" % (start, before, theirs, after, mine),
        )
    for slash in SLASHES:
        shown = _show(slash)
        yield _path(f"slash as {shown} between prefix and other", b"%b%b%b/x" % (prefix, slash, theirs))
        yield _path(f"slash as {shown} after other", b"%b/%b%bx" % (prefix, theirs, slash))
        # An empty segment after the site's does not change the site, merged or not.
        merged = Expected.EXOTIC if slash == b"//" else Expected.REFUSED
        yield _path(f"slash as {shown} between own and other", b"%b%b%b/x" % (start, slash, theirs), merged)
        yield _path(f"slash as {shown} between other and own", b"%b%b%b/x" % (other, slash, mine))
        yield _path(f"slash as {shown} before everything", slash + other + b"/x")
        climb = b"%b%bx%b..%b..%b%b/x" % (start, b"/", slash, slash, slash, theirs)
        refused = b"c0" not in slash and b"ef" not in slash
        yield _path(f"climb by {shown}", climb, Expected.REFUSED if refused else Expected.EXOTIC)
    for name, spelt in _site_names(mine, theirs):
        yield _path(f"site segment: {name}", b"%b/%b/x" % (prefix, spelt))
    if prefix:
        yield from _prefixes(mine, theirs, prefix)


def _prefixes(mine: bytes, theirs: bytes, prefix: bytes) -> Iterator[Spelling]:
    """Yield targets with altered fixed segments, so that the literal reading finds no site."""
    first, second = prefix[1:].split(b"/")
    bent = [
        b"/" + first.upper() + b"/" + second.upper(),
        b"/" + first.title() + b"/" + second,
        b"//%b/%b" % (first, second),
        b"/%b//%b" % (first, second),
        b"/%b/%b/" % (first, second),
        b"///%b///%b//" % (first, second),
        b"/%b;v=1/%b" % (first, second),
        b"/%b/%b;" % (first, second),
        b"/;/%b/%b" % (first, second),
        b"/;x=%b/%b/%b" % (mine, first, second),
        b"/%b%%3bv/%b" % (first, second),
        b"/%b/%b%%253b" % (first, second),
        b"/./%b/%b" % (first, second),
        b"/%b/%%2e/%b" % (first, second),
        b"/x/../%b/%b" % (first, second),
        b"/x/%%2e%%2e/%b/%b" % (first, second),
        b"/x/%%252e%%252e/%b/%b" % (first, second),
        b"/%b/%b/%b/..;" % (first, second, mine),
        b"/%b/%b" % (_hex(first), second),
        b"/%b/%b" % (_hex(_hex(first)), second),
        b"/%b/%b" % (first, _hex(_hex(second))),
        b"/%b%%2f%b" % (first, second),
        b"/%b%%252f%b" % (first, second),
        b"/%%2f%b/%b" % (first, second),
        b"/%b/%b%%2f" % (first, second),
        b"/%b%%5c%b" % (first, second),
        b"\\%b\\%b" % (first, second),
        b"/%b/%b%%20" % (first, second),
        b"/%b/%b." % (first, second),
        b"/%b/%b%%00" % (first, second),
        b"%b/%b" % (first, second),
        b"",
        b"/" + first,
    ]
    for spelt in bent:
        yield _path(f"prefix {_show(spelt)}", b"%b/%b/x" % (spelt, theirs))
        yield _path(f"prefix {_show(spelt)}, then own's", b"%b/%b%b/%b/x" % (spelt, theirs, prefix, mine))


def _datasette(mine: bytes, theirs: bytes) -> Iterator[Spelling]:
    """Yield spellings against `/{site}.json` and `/{site}/**`, some of them Datasette's own."""
    targets = [
        b"/%b.json" % theirs,
        b"/%b.JSON" % theirs,
        b"/%b.Json" % theirs,
        b"/%b%%2ejson" % theirs,
        b"/%b%%2Ejson" % theirs,
        b"/%b%%252ejson" % theirs,
        b"/%b.json;x" % theirs,
        b"/%b;x.json" % theirs,
        b"/%b.json/" % theirs,
        b"/%b.json%%20" % theirs,
        b"/%b.json%%00" % theirs,
        b"/%b.json%%00%b.json" % (theirs, mine),
        b"/%b%%00.json" % theirs,
        b"//%b.json" % theirs,
        b"/%%2f%b.json" % theirs,
        b"/%b/..%%2f%b.json" % (mine, theirs),
        b"/%b.json/../%b.json" % (mine, theirs),
        b"/%b.json%%2f..%%2f%b.json" % (mine, theirs),
        b"/%b.json/%b.json" % (mine, theirs),
        b"/%b.json/%b" % (mine, theirs),
        b"/%b.%b.json" % (mine, theirs),
        b"/%b,%b.json" % (mine, theirs),
        b"/%b.csv" % theirs,
        b"/%b.db" % theirs,
        b"/%b" % theirs,
        b"/%b/" % theirs,
        b"/%b?sql=select+1" % theirs,
        b"/~%x%b.json" % (theirs[0], theirs[1:]),
        b"/~%x%b/x" % (theirs[0], theirs[1:]),
        b"/%%7E%x%b/x" % (theirs[0], theirs[1:]),
        b"/-/%b" % theirs,
        b"/-/databases.json",
        b"/-/%b.json" % theirs,
        b"/_memory.json?sql=select+*+from+%b.x" % theirs,
        b"/_memory/-/query.json?sql=attach+'%b.db'+as+x" % theirs,
        b"/_internal/x.json",
        b"/.json",
        b"/",
        b"",
        b"/%b-%b/x" % (theirs, mine),
        b"/%b:%b/x" % (theirs, mine),
        b"/%b@%b/x" % (mine, theirs),
    ]
    for target in targets:
        yield _path(f"datasette {_show(target)}", target)


def _site_names(mine: bytes, theirs: bytes) -> list[tuple[str, bytes]]:
    """Return spellings of one value that a lenient reader reads as `theirs`, or as both sites."""
    wide = "".join(chr(ord(c) + 0xFEE0) for c in theirs.decode()).encode()
    values = [
        ("plain other", theirs),
        ("uppercase", theirs.upper()),
        ("title case", theirs.title()),
        ("first letter encoded", _hex(theirs[:1]) + theirs[1:]),
        ("all encoded", _hex(theirs)),
        ("all encoded twice", _hex(_hex(theirs))),
        ("all encoded three times", _hex(_hex(_hex(theirs)))),
        ("percent encoded", b"%%25%x%b" % (theirs[0], theirs[1:])),
        ("trailing dot", theirs + b"."),
        ("trailing encoded dot", theirs + b"%2e"),
        ("trailing space", theirs + b"%20"),
        ("trailing plus", theirs + b"+"),
        ("leading space", b"%20" + theirs),
        ("leading plus", b"+" + theirs),
        ("leading no-break space", b"%c2%a0" + theirs),
        ("leading byte-order mark", b"%ef%bb%bf" + theirs),
        ("zero-width inside", theirs[:1] + b"%e2%80%8b" + theirs[1:]),
        ("soft hyphen inside", theirs[:1] + b"%c2%ad" + theirs[1:]),
        ("backspace inside", theirs[:1] + b"x%08" + theirs[1:]),
        ("fullwidth letters", _hex(wide)),
        ("NUL after other", theirs + b"%00"),
        ("NUL, then own", theirs + b"%00" + mine),
        ("NUL twice encoded, then own", theirs + b"%2500" + mine),
        ("own, NUL, other", mine + b"%00" + theirs),
        ("newline after other", theirs + b"%0a"),
        ("newline between", mine + b"%0a" + theirs),
        ("carriage return between", mine + b"%0d" + theirs),
        ("params after other", theirs + b";" + mine),
        ("params with a value", theirs + b";site=" + mine),
        ("params after own", mine + b";" + theirs),
        ("params encoded after own", mine + b"%3b" + theirs),
        ("params encoded twice", mine + b"%253b" + theirs),
        ("empty params", mine + b";"),
        ("comma", mine + b"," + theirs),
        ("comma encoded", mine + b"%2c" + theirs),
        ("comma, other first", theirs + b"," + mine),
        ("pipe", mine + b"%7c" + theirs),
        ("space between", mine + b"%20" + theirs),
        ("plus between", mine + b"+" + theirs),
        ("colon", mine + b":" + theirs),
        ("semicolon list", mine + b";" + theirs + b";"),
        ("braces", b"%7b" + mine + b"," + theirs + b"%7d"),
        ("JSON list", b"%5b%22" + mine + b"%22,%22" + theirs + b"%22%5d"),
        ("star", b"*"),
        ("percent", b"%25"),
        ("underscore", b"_"),
        ("dash", b"-"),
        ("tilde", b"~" + theirs),
        ("own with a suffix", mine + b"2"),
        ("own with a dotted suffix", mine + b"." + theirs),
        ("own cut short", mine[:-1]),
        ("other with own as suffix", theirs + b"." + mine),
        ("own in uppercase", mine.upper()),
        ("own encoded twice", _hex(_hex(mine))),
        ("own with a space", mine + b"%20"),
        ("own with a dot", mine + b"."),
        ("own with a NUL", mine + b"%00"),
        ("quoted own", b"%22" + mine + b"%22"),
        ("SQL", mine + b"'%20or%20'1'='1"),
        ("equals before", b"=" + theirs),
        ("at sign", mine + b"@" + theirs),
        ("slash encoded", mine + b"%2f" + theirs),
        ("slash encoded twice", mine + b"%252f" + theirs),
        ("climb", mine + b"%2f..%2f" + theirs),
        ("climb encoded twice", mine + b"%252f..%252f" + theirs),
        ("question mark", theirs + b"%3f" + mine),
        ("hash encoded", theirs + b"%23" + mine),
        ("empty", b""),
    ]
    return [(name, value) for name, value in values if value != mine]


# Queries.

SITE_PARAMETERS = (
    b"site",
    b"SITE",
    b"Site",
    b"sITE",
    b"sit%65",
    b"%73ite",
    b"%73%69%74%65",
    b"%53ITE",
    b"s%49te",
    b"%2573ite",
    b"sit%2565",
    b"%252573ite",
    b"%25252573ite",
    b"%25%37%33ite",
    b"+site",
    b"++site",
    b"%20site",
    b"%20%20SITE",
    b"+%20site",
    b"%2520site",
    b"%2bsite",
    b"site[]",
    b"site[0]",
    b"site[a]",
    b"site[a][b]",
    b"site[",
    b"SITE[]",
    b"site%5b%5d",
    b"site%5B0%5D",
    b"site%255b%255d",
    b"+site[]",
    b"%73ite%5b%5d",
    b"site%00",
    b"site%00x",
    b"SITE%00",
    b"site%2500",
    b"site%2500x",
    b"site%00[]",
    b"+sit%65%00[",
    b"%2520%2553ite%255b",
)
"""Parameter names that some reading (docs/decision.md) takes for `site`."""

EXOTIC_PARAMETERS = (
    b"site.x",
    b"site.id",
    b"site%20",
    b"site+",
    b"_site",
    b"site_",
    b"site]",
    b"%5bsite%5d",
    b"?site",
    b"%3fsite",
    b"amp;site",
    b"%26site",
    b"%09site",
    b"%0asite",
    b"%c2%a0site",
    b"%c5%bfite",
    b"s%c4%b1te",
    b"%ef%bd%93ite",
    b"site%3d",
    b"$site",
    b"@site",
    b"sites",
    b"siteId",
    b"filter[site]",
    b"x.site",
)
"""Names that every listed reading takes for another parameter, although some framework might bind them to the site."""


def _queries(mine: bytes, theirs: bytes) -> Iterator[Spelling]:
    for parameter in SITE_PARAMETERS:
        shown = _show(parameter)
        yield _query(f"own, then {shown}", b"site=%b&%b=%b" % (mine, parameter, theirs))
        yield _query(f"{shown}, then own", b"%b=%b&site=%b" % (parameter, theirs, mine))
        yield _query(f"{shown} alone", b"%b=%b" % (parameter, theirs))
        yield _query(f"{shown} after a semicolon", b"site=%b&a=1;%b=%b" % (mine, parameter, theirs))
        yield _query(f"{shown} before a semicolon", b"%b=%b;site=%b" % (parameter, theirs, mine))
    for parameter in EXOTIC_PARAMETERS:
        shown = _show(parameter)
        # If semicolons separate parameters, the rest of a name after `&amp;` is the plain parameter.
        expected = Expected.REFUSED if b";" in parameter else Expected.EXOTIC
        yield _query(f"own, then exotic {shown}", b"site=%b&%b=%b" % (mine, parameter, theirs), expected)
        yield _query(f"exotic {shown}, then own", b"%b=%b&site=%b" % (parameter, theirs, mine), expected)
        yield _query(f"exotic {shown} alone", b"%b=%b" % (parameter, theirs))
    for name, value in _site_names(mine, theirs):
        yield _query(f"value: {name}", b"site=%b" % value)
        yield _query(f"own, then value: {name}", b"site=%b&site=%b" % (mine, value))
        yield _query(f"value: {name}, then own", b"site=%b&site=%b" % (value, mine))
    whole = [
        b"site=%b;site=%b" % (mine, theirs),
        b"site=%b;site=%b" % (theirs, mine),
        b"site=%b;site=%b&site=%b" % (mine, theirs, mine),
        b"a=1;site=%b&site=%b" % (theirs, mine),
        b"site=%b&a;site=%b" % (mine, theirs),
        b"site=%b&;site=%b" % (mine, theirs),
        b";site=%b&site=%b" % (theirs, mine),
        b"site=%b%%26site=%b" % (mine, theirs),
        b"site=%b%%26site%%3d%b" % (mine, theirs),
        b"site=%b%%3bsite=%b" % (mine, theirs),
        b"site%%3d%b&site=%b" % (theirs, mine) + b"&site=" + theirs,
        b"site%%3d%b" % theirs,
        b"&&site=%b&&site=%b" % (mine, theirs),
        b"&site=%b" % theirs,
        b"site=%b?site=%b" % (mine, theirs),
        b"site=%b?site=%b" % (theirs, mine),
        b"site=%b#&site=%b" % (mine, theirs),
        b"site=%b#&site=%b" % (theirs, mine),
        b"site&site=%b" % mine,
        b"site=&site=%b" % mine,
        b"site=%b&site" % mine,
        b"site=%b&site=" % mine,
        b"site=%b&site[]" % mine,
        b"site==%b" % mine,
        b"site==%b" % theirs,
        b"site=%b=%b" % (mine, theirs),
        b"site",
        b"site=",
        b"",
        b"site=%b\x00&site=%b" % (mine, theirs),
        b"site=%b\xc0\xa6site=%b" % (mine, theirs),
        b"s\xc3\xafte=%b&site=%b" % (theirs, mine),
        b"site=%b\t" % mine,
        b"site=%b&site=%b&site=%b" % (mine, theirs, mine),
        b"site=%b&" % mine + b"site=%b&" % mine * 50 + b"site=%b" % theirs,
    ]
    for query in whole:
        yield _query(f"query {_show(query)[:60]}", query)
    for name, target in [
        ("question mark in the path, encoded", b"/api/data%%3fsite=%b&?site=%b" % (theirs, mine)),
        ("question mark in the path, encoded twice", b"/api/data%%253fsite=%b&?site=%b" % (theirs, mine)),
        ("two question marks", b"/api/data??site=%b&site=%b" % (theirs, mine)),
        ("ampersand in another value", b"/api/data?q=1%%26site=%b&site=%b" % (theirs, mine)),
        ("ampersand in another value, encoded twice", b"/api/data?q=1%%2526site=%b&site=%b" % (theirs, mine)),
        ("site in the path's params", b"/api/data;site=%b?site=%b" % (theirs, mine)),
    ]:
        yield Spelling(name, b"GET", target, [(b"Host", HOST)], Expected.EXOTIC)


def _query_ids(mine: bytes, theirs: bytes) -> Iterator[Spelling]:
    names = [
        b"site.id",
        b"site%2eid",
        b"site%252eid",
        b"site+id",
        b"site%20id",
        b"site%2520id",
        b"site[id",
        b"site%5bid",
        b"site%255Bid",
        b"SITE.ID",
        b"+site.id",
        b"%20site%20id",
        b"site.id[]",
        b"site.id%00",
        b"site%5fid",
        b"site%255fid",
        b"Site_Id",
        b"site_id[]",
    ]
    for parameter in names:
        shown = _show(parameter)
        yield _query(f"own, then {shown}", b"site_id=%b&%b=%b" % (mine, parameter, theirs))
        yield _query(f"{shown}, then own", b"%b=%b&site_id=%b" % (parameter, theirs, mine))
        yield _query(f"{shown} alone", b"%b=%b" % (parameter, theirs))
        yield _query(f"{shown} after a semicolon", b"site_id=%b&a;%b=%b" % (mine, parameter, theirs))


# Headers.


def _headers(mine: bytes, theirs: bytes) -> Iterator[Spelling]:
    plain = (b"X-Site", mine)
    for name in (b"X-Site", b"x-site", b"X-SITE", b"X_Site", b"x_site", b"X_SITE", b"X-site"):
        shown = name.decode()
        yield _header(f"own, then {shown}", [plain, (name, theirs)])
        yield _header(f"{shown}, then own", [(name, theirs), plain])
        yield _header(f"{shown} alone", [(name, theirs)])
        yield _header(f"own, then empty {shown}", [plain, (name, b"")])
        yield _header(f"{shown} between two of own", [plain, (name, theirs), plain])
    # Some gateways turn every special character of a header name into an underscore.
    for name in (b"X.Site", b"X~Site", b"X!Site", b"X'Site", b"X--Site", b"HTTP_X_SITE", b"HTTP-X-Site", b"X-Site-"):
        yield _header(f"own, then exotic {name.decode()}", [plain, (name, theirs)], Expected.EXOTIC)
        yield _header(f"exotic {name.decode()} alone", [(name, theirs)])
    for what, value in [*_site_names(mine, theirs), *_header_values(mine, theirs)]:
        yield _header(f"value: {what}", [(b"X-Site", value)])
        yield _header(f"own, then value: {what}", [plain, (b"X-Site", value)])
        yield _header(f"value: {what}, then own", [(b"X-Site", value), plain])
    for what, listed in [
        ("takes own away", b"X-Site"),
        ("in lowercase", b"x-site"),
        ("with an underscore", b"X_Site"),
        ("among others", b"keep-alive, X-Site, close"),
        ("with a tab", b"keep-alive,\tx-site"),
    ]:
        yield _header(f"Connection {what}", [plain, (b"Connection", listed)], wire_only=True)
        yield _header(
            f"Connection {what}, two values", [plain, (b"X_Site", theirs), (b"Connection", listed)], wire_only=True
        )
    yield _header("two Connections", [plain, (b"Connection", b"close"), (b"Connection", b"X-Site")], wire_only=True)
    yield _header("in a cookie", [plain, (b"Cookie", b"site=%b; X-Site=%b" % (theirs, theirs))], Expected.EXOTIC)
    for what, bad in [
        ("space before the colon", (b"X-Site ", theirs)),
        ("tab before the colon", (b"X-Site\t", theirs)),
        ("space before the name", (b" X-Site", theirs)),
        ("folded", (b"X-Other", b"1\r\n X-Site: " + theirs)),
        ("bare line feed", (b"X-Other", b"1\nX-Site: " + theirs)),
        ("bare carriage return", (b"X-Other", b"1\rX-Site: " + theirs)),
        ("NUL in the value", (b"X-Site", theirs + b"\x00" + mine)),
        ("NUL in the name", (b"X-Site\x00", theirs)),
        ("no name", (b"", theirs)),
    ]:
        yield _header(what, [plain, bad], wire_only=True)


def _header_values(mine: bytes, theirs: bytes) -> list[tuple[str, bytes]]:
    return [
        ("comma and space", mine + b", " + theirs),
        ("space", mine + b" " + theirs),
        ("tab", mine + b"\t" + theirs),
        ("quoted", b'"' + theirs + b'"'),
        ("encoded word", b"=?utf-8?q?" + theirs + b"?="),
        ("latin-1", theirs + b"\xa0"),
        ("UTF-8", theirs + "é".encode()),
    ]


# Hosts.


def _hosts(mine: bytes, theirs: bytes) -> Iterator[Spelling]:
    own, other = b"%b.%b" % (mine, HOST), b"%b.%b" % (theirs, HOST)
    values = [
        other,
        other.upper(),
        theirs.title() + b"." + HOST,
        other + b".",
        other + b"..",
        other + b":80",
        other + b":8080",
        other + b":",
        other + b".:80",
        b"." + other,
        b"www." + other,
        own + b"." + other,
        own + b":80:" + other,
        own + b":" + other,
        own + b":80@" + other,
        own + b"@" + other,
        other + b"@" + own,
        mine + b"@" + other,
        b"x:y@" + other,
        own + b"," + other,
        own + b", " + other,
        other + b", " + own,
        own + b" " + other,
        own + b"/" + other,
        own + b"#" + other,
        other + b"#" + own,
        other + b"?" + own,
        other + b"/" + own,
        own + b"\\" + other,
        own + b"%00" + other,
        other + b"%00." + own,
        own + b"%2e" + other,
        b"%62" + other[1:],
        b"%b%%2e%b" % (theirs, HOST),
        b"http://" + other,
        b"//" + other,
        theirs + b"%20." + HOST,
        mine + b"," + theirs + b"." + HOST,
        theirs + b"." + mine + b"." + HOST,
        b"*." + HOST,
        b"." + HOST,
        HOST,
        b"[::1]",
        b"127.0.0.1",
        b"localhost",
        b"",
        "ｂｌｏｇ".encode() + b"." + HOST,
        theirs + b"." + HOST + b"\xc2\xa0",
        b"xn--" + theirs + b"-." + HOST,
        theirs + b"_." + HOST,
    ]
    for value in values:
        yield _host(f"Host {_show(value)}", [(b"Host", value)])
        yield _host(f"own, then Host {_show(value)}", [(b"Host", own), (b"Host", value)])
        yield _host(f"Host {_show(value)}, then own", [(b"Host", value), (b"Host", own)])
    yield _host("two of own", [(b"Host", own), (b"host", own)], wire_only=True)
    yield _host("no Host", [])
    yield _host("a Host with a space before the colon", [(b"Host", own), (b"Host ", other)], wire_only=True)
    yield _host("a folded Host", [(b"Host", own + b"\r\n " + other)], wire_only=True)
    for listed in (b"Host", b"host", b"close, Host"):
        yield _host(f"Connection: {listed.decode()}", [(b"Host", own), (b"Connection", listed)], wire_only=True)
    for target in (b"http://%b/api/data", b"HTTP://%b/api/data", b"https://%b:443/api/data", b"%b:80"):
        yield Spelling(f"target {_show(target)}", b"GET", target % other, [(b"Host", own)])
    yield Spelling("CONNECT", b"CONNECT", other + b":80", [(b"Host", own)])
    yield Spelling("scheme-relative", b"GET", b"//%b/api/data" % other, [(b"Host", own)], Expected.EXOTIC)
    yield Spelling("userinfo in the path", b"GET", b"/@%b/api/data" % other, [(b"Host", own)], Expected.EXOTIC)


# Around any of them.


def _around(own: Spelling, other: Spelling, theirs: bytes) -> Iterator[Spelling]:
    """Yield spellings that work for every shape: forms of the target, and fields that other software obeys."""
    their_host = dict(other.fields)[b"Host"]
    for name, value in [
        (b"X-Original-URL", other.target),
        (b"X_Original_URL", other.target),
        (b"x-original-url", other.target),
        (b"X-Rewrite-URL", other.target),
        (b"X_Rewrite_Url", other.target),
        (b"X-Original-URI", other.target),
        (b"X-Envoy-Original-Path", other.target),
        (b"X-Forwarded-Host", their_host),
        (b"X_Forwarded_Host", their_host),
        (b"X-Forwarded-Server", their_host),
        (b"X-Forwarded-Uri", other.target),
        (b"X-Forwarded-Path", other.target),
        (b"X-Forwarded-Prefix", other.target),
        (b"X-Forwarded-Method", b"DELETE"),
        (b"X-Forwarded-For", b"127.0.0.1"),
        (b"X-Real-IP", b"127.0.0.1"),
        (b"Forwarded", b"host=" + their_host),
        (b"X-Api-Sites", theirs),
        (b"X_Api_Sites", theirs),
        (b"X-Api-User-Id", b"1"),
        (b"X-Api-Workspace", b"globex"),
    ]:
        yield Spelling(
            f"{name.decode()} beside own",
            b"GET",
            own.target,
            [*own.fields, (name, value)],
            Expected.DROPPED,
            (name.lower(),),
        )
    authority = dict(own.fields)[b"Host"]
    for start, named in ((b"http://", other), (b"HTTP://", own)):
        target = start + authority + named.target
        expected = Expected.REFUSED if named.target != own.target else Expected.EXOTIC
        yield Spelling(f"target {_show(target)}", b"GET", target, own.fields, expected, origin_form=named.target)
    for target in (
        b"http://" + their_host + b":81" + own.target,
        b"http://another.example" + own.target,
        b"https://user@api.example.com" + other.target,
        b"//api.example.com" + other.target,
        b"*",
        other.target[1:],
        b"?" + other.target,
        b"#" + other.target,
        own.target + b"#" + other.target,
        other.target + b"#" + own.target,
        own.target + b"\x00" + other.target,
        own.target + b"\r",
        own.target + b"\x7f",
        own.target + b"\xff",
        own.target + b"\xe2\x80\xa8",
    ):
        # If the host or a header names the site, an unusual path does not name another one.
        names_by_target = own.target != other.target
        expected = Expected.REFUSED
        if target.startswith(b"//") and not names_by_target:
            expected = Expected.EXOTIC
        yield Spelling(f"target {_show(target)}", b"GET", target, own.fields, expected)
    for target in (own.target + b" " + other.target, other.target + b" " + own.target, b" " + other.target):
        yield Spelling(f"target {_show(target)}", b"GET", target, own.fields, wire_only=True)
    for name in (b"X-HTTP-Method-Override", b"X-HTTP-Method", b"X-Method-Override", b"X_HTTP_Method_Override"):
        if own.target == other.target:
            continue
        yield Spelling(f"{name.decode()} on other", b"POST", other.target, [*own.fields, (name, b"GET")])
        yield Spelling(
            f"{name.decode()} that makes a preflight", b"GET", other.target, [*own.fields, (name, b"OPTIONS")]
        )
    if own.target != other.target:
        preflight = [(b"Origin", b"https://x.example"), (b"Access-Control-Request-Method", b"GET")]
        yield Spelling("preflight on other", b"OPTIONS", other.target, [*own.fields, *preflight])
        for method in (b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"PROPFIND", b"TRACE"):
            yield Spelling(f"{method.decode()} on other", method, other.target, own.fields)


# The pieces.


def _path(name: str, target: bytes, expected: Expected = Expected.REFUSED) -> Spelling:
    return Spelling(name, b"GET", target, [(b"Host", HOST)], expected)


def _query(name: str, query: bytes, expected: Expected = Expected.REFUSED) -> Spelling:
    return Spelling(name, b"GET", b"/api/data?" + query, [(b"Host", HOST)], expected)


def _header(
    name: str, fields: Iterable[tuple[bytes, bytes]], expected: Expected = Expected.REFUSED, *, wire_only: bool = False
) -> Spelling:
    return Spelling(name, b"GET", b"/api/data", [(b"Host", HOST), *fields], expected, wire_only=wire_only)


def _host(name: str, fields: Fields, *, wire_only: bool = False) -> Spelling:
    return Spelling(name, b"GET", b"/api/data", fields, wire_only=wire_only)


def _hex(text: bytes) -> bytes:
    """Return `text` with each byte percent-encoded."""
    return b"".join(b"%%%02x" % byte for byte in text)


def _show(text: bytes) -> str:
    return text.decode("ascii", "backslashreplace").encode("unicode_escape").decode()

"""Requests judged by the decision and by the naive readings of `tests.readings`, and compared."""

import re
from collections import Counter
from dataclasses import dataclass

from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from proxy.decision.claim import Claim
from proxy.decision.grant import Grant
from proxy.decision.route_table import RouteTable
from proxy.http.headers import Head
from proxy.refusals import AMBIGUOUS_REQUEST, BAD_REQUEST, Refusal, Refused
from proxy.settings import HeaderRule, KeySettings, QueryRule, RouteSettings
from tests import readings
from tests.spellings import Fields, Shape
from tests.unit.judging import covered, read

OWN, OTHER = "shop", "blog"
KEY = (b"X-API-Key", b"slk_" + b"A" * 38)
HOST = (b"Host", b"api.example.com")
GRANT = Grant("1", "acme", all_sites=False, sites=frozenset({OWN}))

MISREAD = (AMBIGUOUS_REQUEST, BAD_REQUEST)
"""The refusals of requests that servers may read differently."""


@dataclass(frozen=True)
class Front:
    """A route table, and the same routes as the naive reader uses them."""

    routes: tuple[RouteSettings, ...]
    table: RouteTable
    naive: tuple[readings.Prefixed, ...]

    @classmethod
    def of(cls, *routes: RouteSettings) -> "Front":
        naive = tuple(
            readings.Prefixed(
                route.name,
                route.path.encode(),
                tuple(readings.Template(rule.encode()) for rule in _rules(route, "path")),
            )
            for route in routes
        )
        return cls(routes, RouteTable(routes, KeySettings()), naive)

    def outcome(self, target: bytes, fields: Fields, method: bytes = b"GET") -> Claim | Refusal:
        """Return the claim of a request that passes with a key for OWN, or the refusal."""
        try:
            claim = read(self.table, Head(method, target, [HOST, *fields, KEY]))
            covered(claim, GRANT)
        except Refused as refused:
            return refused.refusal
        return claim

    def route(self, name: str) -> RouteSettings:
        return next(route for route in self.routes if route.name == name)

    def misread(self, target: bytes, fields: Fields) -> str | None:
        """Say how the naive readings of a request differ, or return None."""
        why = readings.always_refused(target)
        if why is not None:
            return why
        path, _, query = target.partition(b"?")
        strictly = readings.named_by_path(self.naive, readings.literal(path), readings.STRICT)
        every = readings.path_readings(self.naive, path)
        if every != {strictly}:
            return f"the path, to some: {sorted(map(str, every))}, literally {strictly}"
        if strictly[0] is None:
            return None
        route = self.route(strictly[0])
        for name in _rules(route, "query"):
            exact = readings.literally_named(query, name.encode())
            for lenient in readings.named_by_query(query, name.encode()):
                if lenient != exact:
                    return f"{name} in the query, to some: {sorted(lenient)}, literally {sorted(exact)}"
        for name in _rules(route, "header"):
            if look_alikes := readings.look_alikes(fields, name.encode()):
                return f"the header {name}, to some also spelled {sorted(look_alikes)}"
            if sum(spelled.lower() == name.lower().encode() for spelled, _ in fields) > 1:
                return f"the header {name}, whose values some servers join"
        return None


def _rules(route: RouteSettings, kind: str) -> list[str]:
    return [rule.partition(":")[2] for rule in route.sites if isinstance(rule, str) and rule.startswith(kind + ":")]


def route(
    *sites: str | QueryRule | HeaderRule, name: str = "data", without_site: str = "refuse", **more: object
) -> RouteSettings:
    return RouteSettings.model_validate(
        {"name": name, "upstream": "http://127.0.0.1:1", "sites": sites, "without_site": without_site, **more}
    )


FRONTS = {
    "path": Front.of(route(*Shape.PATH.value)),
    "path, any key": Front.of(route(*Shape.PATH.value, without_site="any-key")),
    "datasette": Front.of(route(*Shape.DATASETTE.value)),
    "datasette, any key": Front.of(route(*Shape.DATASETTE.value, without_site="any-key")),
    "odata, any key": Front.of(route("path:/Sites('{site}')/**", without_site="any-key")),
    "query": Front.of(route(*Shape.QUERY.value)),
    "query, any key": Front.of(route(*Shape.QUERY.value, without_site="any-key")),
    "query with underscore, any key": Front.of(route(*Shape.QUERY_ID.value, without_site="any-key")),
    "header, any key": Front.of(route(*Shape.HEADER.value, without_site="any-key")),
    "everywhere": Front.of(route("path:/api/sites/{site}/**", "query:site", "header:X-Site", without_site="any-key")),
    "two routes": Front.of(
        route(*Shape.PATH.value, name="sites", path="/api/sites"),
        route(name="rest", path="/", without_site="any-key"),
    ),
    "slash at the end": Front.of(route("path:/api/sites/{site}", "path:/api/sites/{site}/**")),
    "a route in a route": Front.of(
        route("path:/api/sites/{site}/**", name="api", path="/api"),
        route("path:/open/{site}", name="open", path="/open", without_site="any-key"),
    ),
}


def check(front: Front, target: bytes, fields: Fields) -> str:
    """Judge one request in both ways and compare. Return which outcome it had."""
    outcome = front.outcome(target, fields)
    misread = front.misread(target, fields)
    if isinstance(outcome, Claim):
        assert misread is None, misread
        assert set(outcome.sites) <= {OWN}
        assert outcome.target == target
        assert outcome.fields == [HOST, *fields]
        return "passed"
    if outcome in MISREAD:
        assert misread is not None or _is_deliberately_stricter(target), f"refused unnecessarily: {outcome.code}"
        return "misread"
    return "refused"


def _is_deliberately_stricter(target: bytes) -> bool:
    """Return whether the proxy is deliberately stricter than the readings of docs/decision.md."""
    path = target.partition(b"?")[0]
    overlong = any(first in reading for reading in readings.paths(path) for first in (b"\xc0", b"\xc1"))
    slash_in_parameters = any(re.search(rb";[^/]*%2[Ff]", reading) for reading in readings.paths(path))
    at_the_start = any(reading.startswith(b"//") for reading in readings.paths(path))
    parameter = any(
        re.search(rb"[&?#][^&?#/=;!'()*,]+=|[&?#;][\W_]*site", reading, re.IGNORECASE)
        for reading in readings.paths(path)
    )
    # Dropping bytes that are not UTF-8 doubles the readings, so fewer of the others are allowed.
    foreign = any(readings.utf_8(reading) != reading for reading in readings.paths(path))
    many = len(readings.splits(path)) > (12 if foreign else 24)
    names = [piece.partition(b"=")[0] for piece in re.split(rb"[&;?]", target.partition(b"?")[2])]
    hidden = any(re.search(rb"[&;?#=]", reading) for name in names for reading in readings.rounds(name))
    # More than four values are refused if one may be encoded twice.
    often = b"%25" in target and target.count(b"=") > 4
    beyond_paths = hidden or many or often or b"%u" in target
    return at_the_start or overlong or slash_in_parameters or parameter or beyond_paths


def run(
    front: Front, targets: st.SearchStrategy[bytes], fields: st.SearchStrategy[Fields], *examples: bytes
) -> Counter[str]:
    """Run the property over a strategy, the examples first. Return how many requests had each outcome."""
    outcomes = Counter[str]()

    def property_of(target: bytes, drawn: Fields) -> None:
        outcome = check(front, target, drawn)
        outcomes[outcome] += 1
        event(outcome)

    for target in examples:
        property_of = example(target, [])(property_of)
    settings(max_examples=250)(given(targets, fields)(property_of))()
    return outcomes


# Pieces of hostile targets.

BETWEEN = (b"/", b"%2f", b"//", b"/;/")


def mostly(usual: bytes, *odd: bytes, out_of: int = 4) -> st.SearchStrategy[bytes]:
    """Draw from `usual` most of the time, and otherwise from everything."""
    return st.integers(0, out_of - 1).flatmap(lambda dice: st.sampled_from(odd) if dice == 0 else st.just(usual))


SEPARATORS = mostly(b"/", b"//", b"%2f", b"%2F", b"%252f", b"/;/", b"/./", b"/%2e/", b";x/", b"/%3b/", b"///")
SITES = mostly(
    b"shop", b"blog", b"sho%70", b"%73hop", b"shop;", b"shop;x=blog", b"shop%3b", b"blog;shop", b"SHOP", b"sho%2570",
    b"shop.json", b"blog.json", b"shop.JSON", b"shop%2ejson", b"shop%252ejson", b"", b"%62log", b"shop%20",
    b"sh%ffop", b"%ff", b"bl%25e9og",
)  # fmt: skip
NO_FIELDS: st.SearchStrategy[Fields] = st.just([])

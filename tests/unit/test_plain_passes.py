"""The shortcut for verdicts on plain requests returns what the full decision returns, or has no effect."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.decision.api_keys import digest
from proxy.decision.plain_claims import name_plainly
from proxy.decision.route_table import RouteTable
from proxy.decision.site_ids import names_of
from proxy.decision.verdict import Verdict
from proxy.enforcement import Enforcement, Passed
from proxy.grants.cache import GrantCache
from proxy.http.headers import Head
from proxy.http.plain_requests import PlainHead, PlainRequests
from proxy.http.request_header_names import RequestSpellings
from proxy.observe.metrics import Metrics
from proxy.settings import GrantSettings, KeySettings, LimitSettings, RouteSettings
from tests.scopes import Clock, MemoryScope
from tests.unit.decision.test_plain_claims import FIELDS, KEYS, PATHS, ROUTES, TEXT

NOW = 1_800_000_000.0
GRANTS: dict[str, dict[str, Any]] = {
    "one site": {"sites": ["shop"]},
    "other site": {"sites": ["blog"]},
    "all sites": {"all_sites": True},
    "not expired yet": {"sites": ["shop", "blog"], "expires_at": NOW + 1},
    "expired": {"sites": ["shop", "blog"], "expires_at": NOW},
    "disabled": {"sites": ["shop", "blog"], "disabled": True},
    "read-only": {"sites": ["shop", "blog"], "methods": ["GET", "HEAD", "OPTIONS"]},
    "write-only": {"sites": ["shop", "blog"], "methods": ["POST"]},
    "from a network": {"sites": ["shop", "blog"], "networks": ["10.9.0.0/16"]},
    "limited": {"sites": ["shop", "blog"], "requests_per_second": 1_000_000.0},
    "one of two keys": {"sites": ["shop"], "several_keys": True},
}


SITES = ("shop", "blog", "elsewhere", "missing")


class Side:
    """One of the two ways: an enforcement, and everything that it counts."""

    def __init__(self, table: RouteTable, scope: MemoryScope) -> None:
        self.metrics = Metrics()
        self.uses: list[str] = []
        self.clock = Clock()
        self.grants = GrantCache(GrantSettings(), scope, on_lookup=self.metrics.lookup, clock=self.clock)
        self.enforcement = Enforcement(
            table,
            self.grants,
            self.metrics,
            on_use=self.uses.append,
            accept_foreign=True,
            clock=self.clock,
            wall_clock=lambda: NOW,
        )

    def passed(self, plain: PlainHead) -> Passed | None:
        named = name_plainly(self.enforcement.table, plain.shape, b"GET", plain.target, False)
        return None if named is None else self.enforcement.pass_plainly(*named, plain.key)

    @property
    def counted(self) -> object:
        lookups = [family.samples for family in self.metrics.families() if family.name in ("sitelatch_grant_lookups",)]
        usage = {user: usage.counts() for user, usage in self.enforcement.usage.users.items()}
        return [(sample.labels, sample.value) for samples in lookups for sample in samples], list(self.uses), usage


class Comparison:
    """Requests on one set of routes, judged in both ways with the same cached grant."""

    def __init__(self, name: str, grant: str) -> None:
        routes = [{"name": f"r{number}", "upstream": "http://h", **each} for number, each in enumerate(ROUTES[name])]
        table = RouteTable([RouteSettings.model_validate(route) for route in routes], KeySettings())
        scope = MemoryScope()
        self.key = b"slk_" + b"A" * 38
        scope.add(digest(self.key), "ada", **GRANTS[grant])
        scope.sites = {"shop": "acme", "blog": "acme", "elsewhere": "initech"}
        self.requests = PlainRequests(LimitSettings(), RequestSpellings(), table.noticed_names, table.plain_key_fields)
        self.short, self.full = Side(table, scope), Side(table, scope)

    async def warm(self) -> None:
        for side in (self.short, self.full):
            await side.grants.fetch(digest(self.key))
            await side.grants.fetch_sites([*SITES, *(name for site in SITES for name in names_of(site))])

    def check(self, raw: bytes) -> bool:
        """Judge a request in both ways. Return whether the shortcut decided."""
        read = self.requests.read(raw, trusted=False)
        if read is None:
            return False
        plain = read[0]
        full = Head(plain.method, plain.target, plain.fields, plain.has_body, plain.dropped, plain.minor)
        self.short.enforcement.judge(full)  # remembers the grant, and the facts about the path
        self.full.enforcement.judge(full)
        before = self.short.counted
        passed = self.short.passed(plain)
        if passed is None:
            assert self.short.counted == before, raw
            return False
        verdict = self.full.enforcement.judge(full)
        assert isinstance(verdict, Verdict)
        assert verdict.refusal is None, raw
        assert verdict.claim is not None
        route, named, grant, identity = passed
        assert (route, named) == (verdict.claim.route, verdict.claim.named), raw
        assert (grant, named.sites, identity) == (verdict.grant, verdict.sites, verdict.identity), raw
        assert self.short.counted == self.full.counted
        return True


COMPARISONS: dict[tuple[str, str], Comparison] = {}


def check(name: str, grant: str, raw: bytes) -> bool:
    async def compare() -> bool:
        comparison = COMPARISONS.get((name, grant))
        if comparison is None:
            comparison = COMPARISONS[name, grant] = Comparison(name, grant)
            await comparison.warm()
        return comparison.check(raw)

    return asyncio.run(compare())


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(ROUTES)),
    st.sampled_from(sorted(GRANTS)),
    st.tuples(PATHS, st.one_of(st.just(""), TEXT), st.one_of(st.just(""), TEXT.map("?".__add__))),
    FIELDS,
    KEYS,
)
def test_generated_requests_get_the_same_verdict(
    name: str, grant: str, target: tuple[str, str, str], fields: list[str], key: str
) -> None:
    lines = [f"GET {''.join(target)} HTTP/1.1", "Host: blog.api.example.com", *fields, key + "slk_" + "A" * 38]
    check(name, grant, "\r\n".join(lines).encode() + b"\r\n\r\n")


PASSES = [
    ("one site", "/api/sites/shop/x", True),
    ("one site", "/api/sites/shop/x?site=shop&a=b", True),
    ("one site", "/api/data?site=shop", True),
    ("one site", "/api/sites/shop/x?site=blog", False),
    ("one site", "/api/sites/shop/x?Site=blog", False),
    ("one site", "/api/sites/shop/x?%73ite=blog", False),
    ("one site", "/api/sites/shop/../blog/x", False),
    ("one site", "/api/sites/blog/x", False),
    ("other site", "/api/sites/shop/x", False),
    ("all sites", "/api/sites/shop/x", True),
    ("all sites", "/api/sites/shop/x?site=shop", True),
    ("all sites", "/api/sites/SHOP/x", False),
    ("all sites", "/api/sites/elsewhere/x", False),
    ("all sites", "/api/sites/missing/x", False),
    ("all sites", "/api/sites/never-looked-up/x", False),
    ("not expired yet", "/api/sites/shop/x", True),
    ("not expired yet", "/api/sites/blog/x", True),
    ("expired", "/api/sites/shop/x", False),
    ("disabled", "/api/sites/shop/x", False),
    ("read-only", "/api/sites/shop/x", False),
    ("write-only", "/api/sites/shop/x", False),
    ("from a network", "/api/sites/shop/x", False),
    ("one of two keys", "/api/sites/shop/x", True),
]


@pytest.mark.parametrize(("grant", "target", "passes"), PASSES)
def test_only_ordinary_requests_with_keys_that_are_valid_now_pass(grant: str, target: str, passes: bool) -> None:
    raw = f"GET {target} HTTP/1.1\r\nHost: h\r\nX-API-Key: slk_{'A' * 38}\r\n\r\n".encode()
    assert check("path, query and header", grant, raw) is passes


def test_a_dropped_grant_passes_nothing() -> None:
    async def scenario() -> None:
        comparison = Comparison("path, query and header", "one site")
        await comparison.warm()
        raw = b"GET /api/sites/shop/x HTTP/1.1\r\nHost: h\r\nX-API-Key: %b\r\n\r\n" % comparison.key
        assert comparison.check(raw)
        read = comparison.requests.read(raw, trusted=False)
        assert read is not None
        plain = read[0]
        side = comparison.short
        side.clock.now += 25  # the cache would now refresh the grant
        assert side.passed(plain) is None
        side.clock.now -= 25
        assert side.passed(plain) is not None
        side.grants.drop(digest(comparison.key))
        assert side.passed(plain) is None

    asyncio.run(scenario())

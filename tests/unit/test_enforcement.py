"""The decision together with grants, lookups and activity."""

import asyncio
import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from proxy.decision.api_keys import digest, new_key
from proxy.decision.grant import Grant
from proxy.decision.path_facts import PathFacts
from proxy.decision.route_table import RouteTable
from proxy.decision.verdict import Verdict
from proxy.enforcement import Enforcement, Pending
from proxy.grants.answers import Unknown
from proxy.grants.cache import GrantCache
from proxy.grants.remembered_grants import RememberedGrants
from proxy.http.headers import Fields, Head
from proxy.identity_lines import IdentityLines, render_identity
from proxy.limits.user_limits import UserLimits
from proxy.observe.metrics import LOOKUP_RESULTS, Metrics
from proxy.refusals import INTERNAL_ERROR
from proxy.settings import GrantSettings, KeySettings, RouteSettings
from tests.scopes import Clock, MemoryScope, until

KEY = new_key()
ROUTE = RouteSettings(
    name="data", upstream="http://x", sites=("path:/{site}/**", "query:site"), refuse=("GET /shop/dump",)
)


class Front:
    """An enforcement over a scope table in memory, and the API users whose activity it reported."""

    def __init__(self, **settings: float) -> None:
        self.scope = MemoryScope()
        self.scope.add(digest(KEY.encode()), "ada", "shop")
        self.used: list[str] = []
        self.metrics = Metrics()
        self.clock = Clock()
        self.grants = GrantCache(GrantSettings.model_validate(settings), self.scope, on_lookup=self.metrics.lookup)
        self.enforcement = Enforcement(
            RouteTable([ROUTE], KeySettings()),
            self.grants,
            self.metrics,
            on_use=self.used.append,
            accept_foreign=False,
            limits=UserLimits(clock=self.clock),
        )

    def judge_at_once(self, target: bytes, fields: Fields | None = None, *, key: str = KEY) -> Verdict | Pending:
        head = Head(b"GET", target, [(b"Host", b"h"), (b"X-API-Key", key.encode()), *(fields or [])])
        return self.enforcement.judge(head)

    async def judge(self, target: bytes, fields: Fields | None = None, *, key: str = KEY) -> Verdict:
        verdict = self.judge_at_once(target, fields, key=key)
        return await self.enforcement.judge_slowly(verdict, "1.2.3.4") if isinstance(verdict, Pending) else verdict


def sample(metrics: Metrics, name: str, **labels: str) -> float:
    """Return the value of a metric."""
    return sum(
        sample.value
        for family in metrics.families()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def code(verdict: Verdict) -> str | None:
    return verdict.refusal.code if verdict.refusal else None


async def test_a_request_with_a_known_key_counts_as_activity() -> None:
    front = Front()
    assert code(await front.judge(b"/shop/x")) is None
    assert code(await front.judge(b"/blog/x")) == "site_not_allowed"
    assert front.used == ["ada", "ada"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [(b"/", "site_missing"), (b"/shop/dump", "endpoint_refused"), (b"/shop/x?Site=a", "ambiguous_request")],
)
async def test_a_request_refused_for_its_content_counts_as_activity_of_its_key(target: bytes, expected: str) -> None:
    front = Front()
    await front.judge(b"/shop/x")
    verdict = await front.judge(target)
    assert code(verdict) == expected
    assert verdict.claim is not None
    assert verdict.claim.route.name == "data"  # for the log and the metrics
    assert verdict.grant is not None
    assert front.used == ["ada", "ada"]


async def test_a_request_with_a_known_key_counts_as_activity_even_if_its_sites_cannot_be_looked_up() -> None:
    front = Front()
    front.scope.sites = {"shop": "acme"}
    front.scope.add(digest(KEY.encode()), "ada", all_sites=True)
    assert code(await front.judge(b"/shop/x")) is None
    front.scope.down = OSError("gone")
    assert code(await front.judge(b"/blog/x")) == "scope_unavailable"
    assert front.used == ["ada", "ada"]


async def test_a_request_refused_for_its_content_makes_no_lookup() -> None:
    front = Front()
    assert code(await front.judge(b"/")) == "site_missing"
    assert front.scope.queried == []


async def test_site_owners_are_not_looked_up_for_a_key_with_listed_sites() -> None:
    front = Front()
    for _ in range(2):
        assert code(await front.judge(b"/shop/x")) is None
        assert code(await front.judge(b"/blog/x")) == "site_not_allowed"
    assert front.scope.queried == [digest(KEY.encode())]
    assert isinstance(front.judge_at_once(b"/shop/x"), Verdict), "without a task"


async def test_the_number_of_remembered_keys_is_bounded() -> None:
    scope = MemoryScope()
    grants = GrantCache(GrantSettings(max_keys=80), scope, on_lookup=lambda result: None)
    remembered = RememberedGrants(grants, accept_foreign=True, on_lookup=lambda result: None, clock=time.monotonic)
    keys = [b"%d" % number for number in range(500)]
    for key in keys:
        scope.add(digest(key), "ada", "shop")
        await grants.fetch(digest(key))
        assert isinstance(remembered.grant(key), Grant)
        assert len(remembered) <= 101
    assert remembered.remembered(keys[-1]) is not None
    assert remembered.remembered(keys[0]) is None
    assert sum(remembered.remembered(key) is not None for key in keys) == 80, "a change forgets only its own key"


async def test_a_malformed_key_makes_no_lookup() -> None:
    front = Front()
    assert code(await front.judge(b"/shop/x", key=KEY[:-1] + ("A" if KEY[-1] != "A" else "B"))) == "invalid_key"
    assert front.scope.queried == []
    assert front.used == []


async def test_a_refused_endpoint_is_reported_before_a_missing_or_malformed_key() -> None:
    front = Front()
    verdict = front.enforcement.judge(Head(b"GET", b"/shop/dump", [(b"Host", b"h")], has_body=False))
    assert isinstance(verdict, Verdict)
    assert code(verdict) == "endpoint_refused"
    assert code(await front.judge(b"/shop/dump", key="slk_garbage")) == "endpoint_refused"
    assert front.used == []


async def test_lookup_results_are_counted_for_remembered_and_cached_grants() -> None:
    front = Front()
    for _ in range(3):  # a lookup, a cached grant, and a remembered grant
        await front.judge(b"/shop/x")
    await front.judge(b"/shop/x", key="slk_garbage")
    counted = {
        result: count
        for result in LOOKUP_RESULTS
        if (count := sample(front.metrics, "sitelatch_grant_lookups_total", result=result))
    }
    assert counted == {"miss": 1, "hit": 2, "refused_format": 1}


async def test_a_remembered_grant_is_not_used_after_a_change() -> None:
    front = Front()
    assert code(await front.judge(b"/shop/x")) is None
    assert code(await front.judge(b"/shop/x")) is None  # by the remembered grant
    front.scope.grants.clear()
    front.grants.drop(digest(KEY.encode()))
    assert code(await front.judge(b"/shop/x")) == "invalid_key"


async def test_a_remembered_grant_is_not_used_after_a_change_that_the_cache_has_already_read() -> None:
    """The grant was evicted and looked up again after the change, so the change does not alter the cache."""
    front = Front(max_keys=2)
    key = digest(KEY.encode())
    front.scope.add(key, "ada", all_sites=True)
    front.scope.sites = {"shop": "acme", "blog": "acme"}
    assert code(await front.judge(b"/shop/x")) is None
    assert code(await front.judge(b"/shop/x")) is None
    for other in (b"another", b"one more"):
        front.scope.add(digest(other), "bob")
        await front.grants.fetch(digest(other))
    front.scope.add(key, "ada", all_sites=True, expires_at=1.0)
    front.scope.position = 8
    assert code(await front.judge(b"/blog/x")) == "expired_key"
    front.grants.drop(key, 8)
    assert code(await front.judge(b"/shop/x")) == "expired_key"


async def test_identity_lines_name_the_workspace_that_was_judged() -> None:
    """The workspace is renamed during the lookup of a site, after identity lines were rendered for the key."""
    front = Front(ttl_seconds=0.01)
    key = digest(KEY.encode())
    front.scope.add(key, "ada", all_sites=True)
    front.scope.sites = {"shop": "acme"}
    assert b"X-Api-Workspace: acme\r\n" in (await front.judge(b"/shop/x")).identity
    await asyncio.sleep(0.02)
    front.scope.hold()
    verdict = asyncio.create_task(front.judge(b"/shop/x"))
    await until(lambda: front.scope.under_way == 1)
    front.scope.add(key, "ada", all_sites=True, workspace="umbrella")
    front.scope.sites = {"shop": "umbrella"}
    front.grants.drop_all()
    front.scope.resume()
    assert b"X-Api-Workspace: umbrella\r\n" in (await verdict).identity


async def test_the_number_of_remembered_identity_lines_is_bounded() -> None:
    remembered, grant = IdentityLines(), Grant("ada", "acme", True, frozenset())
    assert remembered.of(grant, tuple("abcde")).endswith(b"X-Api-Sites: a,b,c,d,e\r\n")
    assert len(remembered) == 0, "there are too many combinations of so many sites"
    for number in range(10_001):
        remembered.of(grant, (f"site-{number}",))
    assert 0 < len(remembered) <= 10_000
    lines = remembered.of(grant, ("site-10000",))
    assert lines.endswith(b"X-Api-Sites: site-10000\r\n")
    assert remembered.of(grant, ("site-10000",)) is lines


async def test_identity_lines_are_plain_ascii() -> None:
    front = Front()
    front.scope.add(digest(KEY.encode()), "ada", "büro")
    verdict = await front.judge(b"/b%C3%BCro/x")
    assert verdict.identity == b"X-Api-User-Id: ada\r\nX-Api-Workspace: acme\r\nX-Api-Sites: b%C3%BCro\r\n"
    assert render_identity(Grant("ada", "Acme & Co: 100%", False, frozenset()), ("a b",)) == (
        b"X-Api-User-Id: ada\r\nX-Api-Workspace: Acme & Co: 100%25\r\nX-Api-Sites: a b\r\n"
    )


def test_a_long_exchange_counts_as_activity() -> None:
    front = Front()
    front.enforcement.still_used(Grant("ada", "acme", True, frozenset()))
    front.enforcement.still_used(Grant("bob", "acme", True, frozenset(), subject="bob/00"))
    assert front.used == ["ada", "bob/00"]


class FailingRoutes(RouteTable):
    """Has a fault in the decision."""

    def locate(self, path: bytes, work: int = 0) -> PathFacts:
        raise RuntimeError


class FailingGrants(GrantCache):
    """Has a fault in the lookup."""

    async def fetch(self, digest: bytes, address: str = "") -> Grant | Unknown:
        raise RuntimeError


HEAD = Head(b"GET", b"/shop/x", [(b"Host", b"h"), (b"X-API-Key", KEY.encode())])


def enforcement(
    routes: type[RouteTable] = RouteTable, grants: type[GrantCache] = GrantCache, **options: Any
) -> Enforcement:
    metrics = options.pop("metrics", Metrics())
    source = grants(GrantSettings(), options.pop("scope", MemoryScope()), on_lookup=metrics.lookup)
    return Enforcement(
        routes([ROUTE], KeySettings()), source, metrics, on_use=lambda _: None, accept_foreign=False, **options
    )


async def test_a_fault_in_the_decision_is_an_internal_error_that_is_logged() -> None:
    with capture_logs() as logs:
        verdict = enforcement(routes=FailingRoutes).judge(HEAD)
    assert isinstance(verdict, Verdict)
    assert verdict.refusal is INTERNAL_ERROR
    assert [log["log_level"] for log in logs] == ["error"]


async def test_a_fault_in_a_lookup_is_counted_as_an_internal_error_of_the_route() -> None:
    failing = enforcement(grants=FailingGrants)
    pending = failing.judge(HEAD)
    assert isinstance(pending, Pending)
    with capture_logs() as logs:
        verdict = await failing.judge_slowly(pending, "192.0.2.1")
    assert verdict.refusal is INTERNAL_ERROR
    assert verdict.claim is not None
    assert verdict.claim.route.name == "data"
    assert [log["log_level"] for log in logs] == ["error"]


async def test_each_decision_is_timed_once_with_or_without_a_lookup() -> None:
    front = Front()
    for number, target in enumerate((b"/shop/x", b"/shop/x", b"/"), start=1):
        await front.judge(target)
        assert sample(front.metrics, "sitelatch_decision_seconds_count") == number


async def test_keys_expire_according_to_the_injected_wall_clock() -> None:
    clock, scope = Clock(), MemoryScope()
    scope.add(digest(KEY.encode()), "ada", "shop", expires_at=2000.0)
    front = enforcement(scope=scope, wall_clock=clock)

    async def outcome() -> str | None:
        verdict = front.judge(HEAD)
        return code(await front.judge_slowly(verdict, "") if isinstance(verdict, Pending) else verdict)

    assert await outcome() is None
    clock.now = 2000.0
    assert await outcome() == "expired_key"


async def test_only_requests_that_pass_everything_else_take_a_token() -> None:
    front = Front()
    front.scope.add(digest(KEY.encode()), "ada", "shop", requests_per_second=1.0, burst=2)
    assert code(await front.judge(b"/shop/x")) is None, "after a lookup"
    for target, expected in (
        (b"/blog/x", "site_not_allowed"),
        (b"/", "site_missing"),
        (b"/shop/dump", "endpoint_refused"),
    ):
        assert code(await front.judge(target)) == expected
    assert code(await front.judge(b"/shop/x")) is None, "from the cache"
    verdict = await front.judge(b"/shop/x")
    assert code(verdict) == "rate_limited"
    assert verdict.identity == b""
    assert code(await front.judge(b"/blog/x")) == "site_not_allowed", "the refusal that another key would get"
    front.clock.now += 1
    assert code(await front.judge(b"/shop/x")) is None
    assert front.used == ["ada"] * 8


async def test_the_first_request_of_a_process_takes_a_token_too() -> None:
    front = Front()
    front.scope.add(digest(KEY.encode()), "ada", "shop", requests_per_second=1.0)
    assert [code(await front.judge(b"/shop/x")) for _ in range(2)] == [None, "rate_limited"]


async def test_a_key_without_a_limit_is_not_limited() -> None:
    front = Front()
    assert {code(await front.judge(b"/shop/x")) for _ in range(100)} == {None}

"""Requests that wait for a lookup: a revocation that arrives during the lookup takes effect."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from proxy.decision.api_keys import digest, new_key
from proxy.decision.route_table import RouteTable
from proxy.decision.verdict import Verdict
from proxy.enforcement import Enforcement, Pending
from proxy.grants.cache import GrantCache
from proxy.http.headers import Head
from proxy.observe.metrics import Metrics
from proxy.refusals import INVALID_KEY, SCOPE_UNAVAILABLE, SITE_NOT_ALLOWED
from proxy.settings import GrantSettings, KeySettings, RouteSettings
from tests.scopes import MemoryScope, until

KEY = new_key()
DIGEST = digest(KEY.encode())


class Door:
    def __init__(self) -> None:
        self.scope = MemoryScope()
        self.grants = GrantCache(GrantSettings(lookup_seconds=30), self.scope, on_lookup=lambda result: None)
        rules = ("path:/sites/{site}", "host:{site}.example")
        table = RouteTable([RouteSettings(name="data", upstream="http://127.0.0.1:1", sites=rules)], KeySettings())
        self.enforcement = Enforcement(table, self.grants, Metrics(), on_use=lambda user_id: None, accept_foreign=False)

    def judge_slowly(self, target: bytes = b"/sites/shop", host: bytes = b"api") -> "asyncio.Task[Verdict]":
        head = Head(b"GET", target, [(b"Host", host), (b"X-API-Key", KEY.encode())], has_body=False)
        pending = self.enforcement.judge(head)
        assert isinstance(pending, Pending), "a lookup is needed"
        return asyncio.create_task(self.enforcement.judge_slowly(pending, "192.0.2.1"))


async def first_turn_when(condition: Callable[[], bool]) -> None:
    """Return in the first turn of the event loop in which the condition holds, before tasks that wait for it resume."""
    while not condition():  # noqa: ASYNC110 - each turn matters
        await asyncio.sleep(0)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    opened = Door()
    yield opened
    opened.scope.resume()
    await opened.grants.close()


async def test_a_key_revoked_during_the_lookup_of_its_site_is_refused(door: Door) -> None:
    door.scope.add(DIGEST, all_sites=True)
    door.scope.sites["shop"] = "acme"
    await door.grants.fetch(DIGEST)
    door.scope.hold()
    verdict = door.judge_slowly()
    await until(lambda: door.scope.under_way == 1)
    del door.scope.grants[DIGEST]
    door.grants.drop(DIGEST, position=door.scope.position + 1)
    door.scope.resume()
    assert (await verdict).refusal is INVALID_KEY


async def test_a_key_revoked_after_its_lookup_but_before_the_waiting_task_resumes_is_refused(door: Door) -> None:
    door.scope.add(DIGEST, "ada", "shop")
    verdict = door.judge_slowly()
    await first_turn_when(lambda: len(door.grants) == 1)
    assert not verdict.done()
    del door.scope.grants[DIGEST]
    door.grants.drop(DIGEST)
    assert (await verdict).refusal is INVALID_KEY


async def test_a_site_removed_after_the_lookup_but_before_the_waiting_task_resumes_is_refused(door: Door) -> None:
    door.scope.add(DIGEST, all_sites=True)
    door.scope.sites["shop"] = "acme"
    await door.grants.fetch(DIGEST)
    verdict = door.judge_slowly()
    await first_turn_when(lambda: door.grants.peek_sites(("shop",)) is not None)
    assert not verdict.done()
    del door.scope.sites["shop"]
    door.grants.drop_site("shop")
    assert (await verdict).refusal is SITE_NOT_ALLOWED


async def test_a_site_named_by_host_and_removed_before_the_waiting_task_resumes_is_refused(door: Door) -> None:
    door.scope.add(DIGEST, all_sites=True)
    door.scope.sites["Shop"] = "acme"
    await door.grants.fetch(DIGEST)
    verdict = door.judge_slowly(b"/", b"shop.example")
    await first_turn_when(lambda: door.grants.peek_sites(("/shop",)) is not None)
    assert not verdict.done()
    del door.scope.sites["Shop"]
    door.grants.drop_site("Shop")
    assert (await verdict).refusal is SITE_NOT_ALLOWED


async def test_a_site_named_by_host_and_removed_during_its_lookup_is_refused(door: Door) -> None:
    door.scope.add(DIGEST, all_sites=True)
    door.scope.sites["Shop"] = "acme"
    await door.grants.fetch(DIGEST)
    door.scope.hold()
    verdict = door.judge_slowly(b"/", b"shop.example")
    await until(lambda: door.scope.under_way == 1)
    del door.scope.sites["Shop"]
    door.grants.drop_site("Shop")
    door.scope.resume()
    assert (await verdict).refusal is SITE_NOT_ALLOWED


async def test_a_revoked_grant_is_not_used_even_if_a_newer_one_is_cached(
    door: Door,
) -> None:
    """Another request looked up the newer grant after the change. This request still holds the older one."""
    door.scope.add(DIGEST, all_sites=True)
    door.scope.sites["shop"] = "acme"
    await door.grants.fetch(DIGEST)
    door.scope.hold()
    verdict = door.judge_slowly()
    await until(lambda: door.scope.under_way == 1)
    door.scope.position = 1
    door.scope.add(DIGEST, "ada", "blog")
    door.grants.drop(DIGEST, position=1)
    another = asyncio.create_task(door.grants.fetch(DIGEST))
    await until(lambda: door.scope.under_way == 2)
    door.scope.resume()
    await first_turn_when(lambda: len(door.grants) == 1)
    assert not verdict.done()
    assert (await verdict).refusal is SITE_NOT_ALLOWED
    await another


async def test_a_key_that_changes_after_every_lookup_gets_503(
    door: Door,
) -> None:
    door.scope.add(DIGEST, "ada", "shop")
    verdict = door.judge_slowly()
    changes = 0
    while not verdict.done():
        await asyncio.sleep(0)
        if len(door.grants):
            door.grants.drop(DIGEST)
            changes += 1
    assert (await verdict).refusal is SCOPE_UNAVAILABLE
    assert len(door.scope.queried) == changes == 5


async def test_a_revoked_key_that_cannot_be_looked_up_again_is_not_attributed_to_a_user(door: Door) -> None:
    door.scope.add(DIGEST, "ada", "shop")
    verdict = door.judge_slowly()
    await first_turn_when(lambda: len(door.grants) == 1)
    door.grants.drop(DIGEST)
    door.scope.down = ConnectionRefusedError()
    judged = await verdict
    assert judged.refusal is SCOPE_UNAVAILABLE
    assert judged.grant is None


async def test_a_change_that_the_answer_already_reflects_causes_no_second_lookup(door: Door) -> None:
    door.scope.add(DIGEST, all_sites=True)
    door.scope.sites["shop"] = "acme"
    door.scope.position = 7
    await door.grants.fetch(DIGEST)
    door.scope.hold()
    verdict = door.judge_slowly()
    await until(lambda: door.scope.under_way == 1)
    door.grants.drop(DIGEST, position=7)
    door.grants.drop_user("somebody else")
    door.scope.resume()
    assert (await verdict).refusal is None
    assert door.scope.queried.count(DIGEST) == 1

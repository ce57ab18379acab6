"""Token buckets for unknown keys, by client network."""

import pytest

from proxy.grants.token_bucket import TokenBuckets, client_network
from tests.scopes import Clock


def spend(budget: TokenBuckets, address: str) -> int:
    spent = 0
    while budget.allow(address):
        budget.charge(address)
        spent += 1
    return spent


def test_an_address_may_try_a_limited_number_of_unknown_keys_per_minute() -> None:
    clock = Clock()
    budget = TokenBuckets(60, clock=clock)
    assert spend(budget, "192.0.2.1") == 60
    clock.now += 0.5
    assert not budget.allow("192.0.2.1")
    clock.now += 0.5
    assert spend(budget, "192.0.2.1") == 1
    clock.now += 30
    assert spend(budget, "192.0.2.1") == 30
    clock.now += 1000
    assert spend(budget, "192.0.2.1") == 60


def test_addresses_have_separate_buckets() -> None:
    budget = TokenBuckets(3, clock=Clock())
    spend(budget, "192.0.2.1")
    assert spend(budget, "192.0.2.2") == 3


def test_addresses_in_one_ipv6_network_share_a_bucket() -> None:
    budget = TokenBuckets(3, clock=Clock())
    assert sum(spend(budget, f"2001:db8:0:1::{number:x}") for number in range(1, 50)) == 3
    assert spend(budget, "2001:db8:0:2::1") == 3


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("2001:db8:1:2::/64", "2001:db8:1:2::/64"),
        ("unix", "unix"),
        ("", ""),
    ],
)
def test_the_network_of_an_address_is_determined_correctly(address: str, expected: str) -> None:
    assert client_network(address) == expected

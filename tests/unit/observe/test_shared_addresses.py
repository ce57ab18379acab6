"""The warning that all clients seem to have the same address."""

import pytest
from structlog.testing import capture_logs

from proxy.observe.shared_addresses import SharedAddresses

BALANCER, NODE, CLIENT = "10.0.0.1", "10.0.0.2", "192.0.2.1"


def events(*seen: tuple[str, int]) -> list[tuple[str, list[str]]]:
    """Return the warnings after so many users from each of these addresses."""
    shared = SharedAddresses()
    with capture_logs() as lines:
        for address, count in seen:
            for number in range(count):
                shared.saw(address, f"{address}-{number}")
    return [(line["event"], line["addresses"]) for line in lines]


@pytest.mark.parametrize("address", [BALANCER, "unix", "127.0.0.1", "2001:db8::1"])
def test_one_address_of_many_api_users_is_logged_once(address: str) -> None:
    assert events((address, 19)) == []
    assert events((address, 100)) == [("all_clients_share_one_address", [address])]


def test_the_nodes_of_a_load_balancer_are_logged() -> None:
    assert events((BALANCER, 15), (NODE, 25)) == [("all_clients_share_few_addresses", [BALANCER, NODE])]


def test_clients_with_addresses_of_their_own_are_not_logged() -> None:
    assert events(*((f"192.0.2.{number}", 1) for number in range(4)), (CLIENT, 100)) == []


def test_a_client_with_few_keys_is_not_logged() -> None:
    shared = SharedAddresses()
    with capture_logs() as lines:
        for number in range(1_000):
            shared.saw(CLIENT, f"user-{number % 19}")
    assert lines == []

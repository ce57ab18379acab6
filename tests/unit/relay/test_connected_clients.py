"""The limit of connections per client, and the room for all connections."""

from collections.abc import Callable
from typing import Any

import pytest
import structlog

from proxy.relay import descriptors
from proxy.relay.connected_clients import ConnectedClients


class Connection:
    """A connection without an exchange."""

    exchange = None

    def sweep(self, now: float) -> None:
        pass

    def drain(self) -> None:
        pass

    def abort(self) -> None:
        pass


def adder(connections: ConnectedClients) -> Callable[..., bool]:
    def add(address: str, *, exempt: bool = False) -> bool:
        return connections.add(Connection(), address, exempt=exempt)

    return add


def test_a_client_has_at_most_its_limit_and_others_are_not_affected() -> None:
    connections = ConnectedClients(2)
    add = adder(connections)
    assert [add("192.0.2.1") for _ in range(4)] == [True, True, False, False]
    assert add("192.0.2.2")
    assert connections.refused == 2


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
    ],
)
def test_an_ipv6_client_is_identified_by_its_network(first: str, second: str, same: bool) -> None:
    add = adder(ConnectedClients(1))
    assert add(first)
    assert add(second) is not same


def test_trusted_proxies_are_exempt() -> None:
    add = adder(ConnectedClients(1))
    assert [add("10.0.0.1", exempt=True) for _ in range(3)] == [True] * 3


def test_a_closed_connection_makes_room_for_another_of_its_client() -> None:
    connections = ConnectedClients(1)
    first, second = Connection(), Connection()
    assert connections.add(first, "192.0.2.1", exempt=False)
    assert not connections.add(second, "192.0.2.1", exempt=False)
    connections.discard(second)
    connections.discard(second)  # twice does no harm
    connections.discard(first)
    assert len(connections) == 0
    assert connections.add(Connection(), "192.0.2.1", exempt=False)


def test_one_client_gets_at_most_half_of_the_room() -> None:
    connections = ConnectedClients(5000)
    connections.capacity = 10
    add = adder(connections)
    assert [add("192.0.2.1") for _ in range(6)] == [True] * 5 + [False]


def test_a_client_at_its_limit_is_logged_once_until_it_has_left() -> None:
    connections = ConnectedClients(1)
    add = adder(connections)
    with structlog.testing.capture_logs() as lines:
        for _ in range(5):
            add("192.0.2.1")
    [line] = lines
    assert (line["event"], line["client"], line["limit"]) == ("client_has_too_many_connections", "192.0.2.1", 1)
    assert "trusted_proxies" in line["advice"]


def test_connections_in_their_tls_handshake_count() -> None:
    connections = ConnectedClients(2)
    connections.capacity = 5
    add = adder(connections)
    assert [connections.expect("192.0.2.1", exempt=False) for _ in range(3)] == [True, True, False]
    assert connections.refused == 1
    assert add("192.0.2.1")  # the handshake of the first one is complete
    connections.stop_expecting("192.0.2.1")
    assert not connections.expect("192.0.2.1", exempt=False)
    connections.stop_expecting("192.0.2.1")  # the second handshake has failed
    assert connections.expect("192.0.2.1", exempt=False)
    assert connections.largest_client() == ("192.0.2.1", 2)
    assert [connections.expect("10.0.0.1", exempt=True) for _ in range(3)] == [True] * 3
    assert connections.full
    for _ in range(3):
        connections.stop_expecting("10.0.0.1")
    assert connections.has_room_again


def test_no_room_is_reported_and_there_is_room_again_when_some_connections_have_closed() -> None:
    calls: list[Any] = []
    connections = ConnectedClients(5000, on_full=lambda: calls.append(len(connections)))
    connections.capacity = 20
    opened = [Connection() for _ in range(20)]
    for number, connection in enumerate(opened):
        connections.add(connection, f"192.0.2.{number % 3}", exempt=True)
    assert calls == [20]
    assert connections.full
    assert connections.largest_client() == ("192.0.2.0", 7)
    assert not connections.has_room_again
    connections.discard(opened[0])
    assert connections.has_room_again
    assert not connections.full


@pytest.mark.parametrize(
    ("free", "upstream", "capacity"),
    [
        (1_000_000, 512, 999_424),  # an upstream connection for each client would not fit, but the upstream has a limit
        (1000, 512, 468),  # each client can have an upstream connection
        (30, 512, 11),
        (1, 512, 1),
        (-5, 512, 1),
    ],
)
def test_the_room_for_clients_leaves_file_descriptors_for_upstream_connections(
    free: int, upstream: int, capacity: int
) -> None:
    assert descriptors.client_capacity(free, upstream) == capacity

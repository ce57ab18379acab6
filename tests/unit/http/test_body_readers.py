"""The conditions under which a connection without a response counts as leading to a server that reads bodies."""

import pytest

from proxy.http.body_readers import BodyReaders
from proxy.http.headers import Fields

NGINX: Fields = [(b"Date", b"x"), (b"Server", b"nginx")]
HERE, THERE = ("192.0.2.1", 80), ("192.0.2.2", 80)


@pytest.fixture
def readers() -> BodyReaders:
    readers = BodyReaders(trusted=True)
    assert readers.learn(HERE, 0, NGINX, now=10.0)
    return readers


def test_an_address_is_trusted_for_a_second_after_a_response(readers: BodyReaders) -> None:
    assert readers.knows(HERE, 0, now=10.9)
    assert not readers.knows(HERE, 0, now=11.1)
    assert not readers.knows(THERE, 0, now=10.9)


def test_forgetting_applies_to_all_addresses(readers: BodyReaders) -> None:
    readers.forget()
    assert not readers.knows(HERE, readers.generation, now=10.1)


def test_a_connection_to_a_replaced_server_does_not_make_its_address_trusted(readers: BodyReaders) -> None:
    readers.forget()
    assert readers.learn(HERE, 0, NGINX, now=10.1), "the old connection itself still leads to the old server"
    assert not readers.knows(HERE, readers.generation, now=10.2)
    readers.learn(HERE, readers.generation, NGINX, now=10.3)
    assert readers.knows(HERE, readers.generation, now=10.4)
    assert not readers.knows(HERE, 0, now=10.4)


@pytest.mark.parametrize("server", [b"SimpleHTTP/0.6 Python/3.13", b"basehttp/0.6", b"CherryPy/18", b"Cheroot/10.0"])
def test_after_a_server_leaves_a_body_unread_no_new_connection_is_trusted(readers: BodyReaders, server: bytes) -> None:
    assert not readers.learn(HERE, 0, [(b"server", server)], now=10.1)
    assert readers.learn(HERE, readers.generation, NGINX, now=10.2)
    assert not readers.knows(HERE, readers.generation, now=10.3)


def test_reuse_after_body_off_prevents_reuse_for_every_server() -> None:
    readers = BodyReaders(trusted=False)
    assert not readers.learn(HERE, 0, NGINX, now=10.0)
    assert not readers.knows(HERE, 0, now=10.1)


def test_the_number_of_addresses_is_limited(readers: BodyReaders) -> None:
    for port in range(1000):
        readers.learn(("192.0.2.3", port), 0, NGINX, now=10.0)
    assert sum(readers.knows(("192.0.2.3", port), 0, now=10.1) for port in range(1000)) <= 64

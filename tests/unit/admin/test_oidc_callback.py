"""What the issuer sends back with the browser."""

from multidict import MultiDict

from admin.identity.oidc_callback import said_once
from tests.effort import calls


def test_what_is_there_twice_is_as_if_it_were_not_there() -> None:
    assert said_once(MultiDict([("code", "c"), ("state", "s"), ("state", "s"), ("iss", "")])) == {
        "code": "c",
        "iss": "",
    }


def test_however_often_it_is_there_it_holds_nobody_up() -> None:
    """An address of 8 kB that repeats one name took most of a second, and anybody may send it."""
    repeated = MultiDict([("a", "")] * 20_000)
    with calls() as made:
        assert said_once(repeated) == {}
    assert made.total() < 25_000
    assert "getall" not in made, "each goes through all of them"

"""The query parameters of the OpenID Connect callback."""

from multidict import MultiDict

from admin.identity.oidc_callback import single_parameters
from tests.effort import calls


def test_repeated_parameters_are_dropped() -> None:
    assert single_parameters(MultiDict([("code", "c"), ("state", "s"), ("state", "s"), ("iss", "")])) == {
        "code": "c",
        "iss": "",
    }


def test_thousands_of_repetitions_are_handled_quickly() -> None:
    """A URL of 8 kB that repeats one name used to take almost a second, and anyone can send it."""
    repeated = MultiDict([("a", "")] * 20_000)
    with calls() as made:
        assert single_parameters(repeated) == {}
    assert made.total() < 25_000
    assert "getall" not in made, "each call of getall() scans all parameters"

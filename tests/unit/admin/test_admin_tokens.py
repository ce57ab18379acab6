"""Admins by their tokens."""

from admin.identity.admin_tokens import AdminTokens, new_token, token_digest
from admin.identity.admins import Admin, Person
from admin.settings import TokenSettings
from proxy.observe.access_log import mask


def test_a_token_finds_its_person_and_what_it_is_limited_to() -> None:
    ada, ben = new_token(), new_token()
    tokens = AdminTokens(
        [
            TokenSettings(name="Ada", email="ada@example.com", sha256=token_digest(ada)),
            TokenSettings(name="Ben", email="ben@example.com", sha256=token_digest(ben), workspaces=("acme",)),
        ]
    )
    assert tokens.find(ada) == Admin(Person("Ada", "ada@example.com"))
    assert tokens.find(ben) == Admin(Person("Ben", "ben@example.com"), frozenset({"acme"}))


def test_nothing_else_finds_anybody() -> None:
    token = new_token()
    tokens = AdminTokens([TokenSettings(name="Ada", email="ada@example.com", sha256=token_digest(token))])
    for wrong in ("", " ", token[:-1], token + "x", token.swapcase(), token_digest(token), "\udcff", "é"):
        assert tokens.find(wrong) is None
    assert AdminTokens([]).find("") is None


def test_a_token_limited_to_no_workspace_is_not_one_without_limits() -> None:
    token = new_token()
    settings = TokenSettings(name="Ada", email="ada@example.com", sha256=token_digest(token), workspaces=())
    found = AdminTokens([settings]).find(token)
    assert found is not None
    assert found.workspaces == frozenset()


def test_new_tokens_differ_hold_256_bits_and_are_masked_in_logs() -> None:
    one, other = new_token(), new_token()
    assert one != other
    assert len(one) == len("sla_") + 43
    assert mask(one) == "***"
